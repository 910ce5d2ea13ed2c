// The moments of a set of numbers, and of two sets together: never a difference of large sums.
//
// Chan, Golub & LeVeque 1983: count, mean and sum of squared deviations of two sets give those of
// their union.
#pragma once
#include "prim.cuh"

struct Moments {
    double count, mean, squares;
    __device__ __forceinline__ void merge(const Moments& other) {
        const double both = count + other.count, apart = other.mean - mean;
        if (!(both > 0)) return;
        const double weight = other.count / both;
        squares += other.squares + apart * apart * count * weight;
        mean += apart * weight;
        count = both;
    }
};
