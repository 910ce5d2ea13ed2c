// What the lanes of a warp do together: shuffles, ldmatrix, mma; and cp.async.
//
// A destination of cp.async is poisoned when the copy is issued and written when its group is
// waited for, so reading too early gives NaN. Matrix fragments are distributed over lanes as the
// PTX manual draws them (sections "Matrix Fragments for mma.m16n8k16" and "... mma.m16n8k8").
#pragma once
#include "block.h"

namespace emu {

template <class T>
T shuffle(T value, int source, int line) {
    struct Lane {
        T value;
        int source;
        T result;
    } mine{value, source, value};
    together(
        [](void** lanes, int n) {
            for (int i = 0; i < n; i++) {
                Lane* me = static_cast<Lane*>(lanes[i]);
                if (me->source < 0 || me->source >= n) fail("a shuffle from no lane", 0);
                me->result = static_cast<Lane*>(lanes[me->source])->value;
            }
        },
        &mine, line);
    return mine.result;
}

void copy_async(void* to, const void* from, int bytes, bool valid, int line);
void commit_copies();
void wait_copies(int left);  // until at most `left` of the newest groups are in flight

struct Rows {  // a lane's part in ldmatrix: lane 8 m + r gives the address of row r of matrix m
    const void* row;
    uint32_t* fragment;
    bool transposed;
};
void load_matrices(void** lanes, int);

struct Word {
    const void* address;
};
void load_words(void** lanes, int count);

extern long long bank_cycles, bank_ideal;  // of counted reads: what they take, what they could take

struct Fragments {  // a lane's part in mma: D (16, 8) += A (16, K) B (K, 8)
    float* d;
    const uint32_t *a, *b;
};
void mma_bf16(void** lanes, int);  // K = 16
void mma_tf32(void** lanes, int);  // K = 8

}  // namespace emu
