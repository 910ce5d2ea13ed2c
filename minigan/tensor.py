"""The engine: tensors, the graph behind them, and reverse-mode differentiation of any order.

Applying a primitive to tensors computes an array and remembers, in a `Node`, which primitive it was
and what it was given. `grad` walks those nodes backwards. The gradient rule of a primitive is
itself written with tensors, so a gradient that is recorded can be differentiated again.

A node keeps its output's array but never the output's `Tensor`, so a graph has no reference cycles.
It is freed, without the garbage collector, when the last tensor that refers to it is.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar

import numpy as np
from minigan_kernels.memo import LARGE, freeze_result

from .callsite import caller
from .device import Array as Array
from .device import on_host, to_host
from .methods import TensorMethods

Rule = Callable[..., "Tensor"]
Structure = TypeVar("Structure")


class GraphError(ValueError):
    """An operation or its gradient failed: which one, on what shapes, and where it was built."""


class Tensor(TensorMethods):
    """An array in a computation that can be differentiated.

    `data` is the array. Python numbers and lists become float32 (or int64, bool); arrays keep their
    dtype and are not copied. Only optimisers write tensors in place: their parameters. Those, and
    large results of operations, are read-only to NumPy.
    """

    __array_ufunc__ = None  # makes `array * tensor` call Tensor.__rmul__
    __hash__ = object.__hash__
    __slots__ = ("__weakref__", "data", "node")

    def __init__(self, data: Any, dtype: Any = None) -> None:
        if dtype is not None or type(data) is not np.ndarray:
            data = _array(data, dtype)
        self.data: Array = data
        self.node: Node | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def dtype(self) -> np.dtype:
        return self.data.dtype

    @property
    def ndim(self) -> int:
        return self.data.ndim

    @property
    def size(self) -> int:
        return self.data.size

    def detach(self) -> Tensor:
        """The same array without its history."""
        return Tensor(self.data)

    def item(self) -> float:
        """The number in a tensor of one element."""
        return self.data.item()

    def numpy(self) -> np.ndarray:
        """The array on the host: the tensor's own if it is there, else a copy."""
        return to_host(self.data)

    def __len__(self) -> int:
        return len(self.data)

    def __float__(self) -> float:
        return float(self.item())

    def __bool__(self) -> bool:
        return bool(self.data if on_host(self.data) else self.data.item())

    def __repr__(self) -> str:
        origin = f", from {self.node.primitive.name}" if self.node else ""
        values = np.array2string(self.numpy(), separator=", ", prefix="Tensor(", threshold=100)
        return f"Tensor({values}, {self.dtype}{origin})"


class Node:
    """One application of a primitive: what `grad` needs for its backward pass."""

    __slots__ = ("data", "inputs", "number", "options", "primitive", "residuals", "site")

    def __init__(
        self, primitive: Primitive, inputs: tuple[Tensor, ...], options: dict[str, Any], data: Array
    ) -> None:
        self.primitive = primitive
        self.inputs = inputs
        self.options = options
        self.data = data
        self.residuals: tuple[Any, ...] = ()
        self.number = next(_numbers)  # a node is younger than all of its inputs
        self.site = caller(2)  # above Primitive.__call__

    def output(self) -> Tensor:
        """The tensor that this application gave, with its history."""
        y = Tensor(self.data)
        y.node = self
        return y

    def __str__(self) -> str:
        code, line = self.site
        where = f"built at {code.co_filename}:{line} in {code.co_name}"
        return f"{_signature(self.primitive.name, self.inputs)}, {where}"


class _State(threading.local):
    recording = True


_state = _State()
_numbers = itertools.count()


@contextmanager
def _recording(recording: bool) -> Iterator[None]:
    before = _state.recording
    _state.recording = recording
    try:
        yield
    finally:
        _state.recording = before


def is_recording() -> bool:
    """Whether operations are remembered now."""
    return _state.recording


def no_grad() -> AbstractContextManager[None]:
    """Within this context, or the function it decorates, nothing is recorded."""
    return _recording(False)


def enable_grad() -> AbstractContextManager[None]:
    """Within this context, or the function it decorates, all is recorded, even inside `no_grad`."""
    return _recording(True)


PRIMITIVES: dict[str, Primitive] = {}


class Primitive:
    """A differentiable function: a kernel over arrays, and one gradient rule an argument."""

    gives_residuals = False  # whether the kernel gives (y, residuals) instead of y

    def __init__(self, kernel: Callable[..., Array], name: str, doc: str | None = None) -> None:
        self.kernel = kernel
        self.name = name
        self.__doc__ = doc
        self.rules: tuple[Rule | None, ...] = ()
        self.rule_of_each: Callable[..., Tensor] | None = None
        PRIMITIVES[name] = self  # again, if a notebook's cell is run twice

    def gradients(self, *rules: Rule | None) -> Primitive:
        """Set a rule an input: `rule(g, y, *inputs, **options)`, the gradient with respect to it.

        g is the gradient with respect to the output y. None: no gradient flows to that input,
        because the function is piecewise constant in it.
        """
        self.rules = rules
        return self

    def gradient_of_each(self, rule: Callable[..., Tensor]) -> Primitive:
        """Set one rule for all inputs: `rule(i, g, y, *inputs, **options)` is that of input i."""
        self.rule_of_each = rule
        return self

    def flows_to(self, position: int) -> bool:
        """Whether a gradient flows to the input at `position`."""
        try:
            return self.rule_of_each is not None or self.rules[position] is not None
        except IndexError:
            lacking = f"{self.name} has no gradient rule for argument {position}"
            raise GraphError(f"{lacking}; give it one with {self.name}.gradients") from None

    def __call__(self, *args: Any, **options: Any) -> Tensor:
        inputs = _tensors(args)
        arrays = [t.data for t in inputs]
        try:
            data = self.kernel(*arrays, **options)
        except (ValueError, TypeError, IndexError) as error:
            raise GraphError(f"{_signature(self.name, inputs)}: {error}") from error
        residuals: tuple[Any, ...] = ()
        if self.gives_residuals:
            data, residuals = data
        y = Tensor(data)
        if y.data.nbytes >= LARGE:
            freeze_result(y.data, arrays, self.kernel)
        if _state.recording:
            y.node = Node(self, inputs, options, y.data)
            y.node.residuals = residuals
        return y

    def backward(self, node: Node, g: Tensor, needed: list[int]) -> Iterable[Tensor]:
        """Gradients with respect to the inputs at the positions `needed`."""
        y = node.output()
        for i in needed:
            if self.rule_of_each is not None:
                yield self.rule_of_each(i, g, y, *node.inputs, **node.options)
            else:
                rule = self.rules[i]
                assert rule is not None
                yield rule(g, y, *node.inputs, **node.options)


def primitive(
    kernel: Callable[..., Array], name: str | None = None, *, doc: str | None = None
) -> Primitive:
    """A differentiable function from a kernel `(*arrays, **options) -> array`."""
    return Primitive(kernel, name or kernel.__name__, doc)


identity = primitive(lambda x: x, "identity").gradients(lambda g, y, x: g)


def grad(
    output: Tensor,
    inputs: Structure,
    *,
    grad_output: Tensor | Array | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> Structure:
    """Gradient of `output` with respect to `inputs`: a tensor, or a list, tuple or dict of tensors.

    The answer has the structure of `inputs` (a list for another iterable), each gradient the shape
    of its input. `output` must be a single number, unless `grad_output`, the gradient with respect
    to it, is given (an array takes the output's dtype). With `create_graph` the gradient is
    recorded and can be differentiated again. Only what leads from `inputs` to `output` is computed.

    Raises:
        GraphError: if an input has no influence on the output (`allow_unused` gives zeros instead),
            is no tensor, or has an integer dtype, which has no gradient; or if a rule fails. The
            message names the operation, its shapes and where it was built.
    """
    if isinstance(inputs, Mapping):
        names, wanted = list(inputs), list(inputs.values())
    else:
        wanted = [inputs] if isinstance(inputs, Tensor) else list(inputs)  # type: ignore[call-overload]
        names = list(range(len(wanted)))
    _differentiable(output, "the output")
    for name, tensor in zip(names, wanted, strict=True):
        _differentiable(tensor, "input", name)
    if grad_output is None:
        if output.size != 1:
            raise GraphError(f"output of shape {output.shape} needs grad_output; or take its mean")
        grad_output = Tensor(np.ones_like(output.data))
    elif not isinstance(grad_output, Tensor):
        grad_output = Tensor(grad_output, output.dtype)
    _differentiable(grad_output, "grad_output")
    if grad_output.shape != output.shape:
        raise GraphError(f"grad_output is {grad_output.shape}, but the output is {output.shape}")
    found = _backward(output, wanted, grad_output, create_graph)
    gradients = []
    for name, tensor, g in zip(names, wanted, found, strict=True):
        if g is None and not allow_unused:
            raise GraphError(
                f"input {name!r} of shape {tensor.shape} has no influence on the output"
                f"{f' of {output.node}' if output.node else ', which nothing computed'}"
            )
        gradients.append(Tensor(np.zeros_like(tensor.data)) if g is None else g)
    if isinstance(inputs, Tensor):
        return gradients[0]  # type: ignore[return-value]
    if isinstance(inputs, Mapping):
        return dict(zip(names, gradients, strict=True))  # type: ignore[return-value]
    return (tuple if isinstance(inputs, tuple) else list)(gradients)  # type: ignore[return-value]


def _differentiable(value: Any, what: str, *name: object) -> None:
    if isinstance(value, Tensor) and value.dtype.kind == "f":
        return
    what = " ".join([what, *map(repr, name)])
    if not isinstance(value, Tensor):
        raise GraphError(f"{what} is of type {type(value).__name__}, and no Tensor")
    raise GraphError(
        f"{what} of shape {value.shape} is {value.dtype}, which has no gradient; build it of "
        "floating-point values, such as Tensor(data, numpy.float32)"
    )


def _backward(
    output: Tensor, wanted: Sequence[Tensor], grad_output: Tensor, create_graph: bool
) -> list[Tensor | None]:
    gradients = {_key(output): grad_output}
    keep = {_key(t) for t in wanted}
    with _recording(create_graph):
        for node, needed in _path(output, keep):
            if id(node) not in gradients:  # no gradient flows to this value
                continue
            g = gradients[id(node)] if id(node) in keep else gradients.pop(id(node))
            try:
                for i, part in zip(needed, node.primitive.backward(node, g, needed), strict=True):
                    if part.shape != node.inputs[i].shape:
                        raise ValueError(f"it is {part.shape} for argument {i}")
                    key = _key(node.inputs[i])
                    gradients[key] = gradients[key] + part if key in gradients else part
            except MemoryError:  # the caller that knows the batch says how much would fit
                raise
            except Exception as error:
                raise GraphError(f"the gradient of {node} failed: {error}") from error
    return [gradients.get(_key(t)) for t in wanted]


def history(tensor: Tensor) -> list[Node]:
    """All nodes that `tensor` was computed through, oldest first."""
    found: dict[int, Node] = {}
    stack = [tensor.node]  # no recursion: a graph may be a million nodes deep
    while stack:
        node = stack.pop()
        if node is not None and id(node) not in found:
            found[id(node)] = node
            stack.extend([t.node for t in node.inputs])
    return sorted(found.values(), key=lambda node: node.number)


def _path(output: Tensor, wanted: set[int]) -> list[tuple[Node, list[int]]]:
    """Nodes from `output` back to the wanted tensors, each with the inputs on the path."""
    useful, path = set(wanted), []
    for node in history(output):
        flows = node.primitive.flows_to
        needed = [i for i, t in enumerate(node.inputs) if _key(t) in useful and flows(i)]
        if needed:
            useful.add(id(node))
            path.append((node, needed))
    return path[::-1]


def _key(tensor: Tensor) -> int:
    """Identity of a value: of the node that computed it, or of a tensor that has none."""
    return id(tensor.node or tensor)


def _tensors(args: tuple[Any, ...]) -> tuple[Tensor, ...]:
    """Arguments as tensors; a Python number takes the dtype of the other argument, as in NumPy."""
    arrays = [a.data for a in args if isinstance(a, Tensor)]
    return args if len(arrays) == len(args) else tuple([_tensor(a, arrays) for a in args])


def _tensor(value: Any, arrays: list[Array]) -> Tensor:
    if isinstance(value, Tensor):
        return value
    if arrays and isinstance(value, (bool, int, float)):
        like = None if on_host(arrays[0]) else arrays[0]
        value = np.asarray(value, np.result_type(arrays[0].dtype, value), like=like)
    return Tensor(value)


def _array(data: Any, dtype: Any) -> Array:
    """The array of a tensor that is made from `data`, which is no plain NumPy array."""
    if isinstance(data, Tensor):
        raise TypeError("Tensor(tensor) would cut the graph; for that say tensor.detach()")
    if not on_host(data):
        return data if dtype is None else data.astype(dtype, copy=False)
    if dtype is None and not hasattr(data, "dtype"):
        data = np.asarray(data)
        dtype = np.float32 if data.dtype == np.float64 else None
    return np.asarray(data, dtype)


def _signature(name: str, inputs: tuple[Tensor, ...]) -> str:
    return f"{name} of {' and '.join(str(t.shape) for t in inputs)}"
