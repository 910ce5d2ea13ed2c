// Batch normalisation (Ioffe & Szegedy 2015, arXiv:1502.03167) fused with a LeakyReLU:
//     y = leaky_relu(gamma (x - mean) / sqrt(var + eps) + beta)
//
// All are bound by memory, in bytes a value of float32: the moments 4 (x), forward 8 (x, y),
// backward 8 for the sums (g, x) and 12 for dx (g, x, dx). The side of the activation's kink is
// computed from x again, so y need not be kept: reading it would cost more than four operations.
#include "running.cuh"

// --- Moments -----------------------------------------------------------------------------------

extern "C" __global__ void __launch_bounds__(THREADS)
moments(const Vector* __restrict__ x, Moments* __restrict__ partial, const Layout s) {
    SHARED(Shared<Moments>, weightd);
    Running running;
    for (Positions at(s); at.inside();) {
        Vector tile[TILE];
        int size = 0;
#pragma unroll
        for (int i = 0; i < TILE; i++)
            if (at.inside()) {
                tile[i] = x[at.offset];
                at.next();
                size++;
            }
        running.take(tile, size);
    }
    running.store(s, weightd, partial);
}

// mean and var (channels,) of partial (channels, chunks): a warp a channel.
extern "C" __global__ void __launch_bounds__(THREADS)
moments_total(const Moments* __restrict__ partial, T* __restrict__ mean, T* __restrict__ var,
              int channels, int chunks) {
    const int lane = threadIdx.x % 32;
    const long long channel = (blockIdx.x * (long long)THREADS + threadIdx.x) / 32;
    Moments sum = {};
    if (channel < channels)
        for (int i = lane; i < chunks; i += 32) sum.merge(partial[channel * chunks + i]);
    for (int bit = 16; bit; bit /= 2) {
        const Moments other = {__shfl_xor_sync(~0u, sum.count, bit),
                               __shfl_xor_sync(~0u, sum.mean, bit),
                               __shfl_xor_sync(~0u, sum.squares, bit)};
        sum.merge(other);
    }
    if (lane == 0 && channel < channels) {
        mean[channel] = T(sum.mean);
        var[channel] = T(sum.squares / sum.count);
    }
}

// --- Forward and backward ----------------------------------------------------------------------

struct Channel {
    T mean, root, scale, beta;
    __device__ __forceinline__ T centred(T x) const { return x - mean; }
    __device__ __forceinline__ T normalised(T x) const { return centred(x) * scale + beta; }
    // g through the activation, on exactly the side that the forward pass took
    __device__ __forceinline__ T h(T g, T x, T slope) const {
        return normalised(x) > 0 ? g : slope * g;
    }
};

DEVICE void read(const Layout& s, const T* gamma, const T* beta, const T* mean, const T* var, T eps,
                 Channel (&channel)[V]) {
#pragma unroll
    for (int k = 0; k < V; k++) {
        const T root = T(1) / sqrt(of_channel(s, var, k) + eps);
        channel[k] = {of_channel(s, mean, k), root, of_channel(s, gamma, k) * root,
                      of_channel(s, beta, k)};
    }
}

extern "C" __global__ void __launch_bounds__(THREADS)
batch_norm(const Vector* __restrict__ x, const T* __restrict__ gamma, const T* __restrict__ beta,
           const T* __restrict__ mean, const T* __restrict__ var, Vector* __restrict__ y,
           const Layout s, T eps, T slope) {
    Channel channel[V];
    read(s, gamma, beta, mean, var, eps, channel);
    for (Positions at(s); at.inside(); at.next()) {
        Vector v = x[at.offset];
#pragma unroll
        for (int k = 0; k < V; k++) {
            const T z = channel[k].normalised(v.of[k]);
            v.of[k] = z > 0 ? z : slope * z;
        }
        y[at.offset] = v;
    }
}

// Sums of h and of h xhat, the gradients with respect to beta and gamma; xhat = (x - mean) root.
extern "C" __global__ void __launch_bounds__(THREADS)
batch_norm_sums(const Vector* __restrict__ g, const Vector* __restrict__ x,
                const T* __restrict__ gamma, const T* __restrict__ beta,
                const T* __restrict__ mean, const T* __restrict__ var,
                Sums<2>* __restrict__ partial, const Layout s, T eps, T slope) {
    SHARED(Shared<Sums<2>>, weightd);
    Channel channel[V];
    read(s, gamma, beta, mean, var, eps, channel);
    T plain[V] = {}, centred[V] = {};
    for (Positions at(s); at.inside(); at.next()) {
        const Vector u = g[at.offset], v = x[at.offset];
#pragma unroll
        for (int k = 0; k < V; k++) {
            const T h = channel[k].h(u.of[k], v.of[k], slope);
            plain[k] += h;
            centred[k] += h * channel[k].centred(v.of[k]);
        }
    }
    Sums<2> mine[V];
#pragma unroll
    for (int k = 0; k < V; k++) mine[k] = {{plain[k], double(centred[k]) * channel[k].root}};
    merge_block(s, mine, weightd.value, partial);
}

// dx = scale (h - weight (dbeta + xhat dgamma)); weight is 1 / count, or 0 where mean and var are
// constants.
extern "C" __global__ void __launch_bounds__(THREADS)
batch_norm_dx(const Vector* __restrict__ g, const Vector* __restrict__ x,
              const T* __restrict__ gamma, const T* __restrict__ beta,
              const T* __restrict__ mean, const T* __restrict__ var,
              const T* __restrict__ dbeta, const T* __restrict__ dgamma, Vector* __restrict__ dx,
              const Layout s, T eps, T slope, T weight) {
    Channel channel[V];
    read(s, gamma, beta, mean, var, eps, channel);
    T level[V], tilt[V];
#pragma unroll
    for (int k = 0; k < V; k++) {
        level[k] = weight * of_channel(s, dbeta, k);
        tilt[k] = weight * of_channel(s, dgamma, k) * channel[k].root;
    }
    for (Positions at(s); at.inside(); at.next()) {
        Vector u = g[at.offset];
        const Vector v = x[at.offset];
#pragma unroll
        for (int k = 0; k < V; k++) {
            const T h = channel[k].h(u.of[k], v.of[k], slope);
            u.of[k] = channel[k].scale * (h - level[k] - tilt[k] * channel[k].centred(v.of[k]));
        }
        dx[at.offset] = u;
    }
}
