// 7. The weight gradient, and split-K.
//
//     python -m pytest tests/kernels/cuda -k "ladder and split"   check it, emulated
//     python -m bench gpu                                              time it on a GPU
//
// The gradient of 128 filters of 64 channels and 4x4 taps is a matrix of 1024 x 128 values, 8 tiles
// of 128x128. Each sums over 32768 pixels (at batch 128). Eight blocks, as version 6 would launch,
// cannot fill a GPU of 132 multiprocessors. So the sum is split into `split_k` slices. Each is a
// block of its own (blockIdx.z) and writes its partial tile. reduce.cu adds them in a fixed order,
// which gives the same bytes each time; atomic additions would not.
//
// M is taps times channels, N the filters, K the output pixels. Both operands are M- or N-major: k
// runs down the rows of their tiles.
#include "conv.cuh"
#include MATH

struct Stages {
    MNMajor<Value> stage[STAGES];
};

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
convolve_dw(const Value* __restrict__ x, const Value* __restrict__ g, float* __restrict__ dw,
            Conv p) {
    SHARED(Stages, s);
    using A = decltype(s.stage[0].a);
    using B = decltype(s.stage[0].b);
    const int group = blockIdx.z / p.split_k, k_slice = blockIdx.z % p.split_k;
    const int rows = p.h.kernel * p.w.kernel * p.channels;
    const int first_row = blockIdx.x * TILE_M, first_column = blockIdx.y * TILE_N;

    // This thread's column of chunks: one tap and some channels, some filters.
    const int r = first_row + A::copy_column() * A::VECTOR;
    const int c = r % p.channels, tap = r / p.channels;
    const int offset_h = tap / p.w.kernel * p.h.dilation - p.h.padding;
    const int offset_w = tap % p.w.kernel * p.w.dilation - p.w.padding;
    const int f = first_column + B::copy_column() * B::VECTOR;

    const int pixels = p.images * p.h.out * p.w.out, tiles = ceil_div(pixels, TILE_K);
    const int begin = static_cast<long long>(tiles) * k_slice / p.split_k;
    const int end = static_cast<long long>(tiles) * (k_slice + 1) / p.split_k;

    const auto fetch = [&](int tile) {
        MNMajor<Value>& to = s.stage[tile % STAGES];
#pragma unroll
        for (int i = 0; i < A::COPIES; i++) {
            const int m = tile * TILE_K + A::copy_row(i), line = m / p.w.out;
            const int h = line % p.h.out * p.h.stride + offset_h;
            const int v = m % p.w.out * p.w.stride + offset_w;
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

    Accumulators<MNMajor<Value>> acc;
    for (int ahead = 0; ahead < STAGES - 1; ahead++) {
        if (begin + ahead < end) fetch(begin + ahead);
        commit_copies();
    }
    for (int tile = begin; tile < end; tile++) {
        wait_copies<STAGES - 2>();
        __syncthreads();
        if (tile + STAGES - 1 < end) fetch(tile + STAGES - 1);
        commit_copies();
        acc.multiply(s.stage[tile % STAGES]);
    }

#pragma unroll
    for (int i = 0; i < acc.ROWS; i++) {
        const int row = first_row + acc.row(i);
        if (row >= rows) continue;
        const long long matrix = k_slice * p.groups + group;
        float* to = dw + (matrix * rows + row) * p.filters;
#pragma unroll
        for (int j = 0; j < acc.COLUMNS; j++) {
            const int column = first_column + acc.column(j);
            if (column < p.filters) to[column] = acc.value(i, j);
        }
    }
}
