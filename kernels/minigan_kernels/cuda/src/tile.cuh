// A tile of a matrix in shared memory, in chunks of 16 bytes: cp.async writes and ldmatrix reads
// one at a time. The chunks of a row are permuted (swizzled) by an exclusive or with the row's
// number. So the chunks that a warp reads together are in different banks, without padding.
#pragma once
#include "prim.cuh"

#define MEMBER __device__ __forceinline__

template <class E, int ROWS, int COLUMNS, bool MN_MAJOR>
struct Tile {
    static constexpr int VECTOR = 16 / sizeof(E);           // values in a chunk
    static constexpr int CHUNKS = COLUMNS / VECTOR;         // in a row
    static constexpr int COPIES = ROWS * CHUNKS / THREADS;  // of each thread
    static_assert(ROWS * CHUNKS % THREADS == 0, "all threads copy the same number of chunks");
    static_assert(THREADS % CHUNKS == 0, "a thread's chunks are in one column");
    static_assert((CHUNKS & (CHUNKS - 1)) == 0 && CHUNKS >= 4, "a power of two for the swizzle");

    E value[ROWS * COLUMNS];

    // ldmatrix reads one chunk of each of eight rows. Rows of four chunks begin at only two offsets
    // in the 128 bytes of all banks. Of an MN-major tf32 tile a warp reads two neighbouring chunks
    // of each of four rows.
    static MEMBER int swizzle(int row) {
        if (MN_MAJOR && sizeof(E) == 4) return row % 4 * 2;
        return CHUNKS == 4 ? row / 2 % 4 : row % 8;
    }

    MEMBER E* chunk(int row, int c) {
        return value + (row * CHUNKS + (c ^ swizzle(row))) * VECTOR;
    }
    MEMBER const E* chunk(int row, int c) const {
        return value + (row * CHUNKS + (c ^ swizzle(row))) * VECTOR;
    }
    MEMBER const E* at(int row, int column) const {
        return chunk(row, column / VECTOR) + column % VECTOR;
    }

    // This thread copies the chunks of rows copy_row(i), i < COPIES, in one column.
    static MEMBER int copy_row(int i) { return (threadIdx.x + i * THREADS) / CHUNKS; }
    static MEMBER int copy_column() { return threadIdx.x % CHUNKS; }
};

// What a block multiplies at a time. K-major: k runs along the rows of both tiles. MN-major: k runs
// down their rows.
template <class E>
struct KMajor {
    static constexpr bool K_MAJOR = true;
    Tile<E, TILE_M, TILE_K, false> a;
    Tile<E, TILE_N, TILE_K, false> b;
};

template <class E>
struct MNMajor {
    static constexpr bool K_MAJOR = false;
    Tile<E, TILE_K, TILE_M, true> a;
    Tile<E, TILE_K, TILE_N, true> b;
};
