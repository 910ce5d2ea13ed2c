// 4. Sixteen bytes at a time: four channels are fetched, and later read, with one instruction.
//
// Step 3 spent more instructions on moving single values and on finding where they lie than on
// multiplying. Here the address and its checks are worked out once for four values, a thread has
// 8 x 8 sums (tile of 128 x 128), and for 256 products it reads 16 times 16 bytes. Channels must be
// a multiple of four. The swizzled tiles are those of tile.cuh, the arithmetic that of simt.cuh.
#include "conv.cuh"
#include "simt.cuh"

extern "C" __global__ void __launch_bounds__(THREADS)
convolve(const float* __restrict__ x, const float* __restrict__ w, float* __restrict__ y, Conv p) {
    SHARED(Along<float>, s);
    using A = decltype(s.a);
    using B = decltype(s.b);
    const Place at = place(p, blockIdx.z);
    const int pixels = p.images * at.h.count * at.w.count;
    const int first_m = blockIdx.x * TILE_M, first_f = blockIdx.y * TILE_N;
    Sums<Along<float>> sums;
    for (int down = 0; down < at.h.taps; down++)
        for (int along = 0; along < at.w.taps; along++)
            for (int k = 0; k < p.channels; k += TILE_K) {
                const int c = k + A::copy_column() * 4;
                const float4 zero = make_float4(0, 0, 0, 0);
#pragma unroll
                for (int i = 0; i < A::COPIES; i++) {
                    const int m = first_m + A::copy_row(i);
                    const long long from =
                        m < pixels ? source(p, at, pixel(at, m), down, along) : -1;
                    store4(s.a.chunk(A::copy_row(i), A::copy_column()),
                           from >= 0 && c < p.channels ? load4(x + from + c) : zero);
                }
#pragma unroll
                for (int i = 0; i < B::COPIES; i++) {
                    const int f = first_f + B::copy_row(i);
                    const long long by = f < p.filters ? weights(p, at, f, down, along) : -1;
                    store4(s.b.chunk(B::copy_row(i), B::copy_column()),
                           by >= 0 && c < p.channels ? load4(w + by + c) : zero);
                }
                __syncthreads();
                sums.multiply(s);
                __syncthreads();
            }
#pragma unroll
    for (int i = 0; i < sums.ROWS; i++) {
        const int m = first_m + sums.row(i);
        if (m >= pixels) continue;
        float* to = y + output(p, at, pixel(at, m));
#pragma unroll
        for (int j = 0; j < sums.COLUMNS; j++) {
            const int f = first_f + sums.column(j);
            if (f < p.filters) to[f] = sums.value(i, j);
        }
    }
}
