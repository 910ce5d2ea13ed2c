// Activations, one value a thread. T is float or double.
#include "prim.cuh"

// y = x where x > 0, else slope x.
extern "C" __global__ void __launch_bounds__(THREADS)
leaky_relu(const T* __restrict__ x, T* __restrict__ y, T slope, long long size) {
    const long long i = blockIdx.x * (long long)THREADS + threadIdx.x;
    if (i < size) y[i] = x[i] > 0 ? x[i] : slope * x[i];
}
