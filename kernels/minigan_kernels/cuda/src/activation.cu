// Activations, alone and fused with a bias. T is float or double, V values make a vector.
//
// Each is bound by memory: x is read and y written once (8 bytes a float32). The backward passes
// read g and y and write dx (12 bytes). The sums over channels stay in registers until a block is
// done.
#include "activation.cuh"
#include "elementwise.cuh"

// --- Value by value: one vector a thread -------------------------------------------------------

template <class F>
DEVICE void map(const Vector* x, Vector* y, long long size, F f) {
    const long long i = blockIdx.x * (long long)THREADS + threadIdx.x;
    if (i >= size) return;
    Vector v = x[i];
#pragma unroll
    for (int k = 0; k < V; k++) v.of[k] = f(v.of[k]);
    y[i] = v;
}

template <class F>
DEVICE void map(const Vector* g, const Vector* x, Vector* y, long long size, F f) {
    const long long i = blockIdx.x * (long long)THREADS + threadIdx.x;
    if (i >= size) return;
    Vector u = g[i];
    const Vector v = x[i];
#pragma unroll
    for (int k = 0; k < V; k++) u.of[k] = f(u.of[k], v.of[k]);
    y[i] = u;
}

extern "C" __global__ void __launch_bounds__(THREADS)
leaky_relu(const Vector* __restrict__ x, Vector* __restrict__ y, long long size, T slope) {
    map(x, y, size, [=](T x) { return leaky(x, x, slope); });
}

extern "C" __global__ void __launch_bounds__(THREADS)
leaky_relu_dx(const Vector* __restrict__ g, const Vector* __restrict__ x, Vector* __restrict__ y,
              long long size, T slope) {
    map(g, x, y, size, [=](T g, T x) { return leaky(g, x, slope); });
}

extern "C" __global__ void __launch_bounds__(THREADS)
sigmoid(const Vector* __restrict__ x, Vector* __restrict__ y, long long size) {
    map(x, y, size, logistic<T>);
}

extern "C" __global__ void __launch_bounds__(THREADS)
softplus(const Vector* __restrict__ x, Vector* __restrict__ y, long long size) {
    map(x, y, size, [](T x) { return (x > 0 || x != x ? x : T(0)) + log1p(exp(-fabs(x))); });
}

extern "C" __global__ void __launch_bounds__(THREADS)
error_function(const Vector* __restrict__ x, Vector* __restrict__ y, long long size) {
    map(x, y, size, [](T x) { return T(erf(x)); });
}

extern "C" __global__ void __launch_bounds__(THREADS)
silu(const Vector* __restrict__ x, Vector* __restrict__ y, long long size) {
    map(x, y, size, [](T x) { return x * logistic(x); });
}

extern "C" __global__ void __launch_bounds__(THREADS)
silu_backward(const Vector* __restrict__ g, const Vector* __restrict__ x, Vector* __restrict__ y,
              long long size) {
    map(g, x, y, size, [](T g, T x) {
        const T s = logistic(x);
        return g * (s * (T(1) + x * (T(1) - s)));
    });
}

// The probability that a normal number is below x.
DEVICE T normal_cdf(T x) { return T(0.5) * (T(1) + T(erf(x * T(0.70710678118654752440)))); }

extern "C" __global__ void __launch_bounds__(THREADS)
gelu(const Vector* __restrict__ x, Vector* __restrict__ y, long long size) {
    map(x, y, size, [](T x) { return x * normal_cdf(x); });
}

extern "C" __global__ void __launch_bounds__(THREADS)
gelu_backward(const Vector* __restrict__ g, const Vector* __restrict__ x, Vector* __restrict__ y,
              long long size) {
    map(g, x, y, size, [](T g, T x) {
        const T density = exp(T(-0.5) * x * x) * T(0.39894228040143267794);  // 1 / sqrt(2 pi)
        return g * (normal_cdf(x) + x * density);
    });
}

// --- y = f(x + bias) ---------------------------------------------------------------------------

template <class F>
DEVICE void with_bias(const Layout& s, const Vector* x, const T* bias, Vector* y, F f) {
    T shift[V];
#pragma unroll
    for (int k = 0; k < V; k++) shift[k] = of_channel(s, bias, k);
    for (Positions at(s); at.inside(); at.next()) {
        Vector v = x[at.offset];
#pragma unroll
        for (int k = 0; k < V; k++) v.of[k] = f(v.of[k] + shift[k]);
        y[at.offset] = v;
    }
}

extern "C" __global__ void __launch_bounds__(THREADS)
bias_leaky_relu(const Vector* __restrict__ x, const T* __restrict__ bias, Vector* __restrict__ y,
                const Layout s, T slope) {
    with_bias(s, x, bias, y, [=](T x) { return leaky(x, x, slope); });
}

extern "C" __global__ void __launch_bounds__(THREADS)
bias_tanh(const Vector* __restrict__ x, const T* __restrict__ bias, Vector* __restrict__ y,
          const Layout s) {
    with_bias(s, x, bias, y, [](T x) { return T(tanh(x)); });
}

extern "C" __global__ void __launch_bounds__(THREADS)
bias_sigmoid(const Vector* __restrict__ x, const T* __restrict__ bias, Vector* __restrict__ y,
             const Layout s) {
    with_bias(s, x, bias, y, logistic<T>);
}

// --- dx = f(g, y), and its sums over each channel ----------------------------------------------
// Six blocks a multiprocessor: by itself the compiler spills registers to have eight.

template <class F>
DEVICE void with_bias_backward(const Layout& s, const Vector* g, const Vector* y, Vector* dx,
                               Sums<1>* partial, F f) {
    SHARED(Shared<Sums<1>>, shared);
    T sum[V] = {};
    for (Positions at(s); at.inside(); at.next()) {
        Vector u = g[at.offset];
        const Vector v = y[at.offset];
#pragma unroll
        for (int k = 0; k < V; k++) sum[k] += u.of[k] = f(u.of[k], v.of[k]);
        dx[at.offset] = u;
    }
    Sums<1> mine[V];
#pragma unroll
    for (int k = 0; k < V; k++) mine[k].of[0] = sum[k];
    merge_block(s, mine, shared.value, partial);
}

extern "C" __global__ void __launch_bounds__(THREADS, 6)
bias_leaky_relu_backward(const Vector* __restrict__ g, const Vector* __restrict__ y,
                         Vector* __restrict__ dx, Sums<1>* __restrict__ partial, const Layout s,
                         T slope) {
    with_bias_backward(s, g, y, dx, partial, [=](T g, T y) { return leaky(g, y, slope); });
}

extern "C" __global__ void __launch_bounds__(THREADS, 6)
bias_tanh_backward(const Vector* __restrict__ g, const Vector* __restrict__ y,
                   Vector* __restrict__ dx, Sums<1>* __restrict__ partial, const Layout s) {
    with_bias_backward(s, g, y, dx, partial, [](T g, T y) { return g * (T(1) - y * y); });
}

extern "C" __global__ void __launch_bounds__(THREADS, 6)
bias_sigmoid_backward(const Vector* __restrict__ g, const Vector* __restrict__ y,
                      Vector* __restrict__ dx, Sums<1>* __restrict__ partial, const Layout s) {
    with_bias_backward(s, g, y, dx, partial, [](T g, T y) { return g * (y * (T(1) - y)); });
}
