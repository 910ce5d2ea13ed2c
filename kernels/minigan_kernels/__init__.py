"""Array kernels of minigan: arrays in, arrays out, no autograd; usable on their own.

Every kernel has three twins: plain NumPy in `reference`, written to be obviously right, a fast one
for the CPU in `cpu`, and one for CUDA GPUs in `cuda`. This module picks the backend by the type of
the first array, and it is the only place that does. Twins are imported when first called, since
importing Numba takes longer than importing NumPy. Under NUMBA_DISABLE_JIT, which debuggers and
coverage set, the plain kernels serve NumPy's arrays.

    >>> import numpy as np
    >>> x, w = np.ones((1, 1, 3, 3), np.float32), np.ones((1, 1, 2, 2), np.float32)
    >>> conv2d(x, w).shape
    (1, 1, 2, 2)
    >>> with use("reference"):
    ...     conv2d(x, w).shape
    (1, 1, 2, 2)
    >>> with use("winograd"):
    ...     conv2d(x, w).shape
    (1, 1, 2, 2)
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from . import algorithms, memo
from .algorithms import Forced, forced, register, unregister
from .environment import SettingError, compiles
from .reference import activation, conv, linalg, maxout, norm, optim, pool, random, softmax

__all__ = [
    "BACKENDS",
    "KERNELS",
    "SettingError",
    "backend_of",
    "choices",
    "compiles",
    "register",
    "twin",
    "unregister",
    "use",
]

KERNELS: dict[str, Callable[..., Any]] = {}  # name -> reference twin of every public kernel
BACKENDS = {  # array type -> package; types by name, since CuPy need not be installed
    "numpy.ndarray": "cpu" if compiles() else "reference",
    "cupy.ndarray": "cuda",
}

_VARIABLES = {  # what overrules the CPU: its default
    "MINIGAN_LANES": "",
    "MINIGAN_AMX": "1",
    "NUMBA_CPU_NAME": "",
    "NUMBA_CPU_FEATURES": "",
}

_forced: ContextVar[str | None] = ContextVar("backend", default=None)
_F = TypeVar("_F", bound=Callable[..., Any])


def _takes_one_name(function: _F) -> _F:
    @functools.wraps(function)
    def called(*args: Any, **options: Any) -> Any:
        try:  # a context manager's own code runs later: what fails here is the call
            return function(*args, **options)
        except TypeError as error:
            raise TypeError(
                f"{error}; one name says it, of a backend or of an algorithm: use('cpu'), or "
                "use('winograd')"
            ) from None

    return called  # type: ignore[return-value]


@_takes_one_name
@contextmanager
def use(kernels: str, *, strict: bool = False) -> Iterator[None]:
    """Within the block take all kernels from one backend, or convolve by one algorithm.

    `kernels` is a backend, "reference", "cpu" or "cuda", or an algorithm. "cuda" runs emulated for
    NumPy arrays: exact to study, slow to use. The algorithms "im2col", "direct", "winograd" and
    "winograd2" (tiles of 2x2 outputs instead of 4x4), and those that `register` was given, are for
    float32 convolutions of the CPU backend. Layers to which Winograd does not apply use "direct",
    those that a registered algorithm does not take go by the rule, and float64 is always "im2col";
    with `strict`, as to measure an algorithm, such a convolution raises ValueError instead.

    Raises:
        ValueError: if there is no such backend or algorithm.

    >>> with use("reference"):  # or "winograd", "direct", "im2col"
    ...     sigmoid(np.zeros(1, np.float32))
    array([0.5], dtype=float32)
    """
    known = algorithms.BACKENDS + algorithms.names()
    if kernels not in known:
        listed = ", ".join(map(repr, known))
        raise ValueError(f"there are no kernels called {kernels!r}; there are {listed}")
    is_backend = kernels in algorithms.BACKENDS
    backend = _forced.set(kernels if is_backend else "cpu")
    algorithm = forced.set(Forced() if is_backend else Forced(kernels, strict))
    try:
        yield
    finally:
        _forced.reset(backend)
        forced.reset(algorithm)


def choices() -> dict[str, str]:
    """What was tuned or forced here and changes the last bits of results on a CPU, by its name.

    That is each layer's algorithm that `bench tune` keeps for this CPU's vectors, the variables
    MINIGAN_LANES, MINIGAN_AMX, NUMBA_CPU_NAME and NUMBA_CPU_FEATURES, what `use` forces now, and
    the functions of a registered algorithm among these; or that nothing is compiled. Empty if each
    layer goes by the rule. The number of threads is not among it, since it changes no result.
    Two runs of the same versions on the same CPU can be equal in each bit only if these are.

    Raises:
        ValueError: if the file of the algorithms is damaged, with the way out.

    >>> with use("im2col"):
    ...     choices()["use"]
    'im2col'
    """
    if not compiles():
        return {"NUMBA_DISABLE_JIT": "1"}
    found: dict[str, str] = dict(importlib.import_module(f"{__name__}.cpu.conv.select").tuned())
    given = {name: os.environ.get(name, default) for name, default in _VARIABLES.items()}
    found |= {name: value for name, value in given.items() if value != _VARIABLES[name]}
    if kernels := forced.get().algorithm or _forced.get():
        found["use"] = kernels
    for name in algorithms.registered.keys() & set(found.values()):
        for kernel, entry in algorithms.registered[name].items():
            found[f"{name} {kernel}"] = f"{entry.function.__module__}.{entry.function.__qualname__}"
    return dict(sorted(found.items()))


@functools.cache
def backend_of(kind: type) -> str:
    """The package whose kernels take arrays of this type, as `BACKENDS` has it.

    Raises:
        TypeError: if there is none.

    >>> backend_of(np.ndarray) in ("cpu", "reference")
    True
    """
    for base in kind.__mro__:
        name = f"{base.__module__.partition('.')[0]}.{base.__name__}"
        if name in BACKENDS:
            return BACKENDS[name]
    raise TypeError(f"there are no kernels for arrays of type {kind.__name__}")


@functools.cache
def twin(file: str, name: str, backend: str) -> Callable[..., Any]:
    """The kernel `name` of `file` in a backend's package, as `twin("norm", "moments", "cpu")`.

    >>> twin("linalg", "matmul", "reference").__name__
    'matmul'
    """
    return getattr(importlib.import_module(f"{__name__}.{backend}.{file}"), name)


def _public(reference: _F) -> _F:
    """The kernel that calls the twin of `reference` for the type of its first array."""
    file, name = reference.__module__.rpartition(".")[2], reference.__name__
    KERNELS[name] = reference
    first_name = inspect.unwrap(reference).__code__.co_varnames[0]  # sooner than its signature

    @functools.wraps(reference)
    def kernel(*args: Any, **kwargs: Any) -> Any:
        if not args and first_name not in kwargs:
            return reference(**kwargs)  # which says what is missing
        array = args[0] if args else kwargs[first_name]
        first = array[0] if isinstance(array, list | tuple) and array else array
        backend = _forced.get() or backend_of(first.__class__)
        return twin(file, name, backend)(*args, **kwargs)

    memo.KERNELS.add(kernel)
    return kernel  # type: ignore[return-value]


conv2d = _public(conv.conv2d)
conv2d_dx = _public(conv.conv2d_dx)
conv2d_dw = _public(conv.conv2d_dw)
conv2d_activated = _public(conv.conv2d_activated)
conv2d_dx_activated = _public(conv.conv2d_dx_activated)
im2col = _public(conv.im2col)
col2im = _public(conv.col2im)

matmul = _public(linalg.matmul)

moments = _public(norm.moments)
batch_norm = _public(norm.batch_norm)
batch_norm_backward = _public(norm.batch_norm_backward)
batch_norm_inference_backward = _public(norm.batch_norm_inference_backward)

leaky_relu = _public(activation.leaky_relu)
leaky_relu_dx = _public(activation.leaky_relu_dx)
sigmoid = _public(activation.sigmoid)
softplus = _public(activation.softplus)
erf = _public(activation.erf)
silu = _public(activation.silu)
silu_backward = _public(activation.silu_backward)
gelu = _public(activation.gelu)
gelu_backward = _public(activation.gelu_backward)
bias_leaky_relu = _public(activation.bias_leaky_relu)
bias_leaky_relu_backward = _public(activation.bias_leaky_relu_backward)
bias_tanh = _public(activation.bias_tanh)
bias_tanh_backward = _public(activation.bias_tanh_backward)
bias_sigmoid = _public(activation.bias_sigmoid)
bias_sigmoid_backward = _public(activation.bias_sigmoid_backward)

softmax_cross_entropy = _public(softmax.softmax_cross_entropy)
softmax_cross_entropy_backward = _public(softmax.softmax_cross_entropy_backward)

bias_maxout = _public(maxout.bias_maxout)
bias_maxout_backward = _public(maxout.bias_maxout_backward)

max_pool2d_index = _public(pool.max_pool2d_index)
gather_plane = _public(pool.gather_plane)
scatter_plane = _public(pool.scatter_plane)
avg_pool2d = _public(pool.avg_pool2d)
avg_pool2d_dx = _public(pool.avg_pool2d_dx)
upsample_nearest = _public(pool.upsample_nearest)
upsample_nearest_dx = _public(pool.upsample_nearest_dx)

sgd = _public(optim.sgd)
rmsprop = _public(optim.rmsprop)
adam = _public(optim.adam)

random_bits = _public(random.random_bits)
uniform = _public(random.uniform)
normal = _public(random.normal)
dropout_mask = _public(random.dropout_mask)

__all__ += KERNELS
