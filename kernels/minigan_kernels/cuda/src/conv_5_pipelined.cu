// 5. A pipeline: while a tile is multiplied, the next ones are on their way.
//
// cp.async writes global memory into shared memory without a register and without waiting, so the
// memory's latency passes behind arithmetic, and one barrier a tile is enough instead of two: a
// stage is overwritten only STAGES - 1 tiles later. Padding costs nothing: a copy that is not valid
// writes zeros. One launch does all phases of an input gradient, all groups and all parts of a sum
// that was split (blockIdx.z).
//
// As a matrix product: a row for each output pixel of the phase, a column for each filter, and the
// sum over taps and channels. Channels come in whole chunks of 16 bytes. What would be done to the
// result next is done to the sums while they are in registers (epilogue.cuh): a kernel that is
// compiled with an activation applies it after the bias, any other leaves the moments for batch
// norm in `partial`, if there is one. Both at once would take too many registers.
#include "conv.cuh"
#include MATH
#include "epilogue.cuh"

union Stages {
    Along<Value> stage[STAGES];
    Columns<Sums<Along<Value>>> columns;
};

extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS)
convolve(const Value* __restrict__ x, const Value* __restrict__ w, const float* __restrict__ bias,
         float* __restrict__ y, Moments* __restrict__ partial, Conv p, float slope) {
    SHARED(Stages, s);
    using A = decltype(s.stage[0].a);
    using B = decltype(s.stage[0].b);
    if (ACTIVATED) partial = nullptr;
    const Place at = place(p, blockIdx.z);
    const int pixels = p.images * at.h.count * at.w.count;
    const int first_row = blockIdx.x * TILE_M, first_column = blockIdx.y * TILE_N;
    const auto leave = [&] {  // not before it is needed: registers are short
        const int each = p.groups * p.splits, phase = blockIdx.z / each;
        const int chunk = phase * gridDim.x + blockIdx.x, chunks = gridDim.z / each * gridDim.x;
        const long long first = static_cast<long long>(at.group) * p.filters + first_column;
        return Leave{partial, first, p.filters - first_column, chunk, chunks};
    };
    if (first_row >= pixels) {  // the whole block: another phase has more pixels
        if (partial) leave_nothing(leave());
        return;
    }

    // This thread's rows of every tile of a: where their pixels begin to read.
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
    const int tiles = up(depth, TILE_K);
    const int begin = tiles * at.split / p.splits, end = tiles * (at.split + 1) / p.splits;

    const auto fetch = [&](int tile) {
        Along<Value>& to = s.stage[tile % STAGES];
        const int k = tile * TILE_K + A::copy_column() * A::VECTOR;
        const int tap = k / p.channels, c = k % p.channels;
        const int down = tap / at.w.taps, along = tap % at.w.taps;
#pragma unroll
        for (int i = 0; i < A::COPIES; i++) {
            const int row = h[i] + at.h.hop * down, column = v[i] + at.w.hop * along;
            const bool valid =
                k < depth && image[i] >= 0 && inside(row, p.h.in) && inside(column, p.w.in);
            copy_async16(to.a.chunk(A::copy_row(i), A::copy_column()),
                         valid ? x + input(p, at.group, image[i], row, column) + c : x, valid);
        }
        const int kernel_row = at.h.tap + at.h.tap_step * down;
        const int kernel_column = at.w.tap + at.w.tap_step * along;
#pragma unroll
        for (int i = 0; i < B::COPIES; i++) {
            const int f = first_column + B::copy_row(i);
            const bool valid = k < depth && f < p.filters;
            copy_async16(to.b.chunk(B::copy_row(i), B::copy_column()),
                         valid ? w + filter(p, at.group, f, kernel_row, kernel_column) + c : w,
                         valid);
        }
    };

    Sums<Along<Value>> sums;
    for (int ahead = 0; ahead < STAGES - 1; ahead++) {
        if (begin + ahead < end) fetch(begin + ahead);
        commit_copies();
    }
    for (int tile = begin; tile < end; tile++) {
        wait_copies<STAGES - 2>();  // this thread's part of the tile is there,
        __syncthreads();            // everyone's, and nobody reads the stage before any more
        if (tile + STAGES - 1 < end) fetch(tile + STAGES - 1);
        commit_copies();  // an empty group too, so that the number to wait for stays the same
        sums.multiply(s.stage[tile % STAGES]);
    }

    finish(sums, bias, at.group * p.filters + first_column, p.filters - first_column, slope);
#pragma unroll
    for (int i = 0; i < sums.ROWS; i++) {
        const int m = first_row + sums.row(i);
        if (m >= pixels) continue;
        float* to = y + output(p, at, pixel(at, m));
#pragma unroll
        for (int j = 0; j < sums.COLUMNS; j++) {
            const int f = first_column + sums.column(j);
            if (f < p.filters) to[f] = sums.value(i, j);
        }
    }
    if (partial) leave_moments(sums, pixels - first_row, s.columns, leave());
}
