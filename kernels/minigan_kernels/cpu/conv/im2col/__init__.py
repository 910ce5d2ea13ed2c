"""Convolution by matrix products of BLAS, over windows laid out as rows (im2col)."""
