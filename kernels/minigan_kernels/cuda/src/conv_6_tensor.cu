// 6. Tensor cores: one mma instruction of a warp does 16x8x16 multiplications (bfloat16; 16x8x8 in
// tf32).
//
//     python -m pytest tests/kernels/cuda -k "ladder and tensor"   check it, emulated
//     python -m bench gpu                                               time it on a GPU
//
// In version 5 each thread multiplied one pair of values at a time. Tensor cores are so fast that
// feeding them is the limit: ldmatrix loads four 8x8 matrices for the 32 threads in one
// instruction, and the swizzle keeps it free of bank conflicts. Data moves as in version 5. Only
// the arithmetic differs (tensor.cuh).
#define MATH "tensor.cuh"
#include "conv_5_pipelined.cu"
