// From the engine's layouts to that of the convolutions: any strides in, (n, h, w, c) out, with as
// many channels of zeros as make a row of them a multiple of 16 bytes. E is what comes out.
#include "prim.cuh"

struct Image {
    int h, w, channels, padded;
    long long n_step, c_step, h_step, w_step;  // of x, in values; h_step may be negative
};

DEVICE void put(double& to, double value) { to = value; }
DEVICE void put(float& to, float value) { to = value; }
DEVICE void put(bf16& to, float value) { to = to_bf16(value); }

extern "C" __global__ void __launch_bounds__(THREADS)
pack(const T* __restrict__ x, E* __restrict__ y, Image p, long long size) {
    const long long i = blockIdx.x * static_cast<long long>(THREADS) + threadIdx.x;
    if (i >= size) return;
    const int c = i % p.padded;
    const long long pixel = i / p.padded;
    const int w = pixel % p.w, h = pixel / p.w % p.h;
    const long long n = pixel / p.w / p.h;
    const long long from = n * p.n_step + c * p.c_step + h * p.h_step + w * p.w_step;
    put(y[i], c < p.channels ? x[from] : T(0));
}
