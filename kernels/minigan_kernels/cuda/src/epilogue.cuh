// The epilogue: what follows a convolution, done to the accumulators while they are in registers,
// so that no later pass reads the result again.
//
// Either bias and activation of each column (activation.cuh), or the moments of each column, for
// batch norm. Each warp computes a column's mean shifted by its first row, then squared deviations
// from that mean, so a mean far above the deviation costs no accuracy. Shared memory merges warps,
// norm.cu's moments_total merges blocks. The order is a function of the shape alone.
#pragma once
#include "activation.cuh"
#include "moments.cuh"

// The block's first column is `first`; `columns` remain from there on.
template <class Acc>
DEVICE void apply_epilogue(Acc& acc, const float* __restrict__ bias, int first, int columns,
                           float slope) {
#pragma unroll
    for (int j = 0; j < Acc::COLUMNS; j++) {
        if (Acc::column(j) >= columns) continue;
#pragma unroll
        for (int i = 0; i < Acc::ROWS; i++)
            acc.value(i, j) =
                with_epilogue(acc.value(i, j), bias, first + Acc::column(j), slope);
    }
}

// Where a block stores the moments of its columns: partial (columns of all blocks, chunks).
struct MomentsTarget {
    Moments* partial;
    long long first;  // the block's first column
    int columns;      // that remain from there on
    int chunk, chunks;
    __device__ __forceinline__ void put(int column, const Moments& found) const {
        if (column < columns) partial[(first + column) * chunks + chunk] = found;
    }
};

template <class Acc>
struct ColumnMoments {
    struct Part {
        float shift, mean, squares;
    } part[Acc::WARP_ROWS][TILE_N];
    int count[Acc::WARP_ROWS];  // rows of a warp
};

// For a block without rows.
DEVICE void store_no_moments(const MomentsTarget& target) {
    for (int c = threadIdx.x; c < TILE_N; c += THREADS) target.put(c, {0, 0, 0});
}

// The moments of the tile's first `rows` rows. All threads of the block must call it.
template <class Acc>
DEVICE void store_partial_moments(const Acc& acc, int rows, ColumnMoments<Acc>& shared,
                                  const MomentsTarget& target) {
    constexpr int APART = Acc::LANES_APART;  // lanes at this distance have the same column
    const int lane = threadIdx.x % 32, warp_row = Acc::warp_row();
    int count = 0;
#pragma unroll
    for (int i = 0; i < Acc::ROWS; i++) count += Acc::row(i) < rows;
#pragma unroll
    for (int bit = APART; bit < 32; bit *= 2) count += __shfl_xor_sync(~0u, count, bit);
    const float inverse = count ? 1.0f / count : 0.0f;

    __syncthreads();  // nobody still reads the tiles
#pragma unroll
    for (int j = 0; j < Acc::COLUMNS; j++) {
        const float shift = __shfl_sync(~0u, acc.value(0, j), lane % APART);  // the first row's
        float sum = 0, squares = 0;
#pragma unroll
        for (int i = 0; i < Acc::ROWS; i++)
            if (Acc::row(i) < rows) sum += acc.value(i, j) - shift;
#pragma unroll
        for (int bit = APART; bit < 32; bit *= 2) sum += __shfl_xor_sync(~0u, sum, bit);
        const float mean = sum * inverse;
#pragma unroll
        for (int i = 0; i < Acc::ROWS; i++) {
            const float off = acc.value(i, j) - shift - mean;
            if (Acc::row(i) < rows) squares += off * off;
        }
#pragma unroll
        for (int bit = APART; bit < 32; bit *= 2) squares += __shfl_xor_sync(~0u, squares, bit);
        if (lane < APART) shared.part[warp_row][Acc::column(j)] = {shift, mean, squares};
    }
    if (lane == 0 && Acc::column(0) == 0) shared.count[warp_row] = count;
    __syncthreads();
    for (int c = threadIdx.x; c < TILE_N; c += THREADS) {
        Moments all = {0, 0, 0};
        for (int r = 0; r < Acc::WARP_ROWS; r++) {
            const auto& part = shared.part[r][c];
            all.merge({double(shared.count[r]), double(part.shift) + part.mean, part.squares});
        }
        target.put(c, all);
    }
}
