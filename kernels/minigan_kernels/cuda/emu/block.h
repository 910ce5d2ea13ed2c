// One block of CUDA threads on the CPU: every thread is a fiber, and one fiber runs at a time.
//
// The schedule is greedy: a warp runs until all its lanes wait at a barrier of the block. Only then
// the next warp starts. That is the worst order for code that lacks a barrier: a warp reads what
// the others have not written yet, or overwrites what they have not read yet. Of forward, backward
// and random orders, one shows each such mistake.
//
// Stricter than a GPU: a thread that has returned while others wait at a barrier is an error.
// Not modelled: weak memory order, and races between blocks.
//
// This header declares only, and includes no header of the C++ library that is slow to read: every
// choice of a kernel's macros is compiled apart. block.cc and warp.cc are compiled once.
#pragma once
#include <cstddef>
#include <cstdint>
#include <utility>

struct dim3 {
    unsigned x, y, z;
};

namespace emu {

constexpr int WARP = 32;

struct Fiber {
    dim3 thread;
    int lane, warp;
};

struct Block {
    dim3 index, threads, grid;
    unsigned char* shared;
    size_t shared_bytes;
};

extern Block block;   // the running one
extern Fiber* fiber;  // its running thread

/// Gives up the whole launch; the caller of the kernel is told why.
[[noreturn]] void fail(const char* why, int line);

void barrier(int line);  // __syncthreads

/// The lane that comes last does `work` for its whole warp, with every lane's argument.
void together(void (*work)(void** arguments, int lanes), void* argument, int line);

/// The shared memory, which must have as many bytes as the launcher said.
void* shared_memory(size_t bytes, int line);

/// Runs every block of a launch of `shape` (grid, block); the text of an error, or nullptr.
/// schedule: 0 warps and lanes in order, 1 in reverse, otherwise the seed of random orders.
const char* run(void (*thread)(void* kernel, void** arguments), void* kernel, void** arguments,
                const unsigned* shape, size_t shared_bytes, unsigned schedule);

template <class... A, size_t... I>
void call(void (*kernel)(A...), void** arguments, std::index_sequence<I...>) {
    kernel(*static_cast<A*>(arguments[I])...);
}

template <class... A>
const char* launch(void (*kernel)(A...), void** arguments, const unsigned* shape, size_t shared,
                   unsigned schedule) {
    const auto thread = [](void* kernel, void** arguments) {
        call(reinterpret_cast<void (*)(A...)>(kernel), arguments, std::index_sequence_for<A...>{});
    };
    return run(thread, reinterpret_cast<void*>(kernel), arguments, shape, shared, schedule);
}

}  // namespace emu
