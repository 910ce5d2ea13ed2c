// What all convolution kernels share: the shapes, and which values meet.
//
// Inside, images are (n, h, w, channels) and filters (group, filter, u, v, channel): channels lie
// together, so whatever a kernel loads is contiguous. Forward and input gradient are one problem:
// every output reads inputs at an even pace, one for each tap, and takes their product with a
// filter's channels. `walk` says at which pace, for either.
#pragma once
#include "prim.cuh"

struct Axis {  // of what is read ("in") and what is written ("out")
    int in, out, kernel, stride, padding, dilation;
};

struct Conv {
    Axis h, w;
    int images;
    int groups;
    int channels, filters;  // in a group: that are summed over, that are written
    int transposed;         // the input gradient: "in" is the output's gradient
    int splits;             // parts that the sum is cut in, each written on its own
};

DEVICE int up(int a, int b) { return (a + b - 1) / b; }

// Outputs first + step q, 0 <= q < count, read inputs base + scale q + hop t for the taps
// tap + tap_step t, 0 <= t < taps.
struct Walk {
    int count, first, step, base, scale, hop, taps, tap, tap_step;
};

// The input gradient of a stride s falls into s phases: the inputs i of one residue (mod s) meet
// only those taps u for which s divides i + padding - dilation u. Within a phase it is an ordinary
// convolution of stride 1, so no product with a zero is ever taken (Dumoulin & Visin 2016,
// arXiv:1603.07285, chapter 4, would insert zeros).
DEVICE Walk walk(const Axis& a, bool transposed, int phase) {
    if (!transposed) return {a.out, 0, 1, -a.padding, a.stride, a.dilation, a.kernel, 0, 1};
    int divisor = a.stride;  // the greatest common one of stride and dilation
    for (int rest = a.dilation; rest;) {
        const int next = divisor % rest;
        divisor = rest;
        rest = next;
    }
    const int period = a.stride / divisor, reach = phase + a.padding;
    int tap = 0;
    while (tap < period && (reach - a.dilation * tap) % a.stride) tap++;
    const bool any = tap < period && tap < a.kernel;
    return {up(a.out - phase, a.stride), phase, a.stride,
            (reach - a.dilation * tap) / a.stride, 1, -a.dilation / divisor,
            any ? up(a.kernel - tap, period) : 0, tap, period};
}

// What a block works on: one phase, one group, one part of the sum.
struct Place {
    Walk h, w;
    int group, split;
};

DEVICE Place place(const Conv& p, int z) {
    const int phase = z / p.splits / p.groups;
    return {walk(p.h, p.transposed, phase / p.w.stride),
            walk(p.w, p.transposed, phase % p.w.stride), z / p.splits % p.groups, z % p.splits};
}

struct Pixel {
    int image, h, w;  // h and w count within the walk
};

DEVICE Pixel pixel(const Place& at, int m) {
    const int row = m / at.w.count;
    return {row / at.h.count, row % at.h.count, m % at.w.count};
}

DEVICE bool inside(int i, int size) { return unsigned(i) < unsigned(size); }

DEVICE long long input(const Conv& p, int group, int image, int h, int w) {
    return ((static_cast<long long>(image) * p.h.in + h) * p.w.in + w) * p.groups * p.channels +
           group * p.channels;
}

DEVICE long long output(const Conv& p, const Place& at, const Pixel& to) {
    const long long above = static_cast<long long>(to.image) * p.h.out;
    const long long row = above + at.h.first + at.h.step * to.h;
    const long long column = at.w.first + at.w.step * to.w;
    const long long all = static_cast<long long>(p.images) * p.h.out * p.w.out;
    return ((at.split * all + row * p.w.out + column) * p.groups + at.group) * p.filters;
}

DEVICE long long filter(const Conv& p, int group, int f, int u, int v) {
    return ((static_cast<long long>(group * p.filters + f) * p.h.kernel + u) * p.w.kernel + v) *
           p.channels;
}

// What a tap (`down`, `along`: counted within the walk) of an output reads; -1 in the padding.
DEVICE long long source(const Conv& p, const Place& at, const Pixel& to, int down, int along) {
    const int h = at.h.base + at.h.scale * to.h + at.h.hop * down;
    const int w = at.w.base + at.w.scale * to.w + at.w.hop * along;
    return inside(h, p.h.in) && inside(w, p.w.in) ? input(p, at.group, to.image, h, w) : -1;
}

// The filter's channels that it meets there.
DEVICE long long weights(const Conv& p, const Place& at, int f, int down, int along) {
    return filter(p, at.group, f, at.h.tap + at.h.tap_step * down,
                  at.w.tap + at.w.tap_step * along);
}
