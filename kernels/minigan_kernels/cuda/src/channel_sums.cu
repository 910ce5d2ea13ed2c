// The upper level of sums over channels: a warp adds the chunks of one. It reads 8 bytes a sum and
// chunk, which is little beside the images, so the launch is most of its time.
#include "elementwise.cuh"

// sums (SUMS, channels) of partial (channels, chunks).
extern "C" __global__ void __launch_bounds__(THREADS)
total(const Sums<SUMS>* __restrict__ partial, T* __restrict__ sums, int channels, int chunks) {
    const int lane = threadIdx.x % 32;
    const long long channel = (blockIdx.x * (long long)THREADS + threadIdx.x) / 32;
    Sums<SUMS> sum = {};
    if (channel < channels)
        for (int i = lane; i < chunks; i += 32) sum.merge(partial[channel * chunks + i]);
    for (int bit = 16; bit; bit /= 2)
        for (int k = 0; k < SUMS; k++) sum.of[k] += __shfl_xor_sync(~0u, sum.of[k], bit);
    if (lane == 0 && channel < channels)
        for (int k = 0; k < SUMS; k++) sums[k * (long long)channels + channel] = T(sum.of[k]);
}
