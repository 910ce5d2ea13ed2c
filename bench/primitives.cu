// Each primitive of prim.cuh alone, so that a card's can be held against its twin for the CPU.
#include "prim.cuh"

extern "C" __global__ void __launch_bounds__(THREADS)
rounding(const float* __restrict__ x, unsigned* __restrict__ bf16s, unsigned* __restrict__ tf32s,
         float* __restrict__ back, int size) {
    const int i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= size) return;
    const bf16 y = to_bf16(x[i]);
    bf16s[i] = y.bits;
    tf32s[i] = to_tf32(x[i]);
    back[i] = to_float(y) + to_float(0.0f);
}

// Two groups of copies of 16 and of 4 bytes, of which some are not valid; then a value for each
// lane, and four at once.
extern "C" __global__ void __launch_bounds__(THREADS)
copies(const float* __restrict__ x, float* __restrict__ y) {
    struct Tile {
        float wide[2][4 * THREADS], narrow[2][THREADS];
    };
    SHARED(Tile, tile);
    const int i = threadIdx.x;
    for (int group = 0; group < 2; group++) {
        const float* from = x + group * 5 * THREADS;
        copy_async16(&tile.wide[group][4 * i], from + 4 * i, group == 0 || i % 3);
        copy_async4(&tile.narrow[group][i], from + 4 * THREADS + i, group == 0 || i % 5);
        commit_copies();
    }
    wait_copies<1>();
    __syncthreads();
    const int other = THREADS - 1 - i;
    store4(y + 4 * i, load4(&tile.wide[0][4 * other]));
    y[4 * THREADS + i] = load_word(&tile.narrow[0][other]);
    wait_copies<0>();
    __syncthreads();
    store4(y + 5 * THREADS + 4 * i, load4(&tile.wide[1][4 * other]));
    y[9 * THREADS + i] = load_word(&tile.narrow[1][other]);
}

struct Halves {
    bf16 row[16][24];  // of which 16: rows lie 48 bytes apart
};

extern "C" __global__ void __launch_bounds__(THREADS)
matrices(const bf16* __restrict__ x, unsigned* __restrict__ plain, unsigned* __restrict__ turned) {
    SHARED(Halves, tile);
    const int lane = threadIdx.x;
    for (int i = lane; i < 256; i += 32) tile.row[i / 16][i % 16] = x[i];
    __syncthreads();
    unsigned fragment[4];
    load_matrices(fragment, &tile.row[lane % 16][lane / 16 * 8]);
    for (int i = 0; i < 4; i++) plain[4 * lane + i] = fragment[i];
    load_matrices_transposed(fragment, &tile.row[lane % 16][lane / 16 * 8]);
    for (int i = 0; i < 4; i++) turned[4 * lane + i] = fragment[i];
}

// Fragments as they come: d += a b for each lane's own registers.
template <class Multiply>
DEVICE void product(const unsigned* a, const unsigned* b, float* d, Multiply multiply) {
    const int lane = threadIdx.x;
    unsigned fa[4], fb[2];
    float sum[4];
    for (int i = 0; i < 4; i++) fa[i] = a[4 * lane + i], sum[i] = d[4 * lane + i];
    for (int i = 0; i < 2; i++) fb[i] = b[2 * lane + i];
    multiply(sum, fa, fb);
    for (int i = 0; i < 4; i++) d[4 * lane + i] = sum[i];
}

extern "C" __global__ void __launch_bounds__(THREADS)
product_bf16(const unsigned* __restrict__ a, const unsigned* __restrict__ b,
             float* __restrict__ d) {
    product(a, b, d, [](auto& sum, auto& x, auto& y) { mma_bf16(sum, x, y); });
}

extern "C" __global__ void __launch_bounds__(THREADS)
product_tf32(const unsigned* __restrict__ a, const unsigned* __restrict__ b,
             float* __restrict__ d) {
    product(a, b, d, [](auto& sum, auto& x, auto& y) { mma_tf32(sum, x, y); });
}
