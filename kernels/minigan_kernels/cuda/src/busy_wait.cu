// Keeps the card busy, so that what is launched behind it waits until all of it is there: timed
// between two events it then takes the card's time, not the launching processor's.
#include "prim.cuh"

extern "C" __global__ void __launch_bounds__(THREADS)
busy_wait(long long ticks) {
    for (const long long begin = clock64(); clock64() - begin < ticks;) {
    }
}
