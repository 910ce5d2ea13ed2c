// 1. One thread for each output, straight from the definition. T is float or double.
//
//     python -m pytest tests/kernels/cuda -k "ladder and naive"   check it, emulated
//     python -m bench gpu                                              time it on a GPU
//
// Every multiplication loads both its factors from global memory: an output that sums 4x4x64
// products reads 8 KB. The threads of a warp share these loads through the caches, but a
// multiprocessor can load only one value in the time of many multiplications. It is right for all
// shapes, so it serves those that no other kernel takes.
#include "conv.cuh"

extern "C" __global__ void __launch_bounds__(THREADS, 1)
convolve(const T* __restrict__ x, const T* __restrict__ w, T* __restrict__ y, Conv p) {
    const ProblemSlice at = problem_slice(p, blockIdx.z);
    const int pixels = p.images * at.h.count * at.w.count;
    const long long i = blockIdx.x * static_cast<long long>(THREADS) + threadIdx.x;
    const int m = i / p.filters, f = i % p.filters;
    if (m >= pixels) return;
    const Pixel to = pixel(at, m);
    T sum = 0;
    for (int s = 0; s < at.h.taps; s++)
        for (int t = 0; t < at.w.taps; t++) {
            const long long from = source(p, at, to, s, t);
            if (from < 0) continue;
            const T* row = w + weights(p, at, f, s, t);
            for (int c = 0; c < p.channels; c++) sum += x[from + c] * row[c];
        }
    y[output(p, at, to) + f] = sum;
}

// The filters' gradient (group, u, v, channel, filter), one thread for each value.
extern "C" __global__ void __launch_bounds__(THREADS)
convolve_dw(const T* __restrict__ x, const T* __restrict__ g, T* __restrict__ dw, Conv p) {
    const long long i = blockIdx.x * static_cast<long long>(THREADS) + threadIdx.x;
    const int rows = p.h.kernel * p.w.kernel * p.channels;
    if (i >= static_cast<long long>(p.groups) * rows * p.filters) return;
    const int f = i % p.filters, r = i / p.filters % rows, group = i / p.filters / rows;
    const int c = r % p.channels, v = r / p.channels % p.w.kernel, u = r / p.channels / p.w.kernel;
    T sum = 0;
    for (int image = 0; image < p.images; image++)
        for (int row = 0; row < p.h.out; row++)
            for (int column = 0; column < p.w.out; column++) {
                const int h = row * p.h.stride - p.h.padding + u * p.h.dilation;
                const int k = column * p.w.stride - p.w.padding + v * p.w.dilation;
                if (!inside(h, p.h.in) || !inside(k, p.w.in)) continue;
                const long long above = static_cast<long long>(image) * p.h.out + row;
                const long long to = above * p.w.out + column;
                sum += x[input(p, group, image, h, k) + c] *
                       g[(to * p.groups + group) * p.filters + f];
            }
    dw[i] = sum;
}
