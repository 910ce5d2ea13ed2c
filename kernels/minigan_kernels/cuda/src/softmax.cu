// Cross-entropy of a softmax over classes: x and p (N, classes), labels and loss (N,).
//
// Bound by memory: forward reads x and writes p (8 bytes a float32), backward reads p and writes dx.
// A warp takes a row; its lanes read the classes side by side, and a largest value and a sum meet in
// trees of shuffles, whose order depends on nothing but the number of classes. A row is read three
// times, twice from the cache.
#include "prim.cuh"

DEVICE T larger(T a, T b) { return b > a || b != b ? b : a; }  // a NaN stays, as in NumPy

extern "C" __global__ void __launch_bounds__(THREADS)
softmax_cross_entropy(const T* __restrict__ x, const long long* __restrict__ labels,
                      T* __restrict__ loss, T* __restrict__ p, long long rows, int classes) {
    const int lane = threadIdx.x % 32;
    const long long n = blockIdx.x * (THREADS / 32LL) + threadIdx.x / 32;
    if (n >= rows) return;  // the whole warp
    x += n * classes;
    p += n * classes;
    T top = x[0];
    for (int k = lane; k < classes; k += 32) top = larger(top, x[k]);
    for (int bit = 16; bit; bit /= 2) top = larger(top, __shfl_xor_sync(~0u, top, bit));
    if (top - top != 0) top = 0;  // infinite, or NaN: a row of -inf stays -inf
    T total = 0;
    for (int k = lane; k < classes; k += 32) total += p[k] = exp(x[k] - top);
    for (int bit = 16; bit; bit /= 2) total += __shfl_xor_sync(~0u, total, bit);
    for (int k = lane; k < classes; k += 32) p[k] /= total;
    if (lane == 0) loss[n] = log(total) - (x[labels[n]] - top);
}

extern "C" __global__ void __launch_bounds__(THREADS)
softmax_cross_entropy_backward(const T* __restrict__ g, const T* __restrict__ p,
                               const long long* __restrict__ labels, T* __restrict__ dx,
                               long long size, int classes) {
    const long long i = blockIdx.x * (long long)THREADS + threadIdx.x;
    if (i >= size) return;
    const long long n = i / classes;
    dx[i] = g[n] * (p[i] - T(labels[n] == i % classes));
}
