// What all convolution kernels share: the shapes, and which input meets which tap of a filter.
//
// Images are (n, h, w, channels) and filters (group, filter, u, v, channel): channels are
// contiguous, and so is whatever a kernel loads. The forward pass and the input gradient are one
// problem: an output reads one input for each tap, at a constant stride, and multiplies it with the
// filter's channels there. `phase_axis` gives that stride for either.
#pragma once
#include "prim.cuh"

struct Axis {  // of what is read ("in") and what is written ("out")
    int in, out, kernel, stride, padding, dilation;
};

struct Conv {
    Axis h, w;
    int images;
    int groups;
    int channels, filters;  // of a group: summed over, written
    int transposed;         // the input gradient, whose "in" is the output gradient
    int split_k;            // slices of the sum, each written apart
};

DEVICE int ceil_div(int a, int b) { return (a + b - 1) / b; }

// One axis of a phase. Outputs first + step q, 0 <= q < count, read inputs base + scale q + hop t
// for the taps tap + tap_step t, 0 <= t < taps.
struct PhaseAxis {
    int count, first, step, base, scale, hop, taps, tap, tap_step;
};

// The input gradient of a stride s falls into s phases: the inputs i of one residue (mod s) meet
// only those taps u for which s divides i + padding - dilation u. Within a phase it is an ordinary
// convolution of stride 1, so no zero is ever multiplied (Dumoulin & Visin 2016,
// arXiv:1603.07285, chapter 4, would insert zeros).
DEVICE PhaseAxis phase_axis(const Axis& a, bool transposed, int phase) {
    if (!transposed) return {a.out, 0, 1, -a.padding, a.stride, a.dilation, a.kernel, 0, 1};
    int divisor = a.stride;  // becomes the greatest common divisor of stride and dilation
    for (int rest = a.dilation; rest;) {
        const int next = divisor % rest;
        divisor = rest;
        rest = next;
    }
    const int period = a.stride / divisor, reach = phase + a.padding;
    int tap = 0;
    while (tap < period && (reach - a.dilation * tap) % a.stride) tap++;
    const bool any = tap < period && tap < a.kernel;
    return {ceil_div(a.out - phase, a.stride), phase, a.stride,
            (reach - a.dilation * tap) / a.stride, 1, -a.dilation / divisor,
            any ? ceil_div(a.kernel - tap, period) : 0, tap, period};
}

// What a block works on: one phase, one group, one split-K slice.
struct ProblemSlice {
    PhaseAxis h, w;
    int group, k_slice;
};

DEVICE ProblemSlice problem_slice(const Conv& p, int z) {
    const int phase = z / p.split_k / p.groups;
    const PhaseAxis h = phase_axis(p.h, p.transposed, phase / p.w.stride);
    const PhaseAxis w = phase_axis(p.w, p.transposed, phase % p.w.stride);
    return {h, w, z / p.split_k % p.groups, z % p.split_k};
}

struct Pixel {
    int image, h, w;  // h and w count within the phase
};

DEVICE Pixel pixel(const ProblemSlice& at, int m) {
    const int row = m / at.w.count;
    return {row / at.h.count, row % at.h.count, m % at.w.count};
}

DEVICE bool inside(int i, int size) { return unsigned(i) < unsigned(size); }

DEVICE long long input(const Conv& p, int group, int image, int h, int w) {
    return ((static_cast<long long>(image) * p.h.in + h) * p.w.in + w) * p.groups * p.channels +
           group * p.channels;
}

DEVICE long long output(const Conv& p, const ProblemSlice& at, const Pixel& to) {
    const long long above = static_cast<long long>(to.image) * p.h.out;
    const long long row = above + at.h.first + at.h.step * to.h;
    const long long column = at.w.first + at.w.step * to.w;
    const long long all = static_cast<long long>(p.images) * p.h.out * p.w.out;
    return ((at.k_slice * all + row * p.w.out + column) * p.groups + at.group) * p.filters;
}

DEVICE long long filter(const Conv& p, int group, int f, int u, int v) {
    return ((static_cast<long long>(group * p.filters + f) * p.h.kernel + u) * p.w.kernel + v) *
           p.channels;
}

// Where a tap of an output reads (tap_h, tap_w: counted within the phase); -1 in the padding.
DEVICE long long source(const Conv& p, const ProblemSlice& at, const Pixel& to, int tap_h,
                        int tap_w) {
    const int h = at.h.base + at.h.scale * to.h + at.h.hop * tap_h;
    const int w = at.w.base + at.w.scale * to.w + at.w.hop * tap_w;
    return inside(h, p.h.in) && inside(w, p.w.in) ? input(p, at.group, to.image, h, w) : -1;
}

// Where the channels of filter f for that tap are.
DEVICE long long weights(const Conv& p, const ProblemSlice& at, int f, int tap_h, int tap_w) {
    return filter(p, at.group, f, at.h.tap + at.h.tap_step * tap_h,
                  at.w.tap + at.w.tap_step * tap_w);
}
