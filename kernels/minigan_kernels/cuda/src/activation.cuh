// Activations of one number: for the kernels of activation.cu, and for those that end with one.
#pragma once
#include "prim.cuh"

template <class N>
DEVICE N leaky(N g, N x, N slope) { return x > 0 ? g : slope * g; }

template <class N>
DEVICE N logistic(N x) {  // without overflow at either end
    const N small = exp(-fabs(x));
    return (x >= 0 ? N(1) : small) / (N(1) + small);
}

// How a sum ends that is complete: ACTIVATION is one of these three, or not defined.
DEVICE float end_in_leaky_relu(float x, float slope) { return leaky(x, x, slope); }
DEVICE float end_in_tanh(float x, float) { return tanhf(x); }
DEVICE float end_in_sigmoid(float x, float) { return logistic(x); }

#ifdef ACTIVATION
constexpr bool ACTIVATED = true;
DEVICE float finished(float sum, const float* bias, int channel, float slope) {
    return ACTIVATION(sum + bias[channel], slope);
}
#else
constexpr bool ACTIVATED = false;
DEVICE float finished(float sum, const float*, int, float) { return sum; }
#endif
