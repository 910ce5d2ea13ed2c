"""A GPU without a GPU: arrays that refuse all that CuPy's refuse, and some more.

`Strict` wraps a NumPy array. It mixes with nothing but its own kind and plain numbers, and only
`get` and `item` bring a value out. CuPy also lets `float`, `bool`, iteration and indices of NumPy's
pass; each of them is a transfer that waits for the GPU, or one that nobody asked for, so these are
refused here. Kernels for Strict arrays are the CPU's, or emulated.

`FakeGpu.capture` notes each operation with its operands and the memory of its results, and does it
again when the work is repeated. As on a GPU, nothing has been done before that: what was computed
in order to know its shape is spoilt, and what was written is as it was. What CuPy refuses while it
captures is refused in CuPy's words. Memory that is got while capturing holds nothing from one
repetition to the next, as that of a graph's pool, which its kernels share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import minigan_kernels as kernels
import numpy as np
import pytest
from minigan_kernels.memo import capturing, memoize
from numpy.lib.mixins import NDArrayOperatorsMixin

from minigan.device import Device
from minigan.device.cuda import translate_capture_errors

# What minigan asks of NumPy by an array's type. CuPy has each of these under the same name.
FUNCTIONS = {
    "arange", "array", "asarray", "broadcast_to", "clip", "concatenate", "einsum", "eye", "full",
    "full_like", "linalg.cholesky", "linalg.norm", "linalg.solve", "max", "may_share_memory", "min",
    "ones_like", "outer", "pad", "split", "stack", "sum", "tile", "trace", "where", "zeros_like",
}  # fmt: skip
UFUNCS = {
    "absolute", "add", "add.at", "bitwise_and", "cos", "divide", "equal", "exp", "expm1",
    "floor_divide", "fmax", "greater", "greater_equal", "isfinite", "less", "less_equal", "log",
    "matmul", "maximum", "minimum", "multiply", "negative", "power", "remainder", "sign", "sin",
    "sqrt", "square", "subtract", "tanh",
}  # fmt: skip
METHODS = {
    "argmax", "astype", "copy", "max", "mean", "min", "ravel", "repeat", "reshape", "std", "sum",
    "transpose", "view",
}  # fmt: skip
CUBLAS = {"einsum", "linalg.cholesky", "linalg.solve", "matmul"}  # cuSOLVER is beside it
WITH_WEIGHTS = {"conv2d", "conv2d_activated", "conv2d_dx", "conv2d_dx_activated"}
MANY = 8  # arrays, of which CuPy joins more by a table that it copies to the GPU


def _plain(value: Any) -> Any:
    """Arguments of a function with NumPy's arrays in place of Strict ones."""
    if isinstance(value, Strict):
        return value.array
    if isinstance(value, np.ndarray):
        raise TypeError(f"an array of NumPy's, {value.shape}, among arrays on the GPU")
    if isinstance(value, (list, tuple)):
        return type(value)([_plain(part) for part in value])
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return value


def _strict(value: Any) -> Any:
    """A result, whose single values lie on the GPU as well."""
    if isinstance(value, (np.ndarray, np.generic)):
        return Strict(np.asarray(value))
    return type(value)(map(_strict, value)) if isinstance(value, (list, tuple)) else value


def _whole(value: Any) -> Any:
    """A result in which single values are arrays as well."""
    if isinstance(value, (list, tuple)):
        return type(value)(map(_whole, value))
    return np.asarray(value) if isinstance(value, np.generic) else value


def _arrays(value: Any) -> list[np.ndarray]:
    """All arrays in arguments or results."""
    parts = value.values() if isinstance(value, dict) else value
    if isinstance(value, (dict, list, tuple)):
        return [array for part in parts for array in _arrays(part)]
    return [value] if isinstance(value, np.ndarray) else []


class Recording:
    """Operations, to be done again on the same memory."""

    def __init__(self) -> None:
        self.operations: list[tuple[Callable[[], Any], list[tuple[int, np.ndarray]]]] = []
        self.fresh: list[np.ndarray] = []  # memory that came with them
        self.written: list[tuple[np.ndarray, np.ndarray]] = []  # and what was there before

    def note(self, function: Callable[[], Any], given: Any, writes: Any) -> Any:
        """What `function` gives, whose operands are in `given`; it writes those in `writes`."""
        self.written += [(array, array.copy()) for array in _arrays(writes)]
        result = _whole(function())
        given = _arrays(given)
        own = [  # not the views
            (i, array)
            for i, array in enumerate(_arrays(result))
            if not any(np.may_share_memory(array, one) for one in given)
        ]
        self.fresh += [array for _, array in own]
        if own or _arrays(writes):
            self.operations.append((function, own))
        return result

    def forget(self) -> None:
        """Leave memory as if nothing had been done."""
        for array, before in reversed(self.written):
            array[...] = before
        self._spoil()

    def _spoil(self) -> None:
        """The recording's own memory: each part of the work leaves it to the next."""
        for array in self.fresh:
            array[...] = np.nan if array.dtype.kind == "f" else 1

    def launch(self) -> None:
        self._spoil()
        for run, own in self.operations:
            made = _arrays(_whole(run()))
            for i, array in own:
                array[...] = made[i]


_recording: Recording | None = None


def _do(function: Callable[..., Any], args: Any, kwargs: Any, writes: Any = ()) -> Any:
    """What `function` gives for Strict arrays; it writes the plain arrays in `writes`."""
    args, kwargs = _plain(args), _plain(kwargs)
    if _recording is None:
        return _strict(function(*args, **kwargs))
    return _strict(_recording.note(lambda: function(*args, **kwargs), [args, kwargs], writes))


def _refuse_while_capturing(what: str) -> None:
    if _recording is not None:
        raise RuntimeError(f"the current stream is capturing, so {what} are disallowed")


class Strict(NDArrayOperatorsMixin):
    """An array on a GPU that is not there."""

    __slots__ = ("__weakref__", "array")
    __cuda_array_interface__: Any = None  # says to minigan that it lives on a GPU
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def get(self) -> np.ndarray:
        _refuse_while_capturing("D2H transfers")
        return self.array.copy(order="K")

    def item(self) -> Any:
        _refuse_while_capturing("D2H transfers")
        return self.array.item()

    def __getattr__(self, name: str) -> Any:
        if name in ("dtype", "nbytes", "ndim", "shape", "size", "strides"):
            return getattr(self.array, name)
        if name == "T":
            return Strict(self.array.T)
        if name not in METHODS:
            raise AttributeError(f"arrays on the GPU were not known to need {name}")
        method = getattr(np.ndarray, name)
        return lambda *args, **kwargs: _do(method, (self, *args), kwargs)

    def __getitem__(self, index: Any) -> Strict:
        return _do(lambda array, index: np.asarray(array[index]), (self, index), {})

    def __setitem__(self, index: Any, value: Any) -> None:
        _do(np.ndarray.__setitem__, (self, index, value), {}, [self.array])

    def __len__(self) -> int:
        return len(self.array)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        name = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
        if name not in UFUNCS or not all(isinstance(x, OPERANDS) for x in inputs):
            return NotImplemented
        self._library(name)
        writes = [inputs[0].array] if method == "at" else _plain(list(options.get("out", ())))
        return _do(getattr(ufunc, method), inputs, options, writes)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        module = function.__module__.removeprefix("numpy").removeprefix(".")
        name = (f"{module}." if module else "") + function.__name__
        if name not in FUNCTIONS:
            return NotImplemented
        self._library(name)
        if name in ("array", "asarray") and not isinstance(args[0], Strict):
            if np.ndim(args[0]):  # brings one to the GPU; a number fills one there
                _refuse_while_capturing("H2D transfers")
            return _do(lambda: np.array(*args, **kwargs), (), {})
        if name in ("concatenate", "stack") and len(args[0]) > MANY:
            _refuse_while_capturing("H2D transfers")
        out = kwargs.get("out")
        return _do(function, args, kwargs, [] if out is None else [out.array])

    def _library(self, name: str) -> None:
        if name in CUBLAS and _recording is not None:
            raise NotImplementedError("calling cuBLAS API during stream capture is unsupported")

    def _refuse(self, *_: Any) -> Any:
        raise TypeError("a value on the GPU was read without item() or get()")

    __array__ = __bool__ = __float__ = __index__ = __int__ = __iter__ = _refuse


class FakeGpu(Device):
    """A device whose arrays are Strict."""

    name = "strict"
    supports_graphs = True

    def put(self, array: Any) -> Strict:
        if isinstance(array, Strict):
            return array
        _refuse_while_capturing("H2D transfers")
        return Strict(array.copy(order="K"))

    def empty(self, shape: Any, dtype: Any) -> Strict:
        if _recording is None:
            return self.empty_static(shape, dtype)
        array = np.zeros(shape, dtype)  # must do, until `forget` spoils it
        _recording.fresh.append(array)
        return Strict(array)

    def empty_static(self, shape: Any, dtype: Any) -> Strict:
        return Strict(np.full(shape, np.nan if np.dtype(dtype).kind == "f" else 1, dtype))

    def prefetcher(self) -> StrictPrefetcher:
        return StrictPrefetcher()

    def capture(self, work: Callable[[], Any]) -> tuple[Any, Callable[[], None]]:
        global _recording
        _recording = recording = Recording()
        try:
            with translate_capture_errors(), capturing() as memo:
                result = work()
        finally:
            _recording = None
            recording.forget()

        def launch() -> None:
            recording.launch()
            memo.invalidate()

        return result, launch


# What CuPy's functions take; an operand of any other kind may have a function of its own.
OPERANDS = (Strict, np.ndarray, np.generic, bool, int, float)


class StrictPrefetcher:
    """Arrays that arrive when they are taken, and no sooner."""

    def send(self, arrays: Any) -> None:
        _refuse_while_capturing("H2D transfers")
        self.arrays = [array.copy(order="K") for array in arrays]

    def take(self) -> list[Strict]:
        _refuse_while_capturing("H2D transfers")
        arrays = [Strict(array) for array in self.arrays]
        del self.arrays  # nobody takes them twice
        return arrays


@contextmanager
def strict_kernels(backend: str = "cpu", *, packed: bool = False) -> Iterator[None]:
    """Within the block there are kernels for Strict arrays: the CPU's, or those of "cuda".

    If `packed`, convolutions read a memoized copy of their weights, as those of "cuda" do on a GPU.
    """
    twin = kernels.twin

    def strict_twin(file: str, name: str, wanted: str) -> Any:
        if wanted != "strict":
            return twin(file, name, wanted)
        plain = twin(file, name, backend)

        def run(*args: Any, **kwargs: Any) -> Any:
            if backend == "cpu" and file in ("optim", "random"):  # numbers that lie on the GPU
                kwargs = {k: _number(v) for k, v in kwargs.items()}
            return plain(*args, **kwargs)

        def kernel(*args: Any, **kwargs: Any) -> Any:
            if packed and file == "conv" and name in WITH_WEIGHTS:
                copy = memoize(args[1], "packed", args[1].copy)
                args = (args[0], copy, *args[2:])
            written = {"optim": [args[0], *args[2:]], "random": args[:1]}.get(file, [])
            return _do(run, args, kwargs, _plain(written))

        return kernel

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(kernels.BACKENDS, "strict.Strict", "strict")
        patch.setattr(kernels, "twin", strict_twin)
        yield


def _number(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    return value.item() if _recording is None else 1  # no number is there yet
