// 3. A tile in registers: a thread computes 4 x 4 outputs of a tile of 64 x 64.
//
// For 16 products it reads 4 + 4 values from shared memory, where step 2 read 32. The tiles lie
// with the sum's index first, so the reads of a warp are neighbours, or the same word.
#include "conv.cuh"

struct Tiles {
    float a[16][64 + 2], b[16][64 + 2];  // (k, pixel), (k, filter); with two more, a warp that
};                                       // writes down two columns meets all 32 banks

extern "C" __global__ void __launch_bounds__(256)
convolve(const float* __restrict__ x, const float* __restrict__ w, float* __restrict__ y, Conv p) {
    SHARED(Tiles, s);
    const Place at = place(p, blockIdx.z);
    const int pixels = p.images * at.h.count * at.w.count;
    const int first_m = blockIdx.x * 64, first_f = blockIdx.y * 64;
    const int k = threadIdx.x % 16, row = threadIdx.x / 16;  // fetches k of rows row + 16 i
    Pixel to[4];
#pragma unroll
    for (int i = 0; i < 4; i++) to[i] = pixel(at, first_m + row + 16 * i);
    float sum[4][4] = {};
    for (int down = 0; down < at.h.taps; down++)
        for (int along = 0; along < at.w.taps; along++)
            for (int c = k; c - k < p.channels; c += 16) {
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    const int m = first_m + row + 16 * i, f = first_f + row + 16 * i;
                    const long long from =
                        m < pixels ? source(p, at, to[i], down, along) : -1;
                    const long long by = f < p.filters ? weights(p, at, f, down, along) : -1;
                    s.a[k][row + 16 * i] = from >= 0 && c < p.channels ? x[from + c] : 0;
                    s.b[k][row + 16 * i] = by >= 0 && c < p.channels ? w[by + c] : 0;
                }
                __syncthreads();
#pragma unroll
                for (int l = 0; l < 16; l++) {
                    float a[4], b[4];
#pragma unroll
                    for (int i = 0; i < 4; i++) a[i] = s.a[l][row + 16 * i];
#pragma unroll
                    for (int j = 0; j < 4; j++) b[j] = s.b[l][k + 16 * j];
#pragma unroll
                    for (int i = 0; i < 4; i++)
#pragma unroll
                        for (int j = 0; j < 4; j++) sum[i][j] += a[i] * b[j];
                }
                __syncthreads();
            }
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const int m = first_m + row + 16 * i;
        if (m >= pixels) continue;
        float* out = y + output(p, at, to[i]);
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const int f = first_f + k + 16 * j;
            if (f < p.filters) out[f] = sum[i][j];
        }
    }
}
