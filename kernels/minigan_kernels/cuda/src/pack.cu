// Packs an array of any strides for the convolutions: (n, h, w, c), with channels of zeros added so
// that a row of channels is a multiple of 16 bytes. T is the type of x, E that of y.
#include "prim.cuh"

struct Image {
    int h, w, channels, padded_channels;
    long long n_stride, c_stride, h_stride, w_stride;  // of x, in values; may be negative
};

DEVICE void put(double& to, double value) { to = value; }
DEVICE void put(float& to, float value) { to = value; }
DEVICE void put(bf16& to, float value) { to = to_bf16(value); }

extern "C" __global__ void __launch_bounds__(THREADS)
pack(const T* __restrict__ x, E* __restrict__ y, Image p, long long size) {
    const long long i = blockIdx.x * static_cast<long long>(THREADS) + threadIdx.x;
    if (i >= size) return;
    const int c = i % p.padded_channels;
    const long long pixel = i / p.padded_channels;
    const int w = pixel % p.w, h = pixel / p.w % p.h;
    const long long n = pixel / p.w / p.h;
    const long long from = n * p.n_stride + c * p.c_stride + h * p.h_stride + w * p.w_stride;
    put(y[i], c < p.channels ? x[from] : T(0));
}
