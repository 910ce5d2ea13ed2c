"""Fast twins for a CPU: loops that Numba compiles, and BLAS for plain matrix products.

    isa/            instructions as functions: vectors, matrix tiles, atomic operations
    compiler/       `jit`, its cache on disk, and functions whose source is generated
    runtime/        the thread pool, native tasks, memory, denormals
    transpose       the transpose of a block in vector registers
    gemm/           matrix products of our own: microkernels and their blocking
    channelwise     what the loops over images and channels share
    smooth          loops of GELU and SiLU, with exp and erf in vectors
    activation, norm, pool, softmax, maxout, optim, random
                    kernels that are bound by memory: few passes over it
    linalg          matrix products by BLAS
    conv/           convolutions: `select` chooses an algorithm by the layer's shape;
                    winograd/, direct/ (GEMM over an indirection table) and im2col/ (with BLAS)

Each imports from those above it. `python -m minigan_kernels.cpu` prints the generated kernels.
"""

from ..environment import load_numba

load_numba()  # before any of those, so that what is wrong is said in one sentence
