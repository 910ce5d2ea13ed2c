// What the kernels use of CUDA C++, for a C++ compiler. Included before a .cu file.
#pragma once
#include <cmath>
#include <cstring>
#include "warp.h"

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) alignas(n)
#define threadIdx (emu::fiber->thread)
#define blockIdx (emu::block.index)
#define blockDim (emu::block.threads)
#define gridDim (emu::block.grid)
#define __syncthreads() emu::barrier(__LINE__)
#define clock64() (emu::ticks++)
#define __syncwarp() emu::together([](void**, int) {}, nullptr, __LINE__)
#define __shfl_sync(mask, value, lane) emu::shuffle(value, int(lane), __LINE__)
#define __shfl_xor_sync(mask, value, bits) \
    emu::shuffle(value, emu::fiber->lane ^ int(bits), __LINE__)

namespace emu {
inline thread_local long long ticks = 0;
}

struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
struct alignas(16) double2 {
    double x, y;
};
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }

inline unsigned __float_as_uint(float value) {
    unsigned bits;
    std::memcpy(&bits, &value, 4);
    return bits;
}
inline float __uint_as_float(unsigned bits) {
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
}
inline long long __double_as_longlong(double value) {
    long long bits;
    std::memcpy(&bits, &value, 8);
    return bits;
}
inline double __longlong_as_double(long long bits) {
    double value;
    std::memcpy(&value, &bits, 8);
    return value;
}
inline double __dadd_rn(double a, double b) { return a + b; }  // -ffp-contract=off: never fused
inline double __dmul_rn(double a, double b) { return a * b; }
inline unsigned __umulhi(unsigned a, unsigned b) { return (uint64_t(a) * b) >> 32; }
inline int min(int a, int b) { return a < b ? a : b; }
inline long long min(long long a, long long b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }
using std::erf;
using std::exp;
using std::fabs;
using std::isnan;
using std::log;
using std::log1p;
using std::sqrt;
using std::tanh;

// A kernel's entry for the Python side; see emu/__init__.py.
#define EMU_ENTRY(name)                                                                          \
    extern "C" const char* emu_##name(const unsigned* shape, size_t shared, unsigned schedule,   \
                                      void** arguments, long long* banks) {                      \
        emu::bank_cycles = emu::bank_ideal = 0;                                                  \
        const char* error = emu::launch(name, arguments, shape, shared, schedule);               \
        banks[0] = emu::bank_cycles;                                                             \
        banks[1] = emu::bank_ideal;                                                              \
        return error;                                                                            \
    }
