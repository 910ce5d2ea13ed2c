// Arithmetic on tensor cores, in bfloat16 (MATH_BF16) or tf32: a warp keeps its part of the tile of
// accumulators as fragments of 16x8, the size to which one mma instruction adds.
#pragma once
#include "tile.cuh"

#ifdef MATH_BF16
using Value = bf16;
#else
using Value = float;
#endif

template <class Tiles>
struct Accumulators {
    static constexpr int DEPTH = 32 / sizeof(Value);  // k of one mma: two chunks
    static constexpr int M = TILE_M / WARPS_M, N = TILE_N / WARPS_N;  // the warp's part
    static constexpr int TALL = M / 16, WIDE = N / 8;                 // fragments
    static constexpr int ROWS = TALL * 2, COLUMNS = WIDE * 2;
    static_assert(THREADS == 32 * WARPS_M * WARPS_N, "a warp for each part");
    static_assert(M % 16 == 0 && N % 16 == 0, "whole fragments");

    static constexpr int LANES_APART = 4, WARP_ROWS = WARPS_M;

    float sum[TALL][WIDE][4] = {};

    static MEMBER int warp_row() { return threadIdx.x / 32 % WARPS_M; }
    static MEMBER int lane() { return threadIdx.x % 32; }
    static MEMBER int m() { return threadIdx.x / 32 % WARPS_M * M; }
    static MEMBER int n() { return threadIdx.x / 32 / WARPS_M * N; }

    static MEMBER int row(int i) { return m() + i / 2 * 16 + lane() / 4 + i % 2 * 8; }
    static MEMBER int column(int j) { return n() + j / 2 * 8 + lane() % 4 * 2 + j % 2; }
    MEMBER float& value(int i, int j) { return sum[i / 2][j / 2][i % 2 * 2 + j % 2]; }
    MEMBER float value(int i, int j) const { return sum[i / 2][j / 2][i % 2 * 2 + j % 2]; }

    MEMBER void multiply(const Tiles& tile) {
#pragma unroll
        for (int k = 0; k < TILE_K / DEPTH; k++) {
            unsigned a[TALL][4], b[WIDE / 2][4];
#pragma unroll
            for (int i = 0; i < TALL; i++) load_a(a[i], tile, m() + i * 16, k);
#pragma unroll
            for (int j = 0; j < WIDE / 2; j++) load_b(b[j], tile, n() + j * 16, k);
#pragma unroll
            for (int i = 0; i < TALL; i++)
#pragma unroll
                for (int j = 0; j < WIDE; j++) add(sum[i][j], a[i], b[j / 2] + j % 2 * 2);
        }
    }

private:
    // Rows `first` to first + 15 of a, in the k-th run of DEPTH.
    static MEMBER void load_a(unsigned (&to)[4], const KMajor<Value>& tile, int first, int k) {
        load_matrices(to, tile.a.chunk(first + lane() % 16, k * 2 + lane() / 16));
        round(to);
    }

    // Columns `first` to first + 15 of b: for two fragments.
    static MEMBER void load_b(unsigned (&to)[4], const KMajor<Value>& tile, int first, int k) {
        load_matrices(to, tile.b.chunk(first + lane() % 8 + lane() / 16 * 8,
                                       k * 2 + lane() / 8 % 2));
        round(to);
    }

#ifdef MATH_BF16
    static MEMBER void round(unsigned (&)[4]) {}
    static MEMBER void add(float (&d)[4], const unsigned (&a)[4], const unsigned* b) {
        mma_bf16(d, a, b);
    }

    static MEMBER void load_a(unsigned (&to)[4], const MNMajor<Value>& tile, int first, int k) {
        load_matrices_transposed(to, tile.a.at(k * 16 + lane() % 8 + lane() / 16 * 8,
                                               first + lane() / 8 % 2 * 8));
    }
    static MEMBER void load_b(unsigned (&to)[4], const MNMajor<Value>& tile, int first, int k) {
        load_matrices_transposed(to, tile.b.at(k * 16 + lane() % 16, first + lane() / 16 * 8));
    }
#else
    static MEMBER void round(unsigned (&bits)[4]) {  // mma would truncate
        for (int i = 0; i < 4; i++) bits[i] = to_tf32(__uint_as_float(bits[i]));
    }
    static MEMBER void add(float (&d)[4], const unsigned (&a)[4], const unsigned* b) {
        mma_tf32(d, a, b);
    }

    // ldmatrix transposes pairs of 16 bits only, so here each lane reads its own values.
    static MEMBER void load_a(unsigned (&to)[4], const MNMajor<Value>& tile, int first, int k) {
        for (int i = 0; i < 4; i++)
            to[i] = to_tf32(load_word(tile.a.at(k * 8 + lane() % 4 + i / 2 * 4,
                                       first + lane() / 4 + i % 2 * 8)));
    }
    static MEMBER void load_b(unsigned (&to)[4], const MNMajor<Value>& tile, int first, int k) {
        for (int i = 0; i < 4; i++)
            to[i] = to_tf32(load_word(tile.b.at(k * 8 + lane() % 4 + i % 2 * 4,
                                       first + lane() / 4 + i / 2 * 8)));
    }
#endif
};
