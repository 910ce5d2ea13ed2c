// Images as vectors of memory, and sums over each of their channels.
//
// An image is seen as (outer, columns, inner) vectors of V values, where V is 1 or 16 bytes' worth:
//   planes         (N, C, H W / V): all values of a vector are in one channel
//   channels last  (N H W, C / V, 1): the values of a vector are in V neighbouring channels
// A thread stays in one column and goes through positions of outer * inner, so it reads a channel's
// numbers (bias, mean, ...) once. A block takes `block_columns` neighbouring columns and one of the
// `chunks` of their positions. Neither depends on the GPU, so the order of every sum is a function
// of the shape alone. Sums have two levels, without atomics: the threads of a block in shared
// memory, then a warp over the chunks of a channel.
#pragma once
#include "prim.cuh"

struct alignas(sizeof(T) * V) Vector {
    T of[V];
};

struct Layout {
    long long positions;         // in a column
    int inner, chunk_positions;  // of them in a plane, in a chunk
    int columns, block_columns, chunks, channels_last;
};

DEVICE int my_chunk(const Layout& s) { return blockIdx.x % s.chunks; }
DEVICE int my_column(const Layout& s) {  // may be beyond s.columns
    return blockIdx.x / s.chunks * s.block_columns + threadIdx.x % s.block_columns;
}

// The channel of value k of this thread's vectors.
DEVICE int my_channel(const Layout& s, int k) {
    return s.channels_last ? my_column(s) * V + k : my_column(s);
}

DEVICE T of_channel(const Layout& s, const T* values, int k) {
    return my_column(s) < s.columns ? values[my_channel(s, k)] : T(0);
}

// for (Positions at(s); at.inside(); at.next()) ... x[at.offset]: this thread's vectors. It divides
// once at the start and never in the loop.
struct Positions {
    const Layout& s;
    long long offset, stride;
    int left, place, place_step;

    __device__ __forceinline__ explicit Positions(const Layout& s) : s(s) {
        const int column = my_column(s), rows = THREADS / s.block_columns;
        const int row = threadIdx.x / s.block_columns;
        const long long start = my_chunk(s) * (long long)s.chunk_positions;
        const long long position = start + row;
        const int size = min(s.positions - start, (long long)s.chunk_positions);
        left = column < s.columns ? size - row : 0;
        place = position % s.inner;
        offset = (position / s.inner * s.columns + column) * s.inner + place;
        place_step = rows % s.inner;
        stride = (long long)(rows / s.inner) * s.inner * s.columns + place_step;
    }
    __device__ __forceinline__ bool inside() const { return left > 0; }
    __device__ __forceinline__ void next() {
        left -= THREADS / s.block_columns;
        offset += stride;
        place += place_step;
        if (place >= s.inner) {
            place -= s.inner;
            offset += (s.columns - 1LL) * s.inner;
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

// Merges what the block's threads have of each channel into partial (channels, chunks). A thread
// gives one A for each of its V values. All threads of the block must call it.
template <class A>
DEVICE void merge_block(const Layout& s, A (&mine)[V], A (&value)[V][THREADS], A* partial) {
    const int i = threadIdx.x;
    if (!s.channels_last)
        for (int k = 1; k < V; k++) mine[0].merge(mine[k]);
#pragma unroll
    for (int k = 0; k < V; k++) value[k][i] = mine[k];
    const int count = s.channels_last ? V : 1;
    for (int half = THREADS / 2; half >= s.block_columns; half /= 2) {
        __syncthreads();
        if (i < half)
            for (int k = 0; k < count; k++) value[k][i].merge(value[k][i + half]);
    }
    if (i < s.block_columns && my_column(s) < s.columns)
        for (int k = 0; k < count; k++)
            partial[my_channel(s, k) * (long long)s.chunks + my_chunk(s)] = value[k][i];
}
