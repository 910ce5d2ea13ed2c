// Activations of one number: for the kernels of activation.cu, and for epilogues.
#pragma once
#include "prim.cuh"

template <class N>
DEVICE N leaky(N g, N x, N slope) { return x > 0 ? g : slope * g; }

template <class N>
DEVICE N logistic(N x) {  // without overflow at either end
    const N small = exp(-fabs(x));
    return (x >= 0 ? N(1) : small) / (N(1) + small);
}

// The activation of an epilogue: ACTIVATION is one of these three, or not defined.
DEVICE float epilogue_leaky_relu(float x, float slope) { return leaky(x, x, slope); }
DEVICE float epilogue_tanh(float x, float) { return tanhf(x); }
DEVICE float epilogue_sigmoid(float x, float) { return logistic(x); }

#ifdef ACTIVATION
constexpr bool ACTIVATED = true;
DEVICE float with_epilogue(float sum, const float* bias, int channel, float slope) {
    return ACTIVATION(sum + bias[channel], slope);
}
#else
constexpr bool ACTIVATED = false;
DEVICE float with_epilogue(float sum, const float*, int, float) { return sum; }
#endif
