// A convolution with at most 4 filters: a generator's last layer, whose images have 1 or 3
// channels, or a discriminator's.
//
//     python -m pytest tests/kernels/cuda -k few_channels   check it, emulated
//
// A GEMM would waste most of its tile, and each loaded value is used only a few times. So a warp
// computes one output pixel. Its lanes load neighbouring channels, 16 bytes each, and all filters
// use what was loaded. A tree of shuffles adds the 32 partial sums. If the kernel is compiled with
// an activation, the first lane adds the bias and applies it.
#include "activation.cuh"
#include "conv.cuh"

extern "C" __global__ void __launch_bounds__(THREADS, 1)
convolve(const float* __restrict__ x, const float* __restrict__ w, const float* __restrict__ bias,
         float* __restrict__ y, Conv p, float slope) {
    const ProblemSlice at = problem_slice(p, blockIdx.z);
    const int lane = threadIdx.x % 32, m = blockIdx.x * (THREADS / 32) + threadIdx.x / 32;
    if (m >= p.images * at.h.count * at.w.count) return;  // the whole warp
    const Pixel to = pixel(at, m);
    const int chunks = p.channels / 4, depth = at.h.taps * at.w.taps * chunks;
    float sum[4] = {};
    for (int i = lane; i < depth; i += 32) {
        const int c = i % chunks * 4, tap = i / chunks;
        const int tap_h = tap / at.w.taps, tap_w = tap % at.w.taps;
        const long long from = source(p, at, to, tap_h, tap_w);
        if (from < 0) continue;
        const float4 a = load4(x + from + c);
#pragma unroll
        for (int f = 0; f < 4; f++) {
            if (f >= p.filters) break;
            const float4 b = load4(w + weights(p, at, f, tap_h, tap_w) + c);
            sum[f] += a.x * b.x + a.y * b.y + a.z * b.z + a.w * b.w;
        }
    }
#pragma unroll
    for (int f = 0; f < 4; f++) {
        for (int bit = 16; bit; bit /= 2) sum[f] += __shfl_xor_sync(~0u, sum[f], bit);
        if (lane == 0 && f < p.filters)
            y[output(p, at, to) + f] = with_epilogue(sum[f], bias, f, slope);
    }
}
