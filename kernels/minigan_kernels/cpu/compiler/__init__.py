"""Numba as this package uses it: the decorator `jit`, and the disk cache of machine code."""
