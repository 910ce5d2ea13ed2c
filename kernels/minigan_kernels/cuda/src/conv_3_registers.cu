// 3. Accumulators in registers: a thread computes 4 x 4 outputs of a tile of 64 x 64.
//
//     python -m pytest tests/kernels/cuda -k "ladder and registers"   check it, emulated
//     python -m bench gpu                                                  time it on a GPU
//
// For 16 multiplications it reads 4 + 4 values from shared memory, where version 2 read 32. The
// tiles are stored with k first, so the lanes of a warp read neighbouring words, or the same one.
#include "conv.cuh"

struct Tiles {
    float a[16][64 + 2], b[16][64 + 2];  // (k, pixel), (k, filter); two words of padding let a
};                                       // warp that writes two columns meet all 32 banks

extern "C" __global__ void __launch_bounds__(256)
convolve(const float* __restrict__ x, const float* __restrict__ w, float* __restrict__ y, Conv p) {
    SHARED(Tiles, s);
    const ProblemSlice at = problem_slice(p, blockIdx.z);
    const int pixels = p.images * at.h.count * at.w.count;
    const int first_m = blockIdx.x * 64, first_f = blockIdx.y * 64;
    const int k = threadIdx.x % 16, row = threadIdx.x / 16;  // loads k of rows row + 16 i
    Pixel to[4];
#pragma unroll
    for (int i = 0; i < 4; i++) to[i] = pixel(at, first_m + row + 16 * i);
    float sum[4][4] = {};
    for (int tap_h = 0; tap_h < at.h.taps; tap_h++)
        for (int tap_w = 0; tap_w < at.w.taps; tap_w++)
            for (int c = k; c - k < p.channels; c += 16) {
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    const int m = first_m + row + 16 * i, f = first_f + row + 16 * i;
                    const long long from =
                        m < pixels ? source(p, at, to[i], tap_h, tap_w) : -1;
                    const long long by = f < p.filters ? weights(p, at, f, tap_h, tap_w) : -1;
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
