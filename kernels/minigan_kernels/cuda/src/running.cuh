// The moments of a column's channels, from all that a thread reads of them.
//
// A thread computes the two moments of a tile of a few values in two passes over registers, shifted
// by its first tile's mean, and merges tiles. Warps and blocks merge in float64.
#pragma once
#include "elementwise.cuh"
#include "moments.cuh"

constexpr int TILE = 4;  // vectors of a thread, read at once

struct Running {
    T shift[V] = {}, mean[V] = {}, squares[V] = {}, count = 0;

    // Merges the first `size` vectors of a tile, at least one. They are overwritten.
    __device__ __forceinline__ void take(Vector (&tile)[TILE], int size) {
        const T inverse = T(1) / size, weight = size / (count + size);
#pragma unroll
        for (int k = 0; k < V; k++) {
            T sum = 0, about = 0;
            if (count == 0) {
#pragma unroll
                for (int i = 0; i < TILE; i++)
                    if (i < size) sum += tile[i].of[k];
                shift[k] = sum * inverse;
                sum = 0;
            }
#pragma unroll
            for (int i = 0; i < TILE; i++)
                if (i < size) sum += tile[i].of[k] -= shift[k];
            const T middle = sum * inverse, apart = middle - mean[k];
#pragma unroll
            for (int i = 0; i < TILE; i++)
                if (i < size) about += (tile[i].of[k] - middle) * (tile[i].of[k] - middle);
            squares[k] += about + apart * apart * count * weight;
            mean[k] += apart * weight;
        }
        count += size;
    }

    // Stores the block's moments in its chunk of `partial`. All threads must call it.
    __device__ __forceinline__ void store(const Layout& s, Shared<Moments>& shared,
                                          Moments* partial) const {
        Moments mine[V];
#pragma unroll
        for (int k = 0; k < V; k++)
            mine[k] = {count, count > 0 ? double(shift[k]) + mean[k] : 0.0, squares[k]};
        merge_block(s, mine, shared.value, partial);
    }
};
