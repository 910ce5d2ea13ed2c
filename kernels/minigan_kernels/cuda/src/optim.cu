// One optimiser step of all parameters in one launch, in place.
//
// A table in the kernel's arguments holds the addresses of each parameter, its gradient and its
// states, and the number of its first block. So small parameters share a launch, and nothing is
// copied to the GPU beforehand. Bound by memory, in bytes a float32 value: Adam 28 (p, m, s read
// and written, g read), RMSProp and SGD 20.
#include "prim.cuh"

struct Entry {
    T* p;
    const T* g;
    T *first, *second;  // states; the second may be null
    long long size, block;  // values; its first block
};

struct Table {
    Entry entry[ENTRIES];
    int count;
};

struct alignas(sizeof(T) * V) Vector {
    T of[V];
};

// LR, MU and STEP are numbers, or addresses on the GPU, which a captured graph reads at each run.
DEVICE double number(double value) { return value; }
DEVICE double number(const double* value) { return *value; }
DEVICE long long number(long long value) { return value; }
DEVICE long long number(const long long* value) { return *value; }

DEVICE Vector& vector(T* p, long long i) { return *reinterpret_cast<Vector*>(p + i); }
DEVICE Vector vector(const T* p, long long i) { return *reinterpret_cast<const Vector*>(p + i); }

// f(p, g, first, second) for every value of the block's part of its parameter. Four blocks a
// multiprocessor have enough loads in flight; by itself the compiler spills registers for more.
template <int STATES, class F>
DEVICE void each(const Table& table, F f) {
    int low = 0, high = table.count;  // the last entry whose first block is not after this one
    while (high - low > 1) {
        const int middle = (low + high) / 2;
        if (table.entry[middle].block <= blockIdx.x)
            low = middle;
        else
            high = middle;
    }
    const Entry& e = table.entry[low];
    const long long start = (blockIdx.x - e.block) * (VECTORS * THREADS * V);
#pragma unroll
    for (int j = 0; j < VECTORS; j++) {
        const long long i = start + (j * THREADS + threadIdx.x) * V;
        if (i + V <= e.size) {
            Vector p = vector(e.p, i), first = vector(e.first, i), second = {};
            const Vector g = vector(e.g, i);
            if (STATES > 1) second = vector(e.second, i);
#pragma unroll
            for (int k = 0; k < V; k++) f(p.of[k], g.of[k], first.of[k], second.of[k]);
            vector(e.p, i) = p;
            vector(e.first, i) = first;
            if (STATES > 1) vector(e.second, i) = second;
        } else {
            T none = 0;
#pragma unroll 1
            for (long long k = i; k < e.size; k++)
                f(e.p[k], e.g[k], e.first[k], STATES > 1 ? e.second[k] : none);
        }
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, 4)
sgd(const __grid_constant__ Table table, LR lr, MU momentum, double weight_decay, int nesterov) {
    const T rate = number(lr), mu = number(momentum), decay = weight_decay;
    each<1>(table, [=](T& p, T g, T& velocity, T&) {
        g += decay * p;
        velocity = mu * velocity + g;
        p -= rate * (nesterov ? g + mu * velocity : velocity);
    });
}

extern "C" __global__ void __launch_bounds__(THREADS, 4)
rmsprop(const __grid_constant__ Table table, LR lr, double alpha, double eps,
        double weight_decay) {
    const T rate = number(lr), keep = alpha, rest = 1 - alpha, least = eps, decay = weight_decay;
    each<1>(table, [=](T& p, T g, T& square, T&) {
        g += decay * p;
        square = keep * square + rest * g * g;
        p -= rate * g / (sqrt(square) + least);
    });
}

DEVICE double power(double base, long long exponent) {
    double result = 1;
    for (; exponent; exponent /= 2, base *= base)
        if (exponent % 2) result *= base;
    return result;
}

struct Rates {
    T shrink, rate, root;
};

// The rates are computed in float64 by one thread for its block.
extern "C" __global__ void __launch_bounds__(THREADS, 4)
adam(const __grid_constant__ Table table, LR lr, STEP step, double beta1, double beta2, double eps,
     double weight_decay, int decoupled) {
    SHARED(Rates, rates);
    if (threadIdx.x == 0) {
        const double by = number(lr);
        const long long n = number(step);
        rates = {T(decoupled ? 1 - by * weight_decay : 1), T(by / (1 - power(beta1, n))),
                 T(1 / sqrt(1 - power(beta2, n)))};
    }
    __syncthreads();
    const T keep1 = beta1, rest1 = 1 - beta1, keep2 = beta2, rest2 = 1 - beta2, least = eps;
    const T decay = decoupled ? 0 : weight_decay;  // of the gradient
    const Rates by = rates;
    each<2>(table, [=](T& p, T g, T& mean, T& square) {
        g += decay * p;
        mean = keep1 * mean + rest1 * g;
        square = keep2 * square + rest2 * g * g;
        p = by.shrink * p - by.rate * mean / (sqrt(square) * by.root + least);
    });
}
