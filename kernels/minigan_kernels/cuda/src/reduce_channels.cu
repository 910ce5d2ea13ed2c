// The sum of the split-K slices of a convolution, always in the same order, and its epilogue: bias
// and activation, if it is compiled with one, or else the moments for batch norm, in `partial`.
//
// It is bound by memory: for each value 4 bytes are read a slice, and 4 are written.
#include "activation.cuh"
#include "running.cuh"

// Blocks on a multiprocessor: 64 registers are enough for the moments of single channels, where the
// compiler for sm_120 would take 48 and spill. 0: the compiler decides.
constexpr int RESIDENT = V == 1 && !ACTIVATED ? 4 : 0;

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT)
reduce(const Vector* __restrict__ slices, const T* __restrict__ bias, Vector* __restrict__ y,
       Moments* __restrict__ partial, const Layout s, int count, long long size, T slope) {
    Running running;
    for (Positions at(s); at.inside();) {
        Vector tile[TILE];
        int taken = 0;
#pragma unroll
        for (int i = 0; i < TILE; i++)
            if (at.inside()) {
                Vector sum = slices[at.offset];
                for (int slice = 1; slice < count; slice++) {
                    const Vector more = slices[slice * size + at.offset];
#pragma unroll
                    for (int k = 0; k < V; k++) sum.of[k] += more.of[k];
                }
#pragma unroll
                for (int k = 0; k < V; k++)
                    sum.of[k] = with_epilogue(sum.of[k], bias, my_channel(s, k), slope);
                y[at.offset] = tile[i] = sum;
                at.next();
                taken++;
            }
        if (!ACTIVATED) running.take(tile, taken);
    }
    if (ACTIVATED) return;
    SHARED(Shared<Moments>, shared);
    running.store(s, shared, partial);
}
