// 5. A software pipeline: while a tile is multiplied, the next ones are being loaded.
//
//     python -m pytest tests/kernels/cuda -k "ladder and pipelined"   check it, emulated
//     python -m bench gpu                                                  time it on a GPU
//
// Version 4 waited for each tile's loads before it multiplied. cp.async copies global memory to
// shared memory without a register and without waiting, so arithmetic hides the latency. One
// barrier a tile is enough instead of two, since a stage is overwritten only STAGES - 1 tiles
// later. Padding costs nothing: an invalid copy writes zeros. One launch does all phases of an
// input gradient, all groups and all split-K slices (blockIdx.z).
//
// This is an implicit GEMM: M is the output pixels of the phase, N the filters, K taps times
// channels. Channels come in whole chunks of 16 bytes. The epilogue (epilogue.cuh) works on the
// accumulators while they are in registers. A kernel that is compiled with an activation adds the
// bias and applies it. Any other stores the moments for batch norm in `partial`, unless that is
// null. Both at once would take too many registers.
#include "conv.cuh"
#include MATH
#include "epilogue.cuh"

union Stages {
    KMajor<Value> stage[STAGES];
    ColumnMoments<Accumulators<KMajor<Value>>> columns;
};

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
convolve(const Value* __restrict__ x, const Value* __restrict__ w, const float* __restrict__ bias,
         float* __restrict__ y, Moments* __restrict__ partial, Conv p, float slope) {
    SHARED(Stages, s);
    using A = decltype(s.stage[0].a);
    using B = decltype(s.stage[0].b);
    if (ACTIVATED) partial = nullptr;
    const ProblemSlice at = problem_slice(p, blockIdx.z);
    const int pixels = p.images * at.h.count * at.w.count;
    const int first_row = blockIdx.x * TILE_M, first_column = blockIdx.y * TILE_N;
    const auto target = [&] {  // computed where it is needed: registers are short
        const int phase_blocks = p.groups * p.split_k, phase = blockIdx.z / phase_blocks;
        const int chunk = phase * gridDim.x + blockIdx.x;
        const int chunks = gridDim.z / phase_blocks * gridDim.x;
        const long long first = static_cast<long long>(at.group) * p.filters + first_column;
        return MomentsTarget{partial, first, p.filters - first_column, chunk, chunks};
    };
    if (first_row >= pixels) {  // the whole block: another phase has more pixels
        if (partial) store_no_moments(target());
        return;
    }

    // The first input pixel of each row that this thread copies of a tile of a.
    int image[A::COPIES], h[A::COPIES], v[A::COPIES];
#pragma unroll
    for (int i = 0; i < A::COPIES; i++) {
        const int m = first_row + A::copy_row(i);
        const Pixel from = pixel(at, m);
        image[i] = m < pixels ? from.image : -1;
        h[i] = at.h.base + at.h.scale * from.h;
        v[i] = at.w.base + at.w.scale * from.w;
    }

    const int depth = at.h.taps * at.w.taps * p.channels;
    const int tiles = ceil_div(depth, TILE_K);
    const int begin = tiles * at.k_slice / p.split_k, end = tiles * (at.k_slice + 1) / p.split_k;

    const auto fetch = [&](int tile) {
        KMajor<Value>& to = s.stage[tile % STAGES];
        const int k = tile * TILE_K + A::copy_column() * A::VECTOR;
        const int tap = k / p.channels, c = k % p.channels;
        const int tap_h = tap / at.w.taps, tap_w = tap % at.w.taps;
#pragma unroll
        for (int i = 0; i < A::COPIES; i++) {
            const int row = h[i] + at.h.hop * tap_h, column = v[i] + at.w.hop * tap_w;
            const bool valid =
                k < depth && image[i] >= 0 && inside(row, p.h.in) && inside(column, p.w.in);
            copy_async16(to.a.chunk(A::copy_row(i), A::copy_column()),
                         valid ? x + input(p, at.group, image[i], row, column) + c : x, valid);
        }
        const int kernel_row = at.h.tap + at.h.tap_step * tap_h;
        const int kernel_column = at.w.tap + at.w.tap_step * tap_w;
#pragma unroll
        for (int i = 0; i < B::COPIES; i++) {
            const int f = first_column + B::copy_row(i);
            const bool valid = k < depth && f < p.filters;
            copy_async16(to.b.chunk(B::copy_row(i), B::copy_column()),
                         valid ? w + filter(p, at.group, f, kernel_row, kernel_column) + c : w,
                         valid);
        }
    };

    Accumulators<KMajor<Value>> acc;
    for (int ahead = 0; ahead < STAGES - 1; ahead++) {
        if (begin + ahead < end) fetch(begin + ahead);
        commit_copies();
    }
    for (int tile = begin; tile < end; tile++) {
        wait_copies<STAGES - 2>();  // this thread's copies of the tile are done,
        __syncthreads();            // everyone's are, and nobody still reads the stage before
        if (tile + STAGES - 1 < end) fetch(tile + STAGES - 1);
        commit_copies();  // even an empty group, so that the count to wait for is constant
        acc.multiply(s.stage[tile % STAGES]);
    }

    apply_epilogue(acc, bias, at.group * p.filters + first_column, p.filters - first_column, slope);
#pragma unroll
    for (int i = 0; i < acc.ROWS; i++) {
        const int m = first_row + acc.row(i);
        if (m >= pixels) continue;
        float* to = y + output(p, at, pixel(at, m));
#pragma unroll
        for (int j = 0; j < acc.COLUMNS; j++) {
            const int f = first_column + acc.column(j);
            if (f < p.filters) to[f] = acc.value(i, j);
        }
    }
    if (partial) store_partial_moments(acc, pixels - first_row, s.columns, target());
}
