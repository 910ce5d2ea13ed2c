"""Fast twins for a CPU: Numba for the loops, BLAS for the matrix products."""
