// How a block runs: fibers, meeting points, the greedy scheduler.
#include "block.h"
#include <sys/mman.h>
#include <ucontext.h>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>
#include "copies.h"

namespace emu {

Block block;
Fiber* fiber;

namespace {

#ifdef __SANITIZE_ADDRESS__
constexpr size_t STACK = 512 << 10;
extern "C" void __asan_unpoison_memory_region(const volatile void* start, size_t size);
// A thread that is done never returns, so what it marked on its stack would stay.
void forget(char* stack) { __asan_unpoison_memory_region(stack, STACK); }
#else
constexpr size_t STACK = 64 << 10;
void forget(char*) {}
#endif

// --- Switching: 6 registers on x86-64, the C library's slower way elsewhere ---------------------

#if defined(__x86_64__) && defined(__linux__) && !defined(PORTABLE)
using Context = void*;  // the stack pointer; all else is on the stack
extern "C" void emu_switch(Context* from, Context to);
asm(R"(.text
.type emu_switch, @function
emu_switch:
    push %rbp; push %rbx; push %r12; push %r13; push %r14; push %r15
    mov %rsp, (%rdi); mov %rsi, %rsp
    pop %r15; pop %r14; pop %r13; pop %r12; pop %rbx; pop %rbp
    ret
)");
void go(Context& from, Context& to) { emu_switch(&from, to); }
void prepare(Context& context, char* stack, void (*start)()) {
    void** top = reinterpret_cast<void**>(stack + STACK);
    *--top = nullptr;  // so that the stack is aligned as after a call
    *--top = reinterpret_cast<void*>(start);
    for (int i = 0; i < 6; i++) *--top = nullptr;
    context = top;
}
#else
using Context = ucontext_t;
void go(Context& from, Context& to) { swapcontext(&from, &to); }
void prepare(Context& context, char* stack, void (*start)()) {
    getcontext(&context);
    context.uc_stack.ss_sp = stack;
    context.uc_stack.ss_size = STACK;
    makecontext(&context, start, 0);
}
#endif

enum State { READY, AT_BARRIER, AT_WARP, DONE };

struct Thread : Fiber {
    Context context;
    State state;
    int line;        // of the barrier or warp operation that it waits at
    void* argument;  // for the warp operation
    Copies copies;
};

std::vector<Thread> threads;
std::vector<int> arrived;  // lanes of each warp at its warp operation
int at_barrier;
Context scheduler;
std::string error;
void (*body)(void*, void**);
void *the_kernel, **the_arguments;

Thread& me() { return *static_cast<Thread*>(fiber); }

void wait_as(State state) {
    me().state = state;
    go(me().context, scheduler);
}

void start() {
    body(the_kernel, the_arguments);
    if (!me().copies.open.empty()) fail("a thread ends with a copy that was never committed", 0);
    wait_as(DONE);
}

struct Random {
    unsigned state;
    unsigned below(unsigned n) {
        state = state * 1664525u + 1013904223u;
        return (state >> 8) % n;
    }
};

/// Runs the lanes of a warp until each waits at the block's barrier or is done; whether any moved.
bool run_warp(int warp, bool backwards, int& live) {
    bool moved = false;
    const int lanes = std::min(WARP, int(threads.size()) - warp * WARP);
    for (bool again = true; again;) {
        again = false;
        for (int i = 0; i < lanes; i++) {
            Thread& next = threads[warp * WARP + (backwards ? lanes - 1 - i : i)];
            if (next.state != READY) continue;
            again = moved = true;
            fiber = &next;
            go(scheduler, next.context);
            if (!error.empty()) return true;
            live -= next.state == DONE;
        }
    }
    return moved;
}

void run_block(char* stacks, unsigned schedule) {
    const int size = threads.size(), warps = arrived.size();
    at_barrier = 0;
    std::fill(arrived.begin(), arrived.end(), 0);
    std::memset(block.shared, 0xFF, block.shared_bytes);  // NaN, whatever the type
    for (int i = 0; i < size; i++) {
        threads[i].state = READY;
        threads[i].copies = {};
        forget(stacks + STACK * i);
        prepare(threads[i].context, stacks + STACK * i, start);
    }
    std::vector<int> order(warps);
    for (int w = 0; w < warps; w++) order[w] = schedule == 1 ? warps - 1 - w : w;
    Random random{schedule};
    for (int live = size; live && error.empty();) {
        if (schedule > 1)
            for (int i = warps; i > 1; i--) std::swap(order[i - 1], order[random.below(i)]);
        bool moved = false;
        for (int w : order)
            if (error.empty()) moved |= run_warp(w, schedule & 1, live);
        if (moved) continue;
        const auto stuck = std::find_if(threads.begin(), threads.end(),
                                        [](const Thread& t) { return t.state != DONE; });
        error = "deadlock: threads wait at line " + std::to_string(stuck->line) +
                " for others that never come there";
    }
}

}  // namespace

Copies& copies() { return me().copies; }

void fail(const char* why, int line) {
    char where[160];
    const dim3 b = block.index, t = fiber->thread;
    std::snprintf(where, sizeof where, " (line %d, block %u %u %u, thread %u %u %u)", line, b.x,
                  b.y, b.z, t.x, t.y, t.z);
    error = std::string(why) + where;
    go(me().context, scheduler);
    std::abort();
}

void barrier(int line) {
    me().line = line;
    if (++at_barrier < int(threads.size())) return wait_as(AT_BARRIER);
    at_barrier = 0;
    for (Thread& other : threads) {
        if (other.line != line) fail("threads meet at different __syncthreads", line);
        other.state = READY;
    }
}

void together(void (*work)(void**, int), void* argument, int line) {
    const int warp = fiber->warp, first = warp * WARP;
    const int lanes = std::min(WARP, int(threads.size()) - first);
    me().argument = argument;
    me().line = line;
    if (++arrived[warp] < lanes) return wait_as(AT_WARP);
    arrived[warp] = 0;
    void* arguments[WARP];
    for (int lane = 0; lane < lanes; lane++) {
        Thread& other = threads[first + lane];
        if (other.line != line) fail("lanes of a warp meet at different operations", line);
        arguments[lane] = other.argument;
        other.state = READY;
    }
    work(arguments, lanes);
}

void* shared_memory(size_t bytes, int line) {
    if (bytes != block.shared_bytes) {
        const std::string why = "the launch gives " + std::to_string(block.shared_bytes) +
                                " bytes of shared memory, the kernel uses " + std::to_string(bytes);
        fail(why.c_str(), line);
    }
    return block.shared;
}

const char* run(void (*thread)(void*, void**), void* kernel, void** arguments,
                const unsigned* shape, size_t shared_bytes, unsigned schedule) {
    body = thread;
    the_kernel = kernel;
    the_arguments = arguments;
    error.clear();
    block = {{}, {shape[3], shape[4], shape[5]}, {shape[0], shape[1], shape[2]}, nullptr,
             shared_bytes};
    const int size = shape[3] * shape[4] * shape[5];
    threads = std::vector<Thread>(size);
    arrived.assign((size + WARP - 1) / WARP, 0);
    for (int i = 0; i < size; i++) {
        threads[i].thread = {i % shape[3], i / shape[3] % shape[4], i / shape[3] / shape[4]};
        threads[i].lane = i % WARP;
        threads[i].warp = i / WARP;
    }
    void* shared;  // apart, so that a sanitizer knows where it ends
    if (posix_memalign(&shared, 128, shared_bytes + !shared_bytes)) std::abort();
    block.shared = static_cast<unsigned char*>(shared);
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void* stacks = mmap(nullptr, STACK * size, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (stacks == MAP_FAILED) std::abort();
    const unsigned blocks = shape[0] * shape[1] * shape[2];
    for (unsigned i = 0; i < blocks && error.empty(); i++) {
        const unsigned k = schedule == 1 ? blocks - 1 - i : i;
        block.index = {k % shape[0], k / shape[0] % shape[1], k / shape[0] / shape[1]};
        run_block(static_cast<char*>(stacks), schedule > 1 ? schedule + 2 * i : schedule);
    }
    munmap(stacks, STACK * size);
    std::free(shared);
    return error.empty() ? nullptr : error.c_str();
}

}  // namespace emu
