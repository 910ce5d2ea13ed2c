// 4. Sixteen bytes at a time: one instruction loads four channels, and one reads them later.
//
//     python -m pytest tests/kernels/cuda -k "ladder and vectorised"   check it, emulated
//     python -m bench gpu                                                   time it on a GPU
//
// Version 3 spent more instructions on moving single values and on computing their addresses than
// on multiplying. Here an address and its checks are computed once for four values. A thread has
// 8 x 8 accumulators (a tile of 128 x 128), and for 256 multiplications it reads 16 times 16 bytes.
// Channels must be a multiple of four. The swizzled tiles are in tile.cuh, the arithmetic in
// simt.cuh.
#include "conv.cuh"
#include "simt.cuh"

extern "C" __global__ void __launch_bounds__(THREADS)
convolve(const float* __restrict__ x, const float* __restrict__ w, float* __restrict__ y, Conv p) {
    SHARED(KMajor<float>, s);
    using A = decltype(s.a);
    using B = decltype(s.b);
    const ProblemSlice at = problem_slice(p, blockIdx.z);
    const int pixels = p.images * at.h.count * at.w.count;
    const int first_m = blockIdx.x * TILE_M, first_f = blockIdx.y * TILE_N;
    Accumulators<KMajor<float>> acc;
    for (int tap_h = 0; tap_h < at.h.taps; tap_h++)
        for (int tap_w = 0; tap_w < at.w.taps; tap_w++)
            for (int k = 0; k < p.channels; k += TILE_K) {
                const int c = k + A::copy_column() * 4;
                const float4 zero = make_float4(0, 0, 0, 0);
#pragma unroll
                for (int i = 0; i < A::COPIES; i++) {
                    const int m = first_m + A::copy_row(i);
                    const long long from =
                        m < pixels ? source(p, at, pixel(at, m), tap_h, tap_w) : -1;
                    store4(s.a.chunk(A::copy_row(i), A::copy_column()),
                           from >= 0 && c < p.channels ? load4(x + from + c) : zero);
                }
#pragma unroll
                for (int i = 0; i < B::COPIES; i++) {
                    const int f = first_f + B::copy_row(i);
                    const long long by = f < p.filters ? weights(p, at, f, tap_h, tap_w) : -1;
                    store4(s.b.chunk(B::copy_row(i), B::copy_column()),
                           by >= 0 && c < p.channels ? load4(w + by + c) : zero);
                }
                __syncthreads();
                acc.multiply(s);
                __syncthreads();
            }
#pragma unroll
    for (int i = 0; i < acc.ROWS; i++) {
        const int m = first_m + acc.row(i);
        if (m >= pixels) continue;
        float* to = y + output(p, at, pixel(at, m));
#pragma unroll
        for (int j = 0; j < acc.COLUMNS; j++) {
            const int f = first_f + acc.column(j);
            if (f < p.filters) to[f] = acc.value(i, j);
        }
    }
}
