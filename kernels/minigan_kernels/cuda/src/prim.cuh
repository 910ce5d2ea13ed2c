// Every instruction that CUDA C++ has no name for, each beside its twin for the CPU. No other file
// differs between the two.
#pragma once

#define DEVICE static __device__ __forceinline__

// SHARED(Tiles, s): the block's shared memory as a reference `s` to a struct `Tiles`. The launcher
// gives its size in bytes (Kernel(shared=...)), since more than 48 KB must be dynamic.
#ifdef __CUDACC__
#define LINE
extern __shared__ __align__(128) unsigned char shared_memory[];
#define SHARED(type, name) type& name = *reinterpret_cast<type*>(shared_memory)
DEVICE unsigned shared_address(const void* p) {
    return static_cast<unsigned>(__cvta_generic_to_shared(p));
}
#else
#define LINE , int line = __builtin_LINE()
#define SHARED(type, name) \
    type& name = *static_cast<type*>(emu::shared_memory(sizeof(type), __LINE__))
#endif

// --- Sixteen bytes at once ----------------------------------------------------------------------

DEVICE float4 load4(const float* from) { return *reinterpret_cast<const float4*>(from); }
DEVICE void store4(float* to, float4 value) { *reinterpret_cast<float4*>(to) = value; }

// --- bfloat16: the upper half of a float -------------------------------------------------------

struct bf16 {
    unsigned short bits;
};

DEVICE float to_float(bf16 x) { return __uint_as_float(unsigned(x.bits) << 16); }
DEVICE float to_float(float x) { return x; }

DEVICE bf16 to_bf16(float x) {  // to the nearest, ties to even
    bf16 y;
#ifdef __CUDACC__
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
#else
    const unsigned u = __float_as_uint(x);
    y.bits = isnan(x) ? 0x7FFF : (u + 0x7FFF + (u >> 16 & 1)) >> 16;
#endif
    return y;
}

DEVICE unsigned to_tf32(float x) {  // to the nearest of 10 bits, ties away from zero
#ifdef __CUDACC__
    unsigned y;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(y) : "f"(x));
    return y;
#else
    const unsigned u = __float_as_uint(x);
    return (u & 0x7F800000u) == 0x7F800000u ? u : (u + 0x1000u) & 0xFFFFE000u;
#endif
}

// --- cp.async: from global to shared memory in the background ----------------------------------

// 16 bytes, bypassing L1; zeros where !valid, and then `from` is not read.
DEVICE void copy_async16(void* to, const void* from, bool valid LINE) {
#ifdef __CUDACC__
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)),
                 "l"(from), "r"(valid ? 16 : 0));
#else
    emu::copy_async(to, from, 16, valid, line);
#endif
}

// 4 bytes, for memory that is not aligned to 16.
DEVICE void copy_async4(void* to, const void* from, bool valid LINE) {
#ifdef __CUDACC__
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared_address(to)),
                 "l"(from), "r"(valid ? 4 : 0));
#else
    emu::copy_async(to, from, 4, valid, line);
#endif
}

// Closes a group of copies.
DEVICE void commit_copies() {
#ifdef __CUDACC__
    asm volatile("cp.async.commit_group;");
#else
    emu::commit_copies();
#endif
}

// Waits until at most `left` of this thread's newest groups are in flight. Other threads' copies
// are complete after the __syncthreads that follows.
template <int left>
DEVICE void wait_copies() {
#ifdef __CUDACC__
    asm volatile("cp.async.wait_group %0;" ::"n"(left) : "memory");
#else
    emu::wait_copies(left);
#endif
}

// --- Shared memory ----------------------------------------------------------------------------

// One value for each lane of a warp; on the CPU the conflicts between banks are counted.
DEVICE float load_word(const float* from LINE) {
#ifdef __CUDACC__
    return *from;
#else
    emu::Word word{from};
    emu::together(emu::load_words, &word, line);
    return *from;
#endif
}

// --- Tensor cores ------------------------------------------------------------------------------

// Four 8x8 matrices of 16-bit values from shared memory; lane 8 m + r names row r of matrix m.
DEVICE void load_matrices(unsigned (&fragment)[4], const void* row LINE) {
#ifdef __CUDACC__
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
                 : "r"(shared_address(row))
                 : "memory");
#else
    emu::Rows rows{row, fragment, false};
    emu::together(emu::load_matrices, &rows, line);
#endif
}

// The same, each matrix transposed.
DEVICE void load_matrices_transposed(unsigned (&fragment)[4], const void* row LINE) {
#ifdef __CUDACC__
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
                 : "r"(shared_address(row))
                 : "memory");
#else
    emu::Rows rows{row, fragment, true};
    emu::together(emu::load_matrices, &rows, line);
#endif
}

// d (16, 8) += a (16, 16) b (16, 8), bfloat16 in, float32 out.
DEVICE void mma_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned* b LINE) {
#ifdef __CUDACC__
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    emu::Fragments fragments{d, a, b};
    emu::together(emu::mma_bf16, &fragments, line);
#endif
}

// d (16, 8) += a (16, 8) b (8, 8), tf32 in (the 13 lowest bits are ignored), float32 out.
DEVICE void mma_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned* b LINE) {
#ifdef __CUDACC__
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    emu::Fragments fragments{d, a, b};
    emu::together(emu::mma_tf32, &fragments, line);
#endif
}
