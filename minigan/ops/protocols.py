"""What Python and NumPy ask of a tensor: conversions to numbers and text, copies, functions."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from ..device import HOST, Device, device_name, on_host, to_host
from ..hints import completed
from ..signatures import plain, signature_of
from ..tensor import PRIMITIVES, Array, Node, Primitive, Tensor, adopt, is_recording
from ..tensor import astype as astype_p
from .elementwise import astype
from .hints import FUNCTIONS
from .linalg import matmul

OWN: set[str] = set()  # names of minigan's own functions, which `minigan.ops` fills in
BY_UFUNC: dict[Any, Primitive] = {}  # the primitives of minigan.ops that are NumPy's functions
_OWN_NAMES = {  # of functions that NumPy calls otherwise
    "amax": "max", "amin": "min", "concat": "concatenate", "dot": "matmul", "hstack": "concatenate",
    "linalg.matmul": "matmul", "permute_dims": "transpose", "ravel": "reshape",
    "vdot": "matmul", "vstack": "concatenate",
}  # fmt: skip
_METADATA = (np.shape, np.ndim, np.size)
_COMPARISONS: dict[Any, Callable[[Any, Any], Any]] = {
    np.equal: operator.eq,
    np.not_equal: operator.ne,
    np.less: operator.lt,
    np.less_equal: operator.le,
    np.greater: operator.gt,
    np.greater_equal: operator.ge,
}


# --- Numbers and text ------------------------------------------------------------------------


def item(x: Tensor) -> float:
    """The number in a tensor of one element."""
    return x.data.item()


def numpy(x: Tensor) -> np.ndarray:
    """The array on the host, read-only; of one on a GPU a copy. To write it: `numpy().copy()`."""
    array = to_host(x.data).view()
    array.setflags(write=False)
    return array


def number(x: Tensor) -> Any:
    """The one number of a tensor.

    Raises:
        TypeError: if it has more or none.
    """
    if x.size != 1:
        raise TypeError(f"a tensor of shape {x.shape} is not one number; take x.numpy(), or a mean")
    return x.item()


def _index(x: Tensor) -> int:
    if x.dtype.kind not in "iu" or x.ndim:
        raise TypeError(f"a tensor of shape {x.shape} and dtype {x.dtype} is no integer")
    return int(x.item())


def _format(x: Tensor, spec: str) -> str:
    return format(number(x), spec) if spec else str(x)


def _true(x: Tensor) -> bool:
    if x.data.size != 1:
        raise ValueError(
            f"a tensor of shape {x.shape} is neither true nor false; ask for x.any() or x.all(), "
            "or len(x)"
        )
    return bool(x.data.item())


def _repr(x: Tensor) -> str:
    origin = f", from {x.node.primitive.shown}" if x.node else ""
    values = np.array2string(x.numpy(), separator=", ", prefix="Tensor(", threshold=100)
    return f"Tensor({values}, {x.dtype}{origin})"


def _tolist(x: Tensor) -> Any:
    """The values as Python's numbers, in lists as deep as x has axes."""
    return to_host(x.data).tolist()


def _numel(x: Tensor) -> int:
    """The number of elements: `x.size`."""
    return int(x.data.size)


def _dim(x: Tensor) -> int:
    """The number of axes: `x.ndim`."""
    return x.data.ndim


# --- Devices ---------------------------------------------------------------------------------


def _device(x: Tensor) -> str:
    """Where the array is: "cpu", or "cuda" for a GPU."""
    return HOST.name if on_host(x.data) else "cuda"


def _to(x: Tensor, target: Any = None, *, device: Any = None, dtype: Any = None) -> Tensor:
    """x on a device, "cpu" or "cuda", or in a floating-point dtype; x itself if it is so already.

    Raises:
        TypeError: if x is computed and the device another, to which no gradient can follow.
        UserError: if there is no such device.
    """
    if isinstance(target, Device) or (isinstance(target, str) and device_name(target)):
        device = target
    elif target is not None:
        dtype = target
    x = x if dtype is None else astype(x, dtype)
    if device is None:
        return x
    name = device.name if isinstance(device, Device) else device_name(device) or device
    if name == _device(x):
        return x
    if x.node is not None and is_recording():
        raise TypeError(
            f"no gradient follows a tensor from device to device; say x.detach().to({name!r}), or "
            "move what it is computed from"
        )
    if name == HOST.name:
        return adopt(to_host(x.data))
    if not isinstance(device, Device):
        from ..device import cuda

        device = cuda.device(name)
    return adopt(device.put(x.data))


def _cpu(x: Tensor) -> Tensor:
    """`x.to("cpu")`."""
    return _to(x, HOST.name)


def _cuda(x: Tensor) -> Tensor:
    """`x.to("cuda")`."""
    return _to(x, "cuda")


# --- Copies ----------------------------------------------------------------------------------


def _reduce(x: Tensor) -> tuple[Any, ...]:
    """For pickle and `copy.deepcopy`: the values without the history, in their order in memory."""
    order = sorted(range(x.ndim), key=lambda axis: -x.data.strides[axis])
    return _restored, (type(x), x.data.transpose(order), np.argsort(order).tolist())


def _restored(kind: type[Tensor], array: Array, order: list[int]) -> Tensor:
    array = array.transpose(order)
    return adopt(array) if kind is Tensor else kind(array)


def _copy(x: Tensor) -> Tensor:
    """For `copy.copy`: the same value, with its history."""
    return x.node.output() if x.node else x.detach()


def _clone(x: Tensor) -> Tensor:
    """A copy of the values, which nobody writes, with a gradient to x."""
    return astype_p(x, dtype=x.dtype)


def _refuse_to_pickle(node: Node) -> Any:
    raise TypeError(
        f"the history of a tensor cannot be pickled or copied, here {node}; pickle the tensor, of "
        "which only the values are kept"
    )


def _reduce_primitive(p: Primitive) -> tuple[Any, ...]:
    if PRIMITIVES.get(p.name) is not p:
        raise TypeError(f"{p.name} cannot be pickled: another primitive has taken its name")
    return _named, (p.name,)


def _named(name: str) -> Primitive:
    if name not in PRIMITIVES:
        raise TypeError(f"the primitive {name} is not known here; import the file that makes it")
    return PRIMITIVES[name]


# --- NumPy's functions -----------------------------------------------------------------------


def _as_numpy(x: Tensor, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
    """For `numpy.asarray`: a NumPy function would lose the gradient of what is recorded."""
    if is_recording():
        raise TypeError(
            "NumPy knows no gradients: say x.numpy() for the array of a tensor, or take minigan's "
            "own function, such as minigan.stack; within no_grad a tensor becomes an array by "
            "itself"
        )
    return np.array(x.numpy(), dtype, copy=copy)


def _ufunc(x: Tensor, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
    """NumPy's function of each value: the primitive that computes by it, or a comparison.

    So an operator between an array and a tensor gives what the tensor's own operator gives.
    """
    if method == "__call__" and not options:
        if ufunc is np.matmul:  # of vectors too
            return matmul(*inputs)
        if p := BY_UFUNC.get(ufunc):
            return p(*inputs)
        if compare := _COMPARISONS.get(ufunc):
            a, b = inputs
            return compare(*(t.data if isinstance(t, Tensor) else t for t in (a, b)))
    name = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
    function = ufunc if method == "__call__" else getattr(ufunc, method)
    return _without_gradient(name, function, inputs, options)


class _OfType:
    """NumPy takes `__array_ufunc__` from a tensor's type. CuPy asks the tensor itself: None leaves
    an operator between its array and a tensor to the tensor.
    """

    def __get__(self, instance: Tensor | None, owner: type[Tensor]) -> Any:
        return _ufunc if instance is None else None


def _function(x: Tensor, function: Any, types: Any, inputs: Any, options: Any) -> Any:
    """Any other function of NumPy."""
    name = function.__module__.partition(".")[2]
    name = f"{name}.{function.__name__}" if name else function.__name__
    if function in _METADATA:
        return function(*_arrays(inputs), **_arrays(options))
    return _without_gradient(name, function, inputs, options)


def _without_gradient(
    name: str, function: Callable[..., Any], inputs: Any, options: dict[str, Any]
) -> Any:
    if not is_recording():
        return function(*_arrays(inputs), **_arrays(options))
    own = _OWN_NAMES.get(name, name)
    way = "take a composition of minigan's functions"
    if own in OWN:
        way = f"take minigan.{own}"
    elif (hint := FUNCTIONS.get(name.rpartition(".")[2], "")).startswith(("say", "take")):
        way = hint
    raise TypeError(
        f"numpy.{name} knows no gradients: {way}, or x.numpy() for the array of a tensor; "
        "within no_grad a tensor becomes an array by itself"
    )


def _arrays(value: Any) -> Any:
    """`value` with an array in place of each tensor in it."""
    if isinstance(value, Tensor):
        return value.numpy() if on_host(value.data) else value.data
    if isinstance(value, (list, tuple)):
        return type(value)(map(_arrays, value))
    if isinstance(value, dict):
        return {key: _arrays(part) for key, part in value.items()}
    return value


class _Signature:
    """For `inspect.signature` and `help`: the true arguments of a primitive."""

    def __get__(self, instance: Primitive | None, owner: type[Primitive]) -> Any:
        if instance is None:
            raise AttributeError("__signature__")  # then Python reads that of the class
        try:
            return signature_of(instance)
        except ValueError as error:
            raise AttributeError(str(error)) from None


def _repr_primitive(p: Primitive) -> str:
    """As <minigan.exp(x)>."""
    try:
        arguments = plain(signature_of(p))
    except ValueError:
        arguments = "(...)"
    module = vars(p).get("__module__") or getattr(p.kernel, "__module__", "")
    return f"<{module}.{p.shown}{arguments}>"


METHODS: dict[str, Any] = {
    "__dir__": completed,
    "item": item,
    "numpy": numpy,
    "tolist": _tolist,
    "numel": _numel,
    "dim": _dim,
    "device": property(_device),
    "to": _to,
    "cpu": _cpu,
    "cuda": _cuda,
    "clone": _clone,
    "copy": _clone,
    "__len__": lambda x: len(x.data),
    "__bool__": _true,
    "__float__": lambda x: float(number(x)),
    "__int__": lambda x: int(number(x)),
    "__trunc__": lambda x: int(number(x)),
    "__complex__": lambda x: complex(number(x)),
    "__index__": _index,
    "__round__": lambda x, digits=None: round(number(x), digits),
    "__format__": _format,
    "__repr__": _repr,
    "__reduce__": _reduce,
    "__copy__": _copy,
    "__array__": _as_numpy,
    "__array_ufunc__": _OfType(),
    "__array_function__": _function,
}
Node.__reduce__ = _refuse_to_pickle  # type: ignore[method-assign, assignment]
Primitive.__reduce__ = _reduce_primitive  # type: ignore[method-assign, assignment]
Primitive.__signature__ = _Signature()  # type: ignore[attr-defined]
Primitive.__repr__ = _repr_primitive  # type: ignore[method-assign, assignment]
Primitive.__deepcopy__ = lambda p, memo: p  # type: ignore[attr-defined]
