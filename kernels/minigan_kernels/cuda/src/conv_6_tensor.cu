// 6. Tensor cores: a warp's mma instruction does 16x8x16 products at once (bfloat16, 16x8x8 in
// tf32), where each thread did one. Now everything hangs on feeding them: ldmatrix fetches what 32
// threads need of four 8x8 matrices in one instruction, without a bank conflict thanks to the
// swizzle. The way of the data is that of step 5; only the arithmetic is another (tensor.cuh).
#define MATH "tensor.cuh"
#include "conv_5_pipelined.cu"
