// 7. The filters' gradient, and sums that are split.
//
// The gradient of 64 -> 128 filters of 4x4 is a matrix of 1024 x 128 values, 8 tiles of 128x128,
// each a sum over 32768 pixels (at batch 128): 8 blocks cannot fill a card of 132 multiprocessors.
// So the sum is cut in `splits` parts, each a block of its own (blockIdx.z) that writes its partial
// tile; reduce.cu adds them in a fixed order, so the same bytes come out each time, which atomic
// additions would not give.
//
// A row for each tap and channel, a column for each filter, the sum over output pixels. Both
// operands lie with the sum's index across their rows.
#include "conv.cuh"
#include MATH

struct Stages {
    Across<Value> stage[STAGES];
};

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
convolve_dw(const Value* __restrict__ x, const Value* __restrict__ g, float* __restrict__ dw,
            Conv p) {
    SHARED(Stages, s);
    using A = decltype(s.stage[0].a);
    using B = decltype(s.stage[0].b);
    const int group = blockIdx.z / p.splits, split = blockIdx.z % p.splits;
    const int rows = p.h.kernel * p.w.kernel * p.channels;
    const int first_row = blockIdx.x * TILE_M, first_column = blockIdx.y * TILE_N;

    // This thread's column of chunks: one tap and some channels, some filters.
    const int r = first_row + A::copy_column() * A::VECTOR;
    const int c = r % p.channels, tap = r / p.channels;
    const int down = tap / p.w.kernel * p.h.dilation - p.h.padding;
    const int along = tap % p.w.kernel * p.w.dilation - p.w.padding;
    const int f = first_column + B::copy_column() * B::VECTOR;

    const int pixels = p.images * p.h.out * p.w.out, tiles = up(pixels, TILE_K);
    const int begin = static_cast<long long>(tiles) * split / p.splits;
    const int end = static_cast<long long>(tiles) * (split + 1) / p.splits;

    const auto fetch = [&](int tile) {
        Across<Value>& to = s.stage[tile % STAGES];
#pragma unroll
        for (int i = 0; i < A::COPIES; i++) {
            const int m = tile * TILE_K + A::copy_row(i), line = m / p.w.out;
            const int h = line % p.h.out * p.h.stride + down, v = m % p.w.out * p.w.stride + along;
            const bool valid = m < pixels && r < rows && inside(h, p.h.in) && inside(v, p.w.in);
            copy_async16(to.a.chunk(A::copy_row(i), A::copy_column()),
                         valid ? x + input(p, group, line / p.h.out, h, v) + c : x, valid);
        }
#pragma unroll
        for (int i = 0; i < B::COPIES; i++) {
            const int m = tile * TILE_K + B::copy_row(i);
            const bool valid = m < pixels && f < p.filters;
            const long long from = (static_cast<long long>(m) * p.groups + group) * p.filters + f;
            copy_async16(to.b.chunk(B::copy_row(i), B::copy_column()), valid ? g + from : g, valid);
        }
    };

    Sums<Across<Value>> sums;
    for (int ahead = 0; ahead < STAGES - 1; ahead++) {
        if (begin + ahead < end) fetch(begin + ahead);
        commit_copies();
    }
    for (int tile = begin; tile < end; tile++) {
        wait_copies<STAGES - 2>();
        __syncthreads();
        if (tile + STAGES - 1 < end) fetch(tile + STAGES - 1);
        commit_copies();
        sums.multiply(s.stage[tile % STAGES]);
    }

#pragma unroll
    for (int i = 0; i < sums.ROWS; i++) {
        const int row = first_row + sums.row(i);
        if (row >= rows) continue;
        const long long part = split * p.groups + group;
        float* to = dw + (part * rows + row) * p.filters;
#pragma unroll
        for (int j = 0; j < sums.COLUMNS; j++) {
            const int column = first_column + sums.column(j);
            if (column < p.filters) to[column] = sums.value(i, j);
        }
    }
}
