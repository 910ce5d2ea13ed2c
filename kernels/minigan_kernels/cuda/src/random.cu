// Random numbers from a counter: Philox4x32-10 (Salmon et al. 2011), the same bits as the CPU's.
//
// A thread computes the four words of one block of the stream and writes four values. Bits and
// uniform numbers are bound by memory (4 bytes written each) and by the 20 wide multiplications of
// a block. Normal numbers are bound by float64 arithmetic. IEEE 754 rounds each of its operations
// alike everywhere, because multiplications and additions are never fused.
#include "prim.cuh"

typedef unsigned long long Word64;

// KEY and OFFSET are numbers, or addresses on the GPU, so that a captured graph draws new numbers.
DEVICE Word64 number(Word64 value) { return value; }
DEVICE Word64 number(const Word64* value) { return *value; }

struct Words {
    unsigned of[4];
};

DEVICE Words philox(Word64 key, Word64 counter) {
    unsigned x0 = unsigned(counter), x1 = counter >> 32, x2 = 0, x3 = 0;
    unsigned k0 = unsigned(key), k1 = key >> 32;
#pragma unroll
    for (int round = 0; round < ROUNDS; round++) {
        const unsigned high0 = __umulhi(M0, x0), low0 = M0 * x0;
        const unsigned high1 = __umulhi(M1, x2), low1 = M1 * x2;
        x0 = high1 ^ x1 ^ k0;
        x1 = low1;
        x2 = high0 ^ x3 ^ k1;
        x3 = low0;
        k0 += W0;
        k1 += W1;
    }
    return {x0, x1, x2, x3};
}

struct alignas(16) Four {
    T of[4];
};

// Writes f(words) of block offset + i to out[4 i ...], whole where they fit.
template <class F>
DEVICE void fill(T* out, long long size, KEY key, OFFSET offset, F f) {
    const long long i = blockIdx.x * (long long)THREADS + threadIdx.x;
    if (4 * i >= size) return;
    const Four four = f(philox(number(key), number(offset) + i));
    if (ALIGNED && 4 * i + 4 <= size) {
        reinterpret_cast<Four*>(out)[i] = four;
        return;
    }
#pragma unroll
    for (int k = 0; k < 4; k++)
        if (4 * i + k < size) out[4 * i + k] = four.of[k];
}

DEVICE float unit(unsigned word) { return (word >> 8) * 5.9604644775390625e-8f; }  // 2^-24, exact

// --- Normal numbers: Box & Muller 1958 ---------------------------------------------------------

template <int N>
DEVICE double horner(const double (&terms)[N], double x) {
    double total = terms[0];
#pragma unroll
    for (int i = 1; i < N; i++) total = __dadd_rn(__dmul_rn(total, x), terms[i]);
    return total;
}

DEVICE double log_of(double u) {  // 0 < u < 1, not subnormal
    const double terms[] = {LOG_TERMS};
    const long long bits = __double_as_longlong(u);
    double mantissa =  // in [1/2, 1)
        __longlong_as_double((bits & 0x000FFFFFFFFFFFFF) | 0x3FE0000000000000);
    long long exponent = (bits >> 52) - 1022;
    if (mantissa < SQRT_HALF) {
        mantissa *= 2.0;
        exponent--;
    }
    const double s = (mantissa - 1.0) / (mantissa + 1.0);
    const double series = __dmul_rn(s, horner(terms, __dmul_rn(s, s)));
    return __dadd_rn(__dmul_rn(double(exponent), LOG2), series);
}

DEVICE void box_muller(unsigned u_word, unsigned v_word, T& first, T& second) {
    const double sin_terms[] = {SIN_TERMS}, cos_terms[] = {COS_TERMS};
    const double u = (u_word + 0.5) * 2.3283064365386963e-10;  // 2^-32, exact
    const double v = (v_word + 0.5) * 2.3283064365386963e-10;
    const double radius = sqrt(-2.0 * log_of(u));
    const int quarter = int(__dadd_rn(4.0 * v, 0.5));  // the nearest quarter turn
    const double t = 2.0 * __dadd_rn(v, -0.25 * quarter), square = __dmul_rn(t, t);
    double sine = __dmul_rn(t, horner(sin_terms, square)), cosine = horner(cos_terms, square);
    if (quarter & 1) {
        const double other = sine;
        sine = cosine;
        cosine = other;
    }
    if (quarter & 2) sine = -sine;
    if ((quarter + 1) & 2) cosine = -cosine;
    first = float(__dmul_rn(radius, cosine));
    second = float(__dmul_rn(radius, sine));
}

// --- Kernels -----------------------------------------------------------------------------------

extern "C" __global__ void __launch_bounds__(THREADS)
random_bits(T* __restrict__ out, long long size, KEY key, OFFSET offset) {
    fill(out, size, key, offset, [](const Words& w) {
        return Four{{T(w.of[0]), T(w.of[1]), T(w.of[2]), T(w.of[3])}};
    });
}

extern "C" __global__ void __launch_bounds__(THREADS)
uniform(T* __restrict__ out, long long size, KEY key, OFFSET offset) {
    fill(out, size, key, offset, [](const Words& w) {
        return Four{{T(unit(w.of[0])), T(unit(w.of[1])), T(unit(w.of[2])), T(unit(w.of[3]))}};
    });
}

extern "C" __global__ void __launch_bounds__(THREADS)
normal(T* __restrict__ out, long long size, KEY key, OFFSET offset) {
    fill(out, size, key, offset, [](const Words& w) {
        Four four;
        box_muller(w.of[0], w.of[1], four.of[0], four.of[1]);
        box_muller(w.of[2], w.of[3], four.of[2], four.of[3]);
        return four;
    });
}

extern "C" __global__ void __launch_bounds__(THREADS)
dropout_mask(T* __restrict__ out, long long size, KEY key, OFFSET offset, float keep, float value) {
    fill(out, size, key, offset, [=](const Words& w) {
        Four four;
#pragma unroll
        for (int k = 0; k < 4; k++) four.of[k] = unit(w.of[k]) < keep ? value : 0.0f;
        return four;
    });
}
