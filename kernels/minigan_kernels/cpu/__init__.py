"""Fast twins for a CPU: loops that Numba compiles, and BLAS for plain matrix products.

The way from a convolution to its register tile:

    conv        what the package's `conv2d` and its gradients call
    plan        chooses the algorithm by the layer's shape, or as measurement has chosen
    winograd    shapes and memory; its loops are in `tiles` (into the frequencies) and `products`
                (the way back), a layer as they see it in `layer`, the transforms' matrices in
                `toom_cook`, and the unrolled kernels in `generate`; between them the products,
                by a matrix unit in `matrix_products` and `amx`, else in `vector_products`
    direct      for all other layers; tables in `direct_plan` and `direct_grids`, loops in
                `direct_loops`, the tile in `direct_tile`
    packed      im2col with BLAS, for float64 and to compare with; see `columns` and `windows`

Below them all: `simd` (a vector is a value), `compiler` (`jit` and its disk cache), `threads` and
`awake`, `memory` and `buffers`. Beside them, what goes through memory once: `norm`, `activation`,
`pool`, `softmax`, `maxout`, `optim`, `random`, with `planes` for what their loops share; and
`linalg`.
"""
