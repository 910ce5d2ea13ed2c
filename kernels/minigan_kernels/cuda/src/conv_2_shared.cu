// 2. A tile in shared memory: 16 x 16 threads load 16 columns of their 16 pixels and 16 filters
// once. Each value then serves 16 threads.
//
//     python -m pytest tests/kernels/cuda -k "ladder and shared"   check it, emulated
//     python -m bench gpu                                               time it on a GPU
//
// Version 1 loaded two values from global memory for each multiplication. Here a thread loads two
// for 16. Now shared memory is the limit: two reads for one multiplication.
#include "conv.cuh"

struct Tiles {
    float a[16][16], b[16][17];  // (pixel, k), (filter, k); 17 spread columns over banks
};

extern "C" __global__ void __launch_bounds__(256, 1)
convolve(const float* __restrict__ x, const float* __restrict__ w, float* __restrict__ y, Conv p) {
    SHARED(Tiles, s);
    const ProblemSlice at = problem_slice(p, blockIdx.z);
    const int pixels = p.images * at.h.count * at.w.count;
    const int i = threadIdx.x / 16, j = threadIdx.x % 16;
    const int m = blockIdx.x * 16 + i, f = blockIdx.y * 16 + j;
    const int load_f = blockIdx.y * 16 + i;  // the filter that this thread loads
    const Pixel to = pixel(at, m);
    float sum = 0;
    for (int tap_h = 0; tap_h < at.h.taps; tap_h++)
        for (int tap_w = 0; tap_w < at.w.taps; tap_w++) {
            const long long from = m < pixels ? source(p, at, to, tap_h, tap_w) : -1;
            const long long by = load_f < p.filters ? weights(p, at, load_f, tap_h, tap_w) : -1;
            for (int c = j; c - j < p.channels; c += 16) {
                s.a[i][j] = from >= 0 && c < p.channels ? x[from + c] : 0;
                s.b[i][j] = by >= 0 && c < p.channels ? w[by + c] : 0;
                __syncthreads();
                for (int k = 0; k < 16; k++) sum += s.a[i][k] * s.b[j][k];
                __syncthreads();  // before the tile is overwritten
            }
        }
    if (m < pixels && f < p.filters) y[output(p, at, to) + f] = sum;
}
