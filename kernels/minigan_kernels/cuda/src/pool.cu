// Pooling and up-sampling over images (outer, H, W, inner): channels last as they are, planes as
// (N C, H, W, 1). A thread computes one value of the result and gathers what belongs to it, so no
// two threads write one place and no atomics are needed. Only `scatter_plane` scatters.
//
// Bound by memory where windows overlap little: x and the result once each (up-sampling by 2: 5
// bytes a result of float32); overlapping windows read from the cache. INDEX is int where all
// sizes allow it: a division of 64 bits costs as much as several values.
#include "prim.cuh"

using Index = INDEX;

struct Window {
    int inner, h, w, oh, ow;  // planes, and planes of windows
    int kh, kw, sy, sx, py, px;
};

struct Place {
    Index plane;  // outer index
    int inner, i, j;
    bool inside;
};

// The indices in (outer, h, w, inner) of the value that this thread computes, of `size`.
DEVICE Place my_place(Index size, int inner, int h, int w, Index& at) {
    at = blockIdx.x * (Index)THREADS + threadIdx.x;
    const Index pixel = at / inner, row = pixel / w;
    return {row / h, int(at % inner), int(row % h), int(pixel % w), at < size};
}

// Offset of the first value of row y in x.
DEVICE Index row(const Place& p, int y, int h, int w, int inner) {
    return ((p.plane * h + y) * w) * inner + p.inner;
}

// The rows of a window that are within the plane.
DEVICE int first(int place, int stride, int padding) { return max(0, place * stride - padding); }
DEVICE int last(int place, int stride, int padding, int kernel, int size) {
    return min(size, place * stride - padding + kernel);
}

// The place i w + j of each window's first maximum; NaN is above all.
extern "C" __global__ void __launch_bounds__(THREADS)
max_index(const T* __restrict__ x, long long* __restrict__ index, Index size, const Window s) {
    Index at;
    const Place p = my_place(size, s.inner, s.oh, s.ow, at);
    if (!p.inside) return;
    const int top = first(p.i, s.sy, s.py), bottom = last(p.i, s.sy, s.py, s.kh, s.h);
    const int left = first(p.j, s.sx, s.px), right = last(p.j, s.sx, s.px, s.kw, s.w);
    int best = top * s.w + left;
    T most = x[row(p, top, s.h, s.w, s.inner) + left * (Index)s.inner];
#pragma unroll 1
    for (int i = top; i < bottom; i++) {
        const T* line = x + row(p, i, s.h, s.w, s.inner);
#pragma unroll 1
        for (int j = left; j < right; j++) {
            const T value = line[j * (Index)s.inner];
            if (value > most || (value != value && most == most)) {  // the first NaN stays
                most = value;
                best = i * s.w + j;
            }
        }
    }
    index[at] = best;
}

// Sum of each window over `divisor`.
extern "C" __global__ void __launch_bounds__(THREADS)
window_mean(const T* __restrict__ x, T* __restrict__ y, Index size, const Window s, T divisor) {
    Index at;
    const Place p = my_place(size, s.inner, s.oh, s.ow, at);
    if (!p.inside) return;
    const int top = first(p.i, s.sy, s.py), bottom = last(p.i, s.sy, s.py, s.kh, s.h);
    const int left = first(p.j, s.sx, s.px), right = last(p.j, s.sx, s.px, s.kw, s.w);
    T sum = 0;
#pragma unroll 1
    for (int i = top; i < bottom; i++) {
        const T* line = x + row(p, i, s.h, s.w, s.inner);
#pragma unroll 1
        for (int j = left; j < right; j++) sum += line[j * (Index)s.inner];
    }
    y[at] = sum / divisor;
}

// Its adjoint: the sum of all windows that hold a pixel, over `divisor`.
extern "C" __global__ void __launch_bounds__(THREADS)
window_adjoint(const T* __restrict__ g, T* __restrict__ dx, Index size, const Window s, T divisor) {
    Index at;
    const Place p = my_place(size, s.inner, s.h, s.w, at);
    if (!p.inside) return;
    // Window i holds row y where 0 <= y + py - i sy < kh.
    const int top = max(0, p.i + s.py - s.kh + s.sy) / s.sy;
    const int left = max(0, p.j + s.px - s.kw + s.sx) / s.sx;
    const int bottom = min(s.oh, (p.i + s.py) / s.sy + 1);
    const int right = min(s.ow, (p.j + s.px) / s.sx + 1);
    T sum = 0;
#pragma unroll 1
    for (int i = top; i < bottom; i++) {
        const T* line = g + row(p, i, s.oh, s.ow, s.inner);
#pragma unroll 1
        for (int j = left; j < right; j++) sum += line[j * (Index)s.inner];
    }
    dx[at] = sum / divisor;
}

// Each pixel as a block: the one of (i, j) is read from (i / factor, j / factor).
extern "C" __global__ void __launch_bounds__(THREADS)
repeat(const T* __restrict__ x, T* __restrict__ y, Index size, int inner, int h, int w,
       int factor) {
    Index at;
    const Place p = my_place(size, inner, h * factor, w * factor, at);
    if (p.inside) y[at] = x[row(p, p.i / factor, h, w, inner) + p.j / factor * (Index)inner];
}

// --- Given places ------------------------------------------------------------------------------
// A place outside of the plane is never read or written; what would be read there is NaN.

extern "C" __global__ void __launch_bounds__(THREADS)
gather(const T* __restrict__ x, const long long* __restrict__ index, T* __restrict__ y, Index size,
       int inner, int plane, int windows) {
    const Index at = blockIdx.x * (Index)THREADS + threadIdx.x;
    if (at >= size) return;
    const Index outer = at / inner / windows;
    const long long place = index[at];
    const bool inside = 0 <= place && place < plane;
    y[at] = inside ? x[(outer * plane + Index(place)) * inner + at % inner] : T(nan(""));
}

// Zeros with each g added at its place: one warp a plane. Of each 32 values, the first lane of
// every place adds up all that go there, in order.
extern "C" __global__ void __launch_bounds__(THREADS)
scatter(const T* __restrict__ g, const long long* __restrict__ index, T* __restrict__ y,
        Index planes, int inner, int plane, int windows) {
    const Index mine = (blockIdx.x * (Index)THREADS + threadIdx.x) / 32;
    if (mine >= planes) return;  // a whole warp
    const int lane = threadIdx.x % 32;
    y += mine / inner * plane * inner + mine % inner;
    const Index start = mine / inner * windows * inner + mine % inner;
    for (int i = lane; i < plane; i += 32) y[i * (Index)inner] = 0;
    __syncwarp();
    for (int next = 0; next < windows; next += 32) {
        const int window = next + lane;
        const Index at = start + window * (Index)inner;
        const bool there = window < windows && 0 <= index[at] && index[at] < plane;
        const int place = there ? int(index[at]) : -1;
        const T value = there ? g[at] : T(0);
        bool leader = there;
        T sum = 0;
        for (int other = 0; other < 32; other++) {
            const int its_place = __shfl_sync(~0u, place, other);
            const T its_value = __shfl_sync(~0u, value, other);
            if (its_place == place) {
                leader = leader && other >= lane;
                sum += its_value;
            }
        }
        if (leader) y[place * (Index)inner] += sum;
        __syncwarp();  // another lane may add to the same place in the next turn
    }
}
