// Windows as columns, and the adjoint. This is the simplest way to compute a convolution as a
// matrix product, but takes kH kW times the image's memory. Images (n, c, h, w), columns (n, c, u,
// v, i, j).
#include "conv.cuh"

extern "C" __global__ void __launch_bounds__(THREADS)
im2col(const T* __restrict__ x, T* __restrict__ columns, Conv p, long long size) {
    const long long i = blockIdx.x * static_cast<long long>(THREADS) + threadIdx.x;
    if (i >= size) return;
    const int column = i % p.w.out, row = i / p.w.out % p.h.out;
    const long long tap = i / p.w.out / p.h.out;
    const int v = tap % p.w.kernel, u = tap / p.w.kernel % p.h.kernel;
    const long long plane = tap / p.w.kernel / p.h.kernel;
    const int h = row * p.h.stride - p.h.padding + u * p.h.dilation;
    const int w = column * p.w.stride - p.w.padding + v * p.w.dilation;
    const bool in = inside(h, p.h.in) && inside(w, p.w.in);
    columns[i] = in ? x[(plane * p.h.in + h) * p.w.in + w] : T(0);
}

// The adjoint: each value of the image adds up the columns that hold it, in order.
extern "C" __global__ void __launch_bounds__(THREADS)
col2im(const T* __restrict__ columns, T* __restrict__ x, Conv p, long long size) {
    const long long i = blockIdx.x * static_cast<long long>(THREADS) + threadIdx.x;
    if (i >= size) return;
    const int w = i % p.w.out, h = i / p.w.out % p.h.out;
    const long long plane = i / p.w.out / p.h.out;
    T sum = 0;
    const PhaseAxis down = phase_axis(p.h, true, h % p.h.stride);
    const PhaseAxis along = phase_axis(p.w, true, w % p.w.stride);
    for (int s = 0; s < down.taps; s++)
        for (int t = 0; t < along.taps; t++) {
            const int row = down.base + h / p.h.stride + down.hop * s;
            const int column = along.base + w / p.w.stride + along.hop * t;
            if (!inside(row, p.h.in) || !inside(column, p.w.in)) continue;
            const long long u = down.tap + down.tap_step * s, v = along.tap + along.tap_step * t;
            const long long tap = (plane * p.h.kernel + u) * p.w.kernel + v;
            sum += columns[(tap * p.h.in + row) * p.w.in + column];
        }
    x[i] = sum;
}
