// What follows a convolution, done to a tile's sums while they are in registers: nobody then need
// read what was just written.
//
// Either the bias of each column and an activation (activation.cuh); or the moments of each column,
// for batch norm: about its first row each column of a warp is summed, and about the mean that this
// gives the squares are, so a mean far above the deviation costs no accuracy. Warps meet in shared
// memory, blocks in norm.cu's moments_total; the order is a function of the shape alone.
#pragma once
#include "activation.cuh"
#include "moments.cuh"

// The block's first column is `first`, and there are `columns` from there on.
template <class Sums>
DEVICE void finish(Sums& sums, const float* __restrict__ bias, int first, int columns,
                   float slope) {
#pragma unroll
    for (int j = 0; j < Sums::COLUMNS; j++) {
        if (Sums::column(j) >= columns) continue;
#pragma unroll
        for (int i = 0; i < Sums::ROWS; i++)
            sums.value(i, j) = finished(sums.value(i, j), bias, first + Sums::column(j), slope);
    }
}

// Where a block leaves its columns' moments: partial (columns of all blocks, chunks).
struct Leave {
    Moments* partial;  // null: nowhere
    long long first;   // column of the block's
    int columns;       // that there are from there on
    int chunk, chunks;
    __device__ __forceinline__ void put(int column, const Moments& found) const {
        if (column < columns) partial[(first + column) * chunks + chunk] = found;
    }
};

template <class Sums>
struct Columns {
    struct Part {
        float shift, mean, squares;
    } part[Sums::WARP_ROWS][TILE_N];
    int count[Sums::WARP_ROWS];  // of rows that a warp has
};

// A block without rows.
DEVICE void leave_nothing(const Leave& leave) {
    for (int c = threadIdx.x; c < TILE_N; c += THREADS) leave.put(c, {0, 0, 0});
}

// Of the tile's first `rows` rows. Every thread must come here.
template <class Sums>
DEVICE void leave_moments(const Sums& sums, int rows, Columns<Sums>& shared, const Leave& leave) {
    constexpr int APART = Sums::LANES_APART;  // lanes at this distance have the same column
    const int lane = threadIdx.x % 32, warp_row = Sums::warp_row();
    int count = 0;
#pragma unroll
    for (int i = 0; i < Sums::ROWS; i++) count += Sums::row(i) < rows;
#pragma unroll
    for (int bit = APART; bit < 32; bit *= 2) count += __shfl_xor_sync(~0u, count, bit);
    const float share = count ? 1.0f / count : 0.0f;

    __syncthreads();  // nobody reads the tiles any more
#pragma unroll
    for (int j = 0; j < Sums::COLUMNS; j++) {
        const float shift = __shfl_sync(~0u, sums.value(0, j), lane % APART);  // the first row's
        float sum = 0, squares = 0;
#pragma unroll
        for (int i = 0; i < Sums::ROWS; i++)
            if (Sums::row(i) < rows) sum += sums.value(i, j) - shift;
#pragma unroll
        for (int bit = APART; bit < 32; bit *= 2) sum += __shfl_xor_sync(~0u, sum, bit);
        const float mean = sum * share;
#pragma unroll
        for (int i = 0; i < Sums::ROWS; i++) {
            const float off = sums.value(i, j) - shift - mean;
            if (Sums::row(i) < rows) squares += off * off;
        }
#pragma unroll
        for (int bit = APART; bit < 32; bit *= 2) squares += __shfl_xor_sync(~0u, squares, bit);
        if (lane < APART) shared.part[warp_row][Sums::column(j)] = {shift, mean, squares};
    }
    if (lane == 0 && Sums::column(0) == 0) shared.count[warp_row] = count;
    __syncthreads();
    for (int c = threadIdx.x; c < TILE_N; c += THREADS) {
        Moments all = {0, 0, 0};
        for (int r = 0; r < Sums::WARP_ROWS; r++) {
            const auto& part = shared.part[r][c];
            all.merge({double(shared.count[r]), double(part.shift) + part.mean, part.squares});
        }
        leave.put(c, all);
    }
}
