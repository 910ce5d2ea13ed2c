// float32 arithmetic without tensor cores: each thread keeps ROWS x COLUMNS accumulators in
// registers, so a value read from shared memory serves a whole row or column of them.
#pragma once
#include "tile.cuh"

using Value = float;

template <class Tiles>
struct Accumulators {
    static constexpr int ROWS = TILE_M / 16, COLUMNS = TILE_N / (THREADS / 16);
    static_assert(ROWS % 4 == 0 && COLUMNS % 4 == 0, "rows are read four values at a time");

    static constexpr int LANES_APART = THREADS / 16, WARP_ROWS = THREADS / 32;

    float sum[ROWS][COLUMNS] = {};

    static MEMBER int warp_row() { return threadIdx.x / 32; }
    static MEMBER int x() { return threadIdx.x % (THREADS / 16); }
    static MEMBER int y() { return threadIdx.x / (THREADS / 16); }

    // The row and column of an accumulator. K-major, neighbouring threads read neighbouring rows of
    // a tile, which are in different banks. MN-major, a thread reads four neighbours in one row.
    static MEMBER int row(int i) {
        return Tiles::K_MAJOR ? i * 16 + y() : i / 4 * 64 + y() * 4 + i % 4;
    }
    static MEMBER int column(int j) {
        constexpr int WIDE = THREADS / 16;
        return Tiles::K_MAJOR ? j * WIDE + x() : j / 4 * WIDE * 4 + x() * 4 + j % 4;
    }
    MEMBER float& value(int i, int j) { return sum[i][j]; }
    MEMBER float value(int i, int j) const { return sum[i][j]; }

    MEMBER void multiply(const KMajor<float>& tile) {
#pragma unroll 1
        for (int k = 0; k < TILE_K / 4; k++) {
            float4 a[ROWS], b;
#pragma unroll
            for (int i = 0; i < ROWS; i++) a[i] = load4(tile.a.chunk(row(i), k));
#pragma unroll
            for (int j = 0; j < COLUMNS; j++) {
                b = load4(tile.b.chunk(column(j), k));
#pragma unroll
                for (int i = 0; i < ROWS; i++) {
                    sum[i][j] += a[i].x * b.x;
                    sum[i][j] += a[i].y * b.y;
                    sum[i][j] += a[i].z * b.z;
                    sum[i][j] += a[i].w * b.w;
                }
            }
        }
    }

    static MEMBER void put4(float* to, float4 from) {
        to[0] = from.x, to[1] = from.y, to[2] = from.z, to[3] = from.w;
    }

    MEMBER void multiply(const MNMajor<float>& tile) {
#pragma unroll 2
        for (int k = 0; k < TILE_K; k++) {
            float a[ROWS], b[COLUMNS];
#pragma unroll
            for (int i = 0; i < ROWS; i += 4) put4(a + i, load4(tile.a.at(k, row(i))));
#pragma unroll
            for (int j = 0; j < COLUMNS; j += 4) put4(b + j, load4(tile.b.at(k, column(j))));
#pragma unroll
            for (int i = 0; i < ROWS; i++)
#pragma unroll
                for (int j = 0; j < COLUMNS; j++) sum[i][j] += a[i] * b[j];
        }
    }
};
