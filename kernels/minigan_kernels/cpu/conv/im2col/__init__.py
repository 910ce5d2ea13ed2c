"""Convolution by BLAS over windows that are unrolled as rows of a matrix, and kernels for that.

    im2col    the public kernels `im2col` and `col2im`: windows as columns, (N, C*kH*kW, H'*W')
    im2row    the same windows as rows, channels innermost, for one block of the GEMM: private to
    gemm      the convolution and its gradients. Each block of windows is unrolled in a workspace,
              multiplied by BLAS, and for the image gradient added back

Relatives elsewhere: `direct` unrolls nothing, its microkernel reads windows through tables. It
packs the lines that a block sees (`direct.pack`), each pixel once and not kH*kW times. Where
outputs have few channels it goes the way of the image gradient here: a GEMM computes columns, and
col2im adds them up (`direct.macrokernels.gemm_col2im`).
"""
