// The moments of a lane's channels, from all that a thread reads of them.
//
// A thread merges tiles of a few values, whose own two moments it takes in two passes in registers,
// all about its first tile's mean; blocks and warps go on in float64.
#pragma once
#include "elementwise.cuh"
#include "moments.cuh"

constexpr int TILE = 4;  // vectors of a thread, read at once

struct Running {
    T shift[V] = {}, mean[V] = {}, squares[V] = {}, count = 0;

    // The first `size` vectors of a tile, of which there is one; they are overwritten.
    __device__ __forceinline__ void take(Vector (&tile)[TILE], int size) {
        const T share = T(1) / size, weight = size / (count + size);
#pragma unroll
        for (int k = 0; k < V; k++) {
            T sum = 0, about = 0;
            if (count == 0) {
#pragma unroll
                for (int i = 0; i < TILE; i++)
                    if (i < size) sum += tile[i].of[k];
                shift[k] = sum * share;
                sum = 0;
            }
#pragma unroll
            for (int i = 0; i < TILE; i++)
                if (i < size) sum += tile[i].of[k] -= shift[k];
            const T middle = sum * share, apart = middle - mean[k];
#pragma unroll
            for (int i = 0; i < TILE; i++)
                if (i < size) about += (tile[i].of[k] - middle) * (tile[i].of[k] - middle);
            squares[k] += about + apart * apart * count * weight;
            mean[k] += apart * weight;
        }
        count += size;
    }

    // The block's, in its chunk of `partial`. Every thread must come here.
    __device__ __forceinline__ void leave(const Lanes& s, Shared<Moments>& shared,
                                          Moments* partial) const {
        Moments mine[V];
#pragma unroll
        for (int k = 0; k < V; k++)
            mine[k] = {count, count > 0 ? double(shift[k]) + mean[k] : 0.0, squares[k]};
        merge_block(s, mine, shared.value, partial);
    }
};
