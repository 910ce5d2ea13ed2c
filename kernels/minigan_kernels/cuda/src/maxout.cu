// Bias and maxout: x (N, units pieces), bias (units pieces,), y (N, units).
//
// Bound by memory: forward reads x once and writes 1 / pieces of that. The backward pass has a
// thread for each piece, so that a warp reads neighbours. A unit's other pieces come from cache.
#include "elementwise.cuh"

extern "C" __global__ void __launch_bounds__(THREADS)
bias_maxout(const T* __restrict__ x, const T* __restrict__ bias, T* __restrict__ y, long long size,
            int units, int pieces) {
    const long long i = blockIdx.x * (long long)THREADS + threadIdx.x;
    if (i >= size) return;
    const long long first = i % units * pieces;
    T top = x[i * pieces] + bias[first];
    for (int k = 1; k < pieces; k++) {
        const T value = x[i * pieces + k] + bias[first + k];
        if (value > top || value != value) top = value;  // a NaN stays, as in NumPy
    }
    y[i] = top;
}

// The pieces that equal the largest divide g evenly. If that is NaN, none gets any.
extern "C" __global__ void __launch_bounds__(THREADS)
bias_maxout_backward(const T* __restrict__ g, const T* __restrict__ y, const T* __restrict__ x,
                     const T* __restrict__ bias, T* __restrict__ dx, Sums<1>* __restrict__ partial,
                     const Layout s, int units, int pieces) {
    SHARED(Shared<Sums<1>>, shared);
    const int column = my_column(s), unit = column / pieces;
    T sum = 0;
    Positions at(s);
    for (long long i = at.offset / s.columns * units + unit; at.inside(); at.next()) {
        int equal = 0;
        for (int k = 0; k < pieces; k++)
            equal += x[i * pieces + k] + bias[unit * pieces + k] == y[i];
        const bool mine = x[at.offset] + bias[column] == y[i];
        sum += dx[at.offset] = mine ? g[i] * T(T(1) / equal) : T(0);
        i += THREADS / s.block_columns * (long long)units;
    }
    Sums<1> mine[V] = {{{double(sum)}}};
    merge_block(s, mine, shared.value, partial);
}
