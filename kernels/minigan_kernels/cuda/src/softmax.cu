// Cross-entropy of a softmax over classes: a warp a row of x (N, classes).
//
// Bound by memory: forward reads x (the second and third time from the cache) and writes p, 8 bytes
// a float32 value. The backward pass reads p and writes dx, and needs no exponential. A label that
// names no class gives a loss of NaN, and its row the gradient g p.
#include "prim.cuh"

DEVICE long long my_row() { return (blockIdx.x * (long long)THREADS + threadIdx.x) / 32; }

extern "C" __global__ void __launch_bounds__(THREADS)
softmax_cross_entropy(const T* __restrict__ x, const long long* __restrict__ labels,
                      T* __restrict__ loss, T* __restrict__ p, long long rows, int classes) {
    const long long row = my_row();
    if (row >= rows) return;  // a whole warp
    const int lane = threadIdx.x % 32;
    x += row * classes;
    p += row * classes;
    T top = x[0], total = 0;
    for (int k = lane; k < classes; k += 32) top = x[k] > top ? x[k] : top;
    for (int bit = 16; bit; bit /= 2) {
        const T other = __shfl_xor_sync(~0u, top, bit);
        top = other > top ? other : top;
    }
    const T shift = top - top == 0 ? top : T(0);  // what is not finite stays so
    for (int k = lane; k < classes; k += 32) total += exp(x[k] - shift);
    for (int bit = 16; bit; bit /= 2) total += __shfl_xor_sync(~0u, total, bit);
    for (int k = lane; k < classes; k += 32) p[k] = exp(x[k] - shift) / total;
    const long long label = labels[row];
    const bool inside = 0 <= label && label < classes;
    if (lane == 0) loss[row] = inside ? log(total) - (x[label] - shift) : T(nan(""));
}

extern "C" __global__ void __launch_bounds__(THREADS)
softmax_cross_entropy_backward(const T* __restrict__ g, const T* __restrict__ p,
                               const long long* __restrict__ labels, T* __restrict__ dx,
                               long long rows, int classes) {
    const long long row = my_row();
    if (row >= rows) return;
    for (int k = threadIdx.x % 32; k < classes; k += 32)
        dx[row * classes + k] = g[row] * (p[row * classes + k] - T(k == labels[row]));
}
