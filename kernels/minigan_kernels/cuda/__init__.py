"""Kernels in CUDA C++, for CuPy arrays; for NumPy arrays the same source runs emulated on the CPU.

A launcher (activation.py, conv.py, ...) is written once: it allocates with `launch.empty` and calls
a `launch.Kernel`, which picks the GPU or the emulation by the type of its arrays.
"""
