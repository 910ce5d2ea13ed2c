// A tile of a matrix in shared memory, in chunks of 16 bytes: what cp.async brings and ldmatrix
// takes at once. Chunks of a row are permuted (swizzled) by an exclusive or with the row's number,
// so that the chunks that a warp reads together lie in different banks, with no padding.
#pragma once
#include "prim.cuh"

#define MEMBER __device__ __forceinline__

template <class E, int ROWS, int COLUMNS, bool ACROSS>
struct Tile {
    static constexpr int VECTOR = 16 / sizeof(E);           // values in a chunk
    static constexpr int CHUNKS = COLUMNS / VECTOR;         // in a row
    static constexpr int COPIES = ROWS * CHUNKS / THREADS;  // for each thread
    static_assert(ROWS * CHUNKS % THREADS == 0, "threads copy equally many chunks");
    static_assert(THREADS % CHUNKS == 0, "a thread's chunks lie in one column");
    static_assert((CHUNKS & (CHUNKS - 1)) == 0 && CHUNKS >= 4, "a power of two for the swizzle");

    E value[ROWS * COLUMNS];

    // ldmatrix reads one chunk of each of eight rows; rows of four chunks begin at only two places
    // in the 128 bytes of all banks. A tf32 tile that is read across gives a warp two neighbouring
    // chunks of each of four rows.
    static MEMBER int swizzle(int row) {
        if (ACROSS && sizeof(E) == 4) return row % 4 * 2;
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

    // The chunks that this thread copies lie in the rows copy_row(i), i < COPIES, and one column.
    static MEMBER int copy_row(int i) { return (threadIdx.x + i * THREADS) / CHUNKS; }
    static MEMBER int copy_column() { return threadIdx.x % CHUNKS; }
};

// What a block multiplies at a time: with the sum's index along the rows of both tiles, or across.
template <class E>
struct Along {
    static constexpr bool ALONG = true;
    Tile<E, TILE_M, TILE_K, false> a;
    Tile<E, TILE_N, TILE_K, false> b;
};

template <class E>
struct Across {
    static constexpr bool ALONG = false;
    Tile<E, TILE_K, TILE_M, true> a;
    Tile<E, TILE_K, TILE_N, true> b;
};
