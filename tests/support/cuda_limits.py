"""Registers that each kernel may take a thread, of what is compiled for any architecture.

A multiprocessor has 65536: blocks of 256 threads fit 8 times into it with 32 registers a thread, 6
times with 40, 5 with 48, 4 with 64, 3 with 80. Limits stand at these steps.
"""

from __future__ import annotations

from collections.abc import Iterator

from minigan_kernels.cuda import elementwise, optim, pool, random
from minigan_kernels.cuda.launch import Kernel

WIDTHS = {"float": 4, "double": 2}
# With floats, with doubles; vectors of one value or of 16 bytes.
VECTORS = {
    "activation": {
        "leaky_relu": (32, 32),
        "leaky_relu_dx": (32, 32),
        "sigmoid": (32, 32),
        "softplus": (32, 32),
        "error_function": (32, 40),
        "silu": (32, 32),
        "silu_backward": (32, 40),
        "gelu": (32, 40),
        "gelu_backward": (40, 40),
        "bias_leaky_relu": (32, 40),
        "bias_leaky_relu_backward": (40, 40),
        "bias_tanh": (40, 40),
        "bias_tanh_backward": (40, 40),
        "bias_sigmoid": (40, 48),
        "bias_sigmoid_backward": (40, 40),
    },
    "norm": {
        "moments": (64, 80),
        "batch_norm": (40, 40),
        "batch_norm_sums": (64, 64),
        "batch_norm_dx": (48, 64),
    },
}
VALUES = {
    "norm": {"moments_total": (48, 48)},
    "softmax": {"softmax_cross_entropy": (40, 64), "softmax_cross_entropy_backward": (40, 40)},
    "maxout": {"bias_maxout": (40, 40), "bias_maxout_backward": (48, 64)},
}
OPTIMISERS = {"sgd": (32, 32), "rmsprop": (48, 64), "adam": (64, 64)}
GRAPH = {"mu": "const double*", "step": "const long long*"}  # what a graph reads on the GPU
POOLS = {
    "max_index": 32,
    "window_mean": 32,
    "window_adjoint": 32,
    "repeat": 32,
    "gather": 32,
    "scatter": 40,
}
RANDOM = {"random_bits": 32, "uniform": 32, "normal": 40, "dropout_mask": 32}


def _limits() -> Iterator[tuple[Kernel, int]]:
    for i, (c_type, width) in enumerate(WIDTHS.items()):
        for file, names in VECTORS.items():
            for name, registers in names.items():
                yield elementwise.kernel(file, name, c_type, 1), registers[i]
                yield elementwise.kernel(file, name, c_type, width), registers[i]
        for file, names in VALUES.items():
            for name, registers in names.items():
                yield elementwise.kernel(file, name, c_type, 1), registers[i]
        for sums in (1, 2):
            yield elementwise.kernel("channel_sums", "total", c_type, 1, SUMS=sums), 40
        for name, registers in OPTIMISERS.items():
            yield optim.kernel(name, c_type, 1), registers[i]
            yield optim.kernel(name, c_type, width, "const double*", **GRAPH), registers[i]
        for name, most in POOLS.items():
            for index in ("int", "long long"):
                yield pool.kernel(name, c_type, index), most
    for name, most in RANDOM.items():
        for c_type in ("unsigned",) if name == "random_bits" else WIDTHS:
            for number in ("unsigned long long", "const unsigned long long*"):
                yield random.kernel(name, c_type, number, number, "*" in number), most


LIMITS = dict(_limits())
# Those that go over vectors of 16 bytes.
WIDE = [
    k
    for k in LIMITS
    if k.defines.get("V", 1) != 1 or (k.file.stem == "random" and k.defines["ALIGNED"])
]
