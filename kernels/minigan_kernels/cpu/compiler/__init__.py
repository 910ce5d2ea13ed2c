"""Numba as minigan uses it: the decorator `jit`, its cache on disk, and writing of code."""
