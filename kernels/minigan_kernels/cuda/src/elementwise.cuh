// Images as vectors of memory, and sums over each channel of them.
//
// An image is seen as (outer, lanes, inner) vectors of V values, V = 1 or 16 bytes' worth:
//   planes         (N, C, H W / V): a vector lies in one channel
//   channels last  (N H W, C / V, 1): a vector lies across V channels, `apart`
// A thread stays in one lane and walks along its positions outer * inner, so a channel's
// numbers (bias, mean, ...) are read once. A block takes `across` neighbouring lanes
// and one of the `chunks` of their positions; neither depends on the card, so the order of every
// sum is a function of the shape alone. Sums go up in two levels without atomics: threads of a
// block in shared memory, then a warp over a channel's chunks.
#pragma once
#include "prim.cuh"

struct alignas(sizeof(T) * V) Vector {
    T of[V];
};

struct Lanes {
    long long positions;  // of a lane
    int inner, each;      // of them in a plane, in a chunk
    int lanes, across, chunks, apart;
};

DEVICE int my_chunk(const Lanes& s) { return blockIdx.x % s.chunks; }
DEVICE int my_lane(const Lanes& s) {  // it may be none of s.lanes
    return blockIdx.x / s.chunks * s.across + threadIdx.x % s.across;
}

// The channel that value k of this thread's vectors is in.
DEVICE int my_channel(const Lanes& s, int k) { return s.apart ? my_lane(s) * V + k : my_lane(s); }

DEVICE T of_channel(const Lanes& s, const T* values, int k) {
    return my_lane(s) < s.lanes ? values[my_channel(s, k)] : T(0);
}

// for (Walk at(s); at.inside(); at.next()) ... x[at.offset]: this thread's vectors. One division
// at its beginning, none on the way.
struct Walk {
    const Lanes& s;
    long long offset, far;
    int left, place, along;

    __device__ __forceinline__ explicit Walk(const Lanes& s) : s(s) {
        const int lane = my_lane(s), row = threadIdx.x / s.across, rows = THREADS / s.across;
        const long long start = my_chunk(s) * (long long)s.each, position = start + row;
        left = lane < s.lanes ? int(min(s.positions - start, (long long)s.each)) - row : 0;
        place = position % s.inner;
        offset = (position / s.inner * s.lanes + lane) * s.inner + place;
        along = rows % s.inner;
        far = (long long)(rows / s.inner) * s.inner * s.lanes + along;
    }
    __device__ __forceinline__ bool inside() const { return left > 0; }
    __device__ __forceinline__ void next() {
        left -= THREADS / s.across;
        offset += far;
        place += along;
        if (place >= s.inner) {
            place -= s.inner;
            offset += (s.lanes - 1LL) * s.inner;
        }
    }
};

template <int N>
struct Sums {
    double of[N];
    __device__ __forceinline__ void merge(const Sums& other) {
        for (int i = 0; i < N; i++) of[i] += other.of[i];
    }
};

template <class A>
struct Shared {
    A value[V][THREADS];
};

// What the block's threads have of each channel, merged: partial (channels, chunks). A thread gives
// a part for each of its V values. Every thread must come here.
template <class A>
DEVICE void merge_block(const Lanes& s, A (&mine)[V], A (&value)[V][THREADS], A* partial) {
    const int i = threadIdx.x;
    if (!s.apart)
        for (int k = 1; k < V; k++) mine[0].merge(mine[k]);
#pragma unroll
    for (int k = 0; k < V; k++) value[k][i] = mine[k];
    const int parts = s.apart ? V : 1;
    for (int half = THREADS / 2; half >= s.across; half /= 2) {
        __syncthreads();
        if (i < half)
            for (int k = 0; k < parts; k++) value[k][i].merge(value[k][i + half]);
    }
    if (i < s.across && my_lane(s) < s.lanes)
        for (int k = 0; k < parts; k++)
            partial[my_channel(s, k) * (long long)s.chunks + my_chunk(s)] = value[k][i];
}
