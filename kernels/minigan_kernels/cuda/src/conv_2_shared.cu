// 2. A tile in shared memory: 16 x 16 threads fetch 16 columns of their 16 pixels and 16 filters
// once, and then each value serves 16 threads.
//
// Step 1 read two values from global memory for each product; here a thread reads two for every 16.
// What limits now is shared memory: two reads for one multiplication.
#include "conv.cuh"

struct Tiles {
    float a[16][16], b[16][17];  // (pixel, k), (filter, k); 17 spread columns over banks
};

extern "C" __global__ void __launch_bounds__(256, 1)
convolve(const float* __restrict__ x, const float* __restrict__ w, float* __restrict__ y, Conv p) {
    SHARED(Tiles, s);
    const Place at = place(p, blockIdx.z);
    const int pixels = p.images * at.h.count * at.w.count;
    const int i = threadIdx.x / 16, j = threadIdx.x % 16;
    const int m = blockIdx.x * 16 + i, f = blockIdx.y * 16 + j;
    const int load_f = blockIdx.y * 16 + i;  // the filter that this thread fetches
    const Pixel to = pixel(at, m);
    float sum = 0;
    for (int down = 0; down < at.h.taps; down++)
        for (int along = 0; along < at.w.taps; along++) {
            const long long from = m < pixels ? source(p, at, to, down, along) : -1;
            const long long by = load_f < p.filters ? weights(p, at, load_f, down, along) : -1;
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
