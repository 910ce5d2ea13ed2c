// The parts of a convolution that was split, added in the same order always, and what a whole
// convolution's epilogue would do: the bias and the activation, if it is compiled with one, or else
// the moments for batch norm, which are left in `partial`.
//
// It is bound by memory: 4 bytes read for each part of a value, 4 written.
#include "activation.cuh"
#include "running.cuh"

// Blocks on a multiprocessor: 64 registers are enough for the moments of single channels, where the
// compiler for sm_120 would take 48 and spill. 0: as it thinks best.
constexpr int RESIDENT = V == 1 && !ACTIVATED ? 4 : 0;

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT)
reduce(const Vector* __restrict__ parts, const T* __restrict__ bias, Vector* __restrict__ y,
       Moments* __restrict__ partial, const Lanes s, int count, long long size, T slope) {
    Running running;
    for (Walk at(s); at.inside();) {
        Vector tile[TILE];
        int taken = 0;
#pragma unroll
        for (int i = 0; i < TILE; i++)
            if (at.inside()) {
                Vector sum = parts[at.offset];
                for (int part = 1; part < count; part++) {
                    const Vector more = parts[part * size + at.offset];
#pragma unroll
                    for (int k = 0; k < V; k++) sum.of[k] += more.of[k];
                }
#pragma unroll
                for (int k = 0; k < V; k++)
                    sum.of[k] = finished(sum.of[k], bias, my_channel(s, k), slope);
                y[at.offset] = tile[i] = sum;
                at.next();
                taken++;
            }
        if (!ACTIVATED) running.take(tile, taken);
    }
    if (ACTIVATED) return;
    SHARED(Shared<Moments>, shared);
    running.leave(s, shared, partial);
}
