"""The engine: tensors, the graph behind them, and reverse-mode differentiation of any order.

Applying a primitive to tensors computes an array and remembers, in a `Node`, which primitive it was
and what it was given. `grad` walks those nodes backwards. The gradient rule of a primitive is
itself written with tensors, so a gradient that is recorded can be differentiated again.

A node keeps its output's array but never the output's `Tensor`, so a graph has no reference cycles.
It is freed, without the garbage collector, when the last tensor that refers to it is.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
from minigan_kernels.memo import freeze
from numpy import ndarray

from .arrays import FLOAT32, Check, check_result, freeze_new, own, own_beside
from .callsite import caller
from .device import Array as Array
from .device import is_array, on_host
from .hints import also
from .methods import TensorMethods
from .recording import Recording
from .recording import enable_grad as enable_grad
from .recording import is_recording as is_recording
from .recording import no_grad as no_grad
from .signatures import applied, misfit
from .tensor_hints import CREATION, GRAD, Count, refuse_tensors

Kernel = Callable[..., Array]
Rule = Callable[..., "Tensor"]
Structure = TypeVar("Structure")


class GraphError(ValueError):
    """An operation or its gradient failed: which one, on what shapes, and where it was built.

    >>> issubclass(mg.GraphError, ValueError)
    True
    """


class Tensor(TensorMethods):
    """An array in a computation that can be differentiated.

    `data` is the array. Python numbers and lists become float32 (or int64, bool); arrays keep their
    dtype. A tensor owns its array: a given one is copied, unless it is read-only.

    Results of operations, and all tensors that a recorded operation has used, are read-only to
    NumPy. Only optimisers write them in place: their parameters; other code, and whoever writes on
    a GPU, where CuPy does not refuse, does so within `minigan_kernels.memo.writable`.

    >>> x = mg.Tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> (x @ x).sum().item(), x.shape
    (54.0, (2, 2))
    """

    __slots__ = ("__weakref__", "data", "node")

    @also(**CREATION)
    def __init__(self, data: Any, dtype: Any = None) -> None:
        if isinstance(data, (Tensor, list, tuple)):
            refuse_tensors(data, Tensor)
        self.data: Array = own(data, dtype)
        self.node: Node | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of each axis."""
        return self.data.shape

    @property
    def dtype(self) -> np.dtype:
        """The type of the elements, NumPy's."""
        return self.data.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.data.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return Count(self.data.size)

    def detach(self) -> Tensor:
        """The same array without its history."""
        return adopt(self.data)


def adopt(array: Array) -> Tensor:
    """The tensor of an array that nobody else writes, without a copy."""
    tensor = object.__new__(Tensor)
    tensor.data = array
    tensor.node = None
    return tensor


class Node:
    """One application of a primitive: what `grad` needs for its backward pass."""

    __slots__ = ("data", "inputs", "number", "options", "primitive", "residuals", "site")

    def __init__(
        self,
        primitive: Primitive,
        inputs: tuple[Tensor, ...],
        options: dict[str, Any],
        data: Array,
        residuals: tuple[Any, ...],
    ) -> None:
        self.primitive = primitive
        self.inputs = inputs
        self.options = options
        self.data = data
        self.residuals = residuals
        self.number = next(_numbers)  # a node is younger than all of its inputs
        self.site = caller(2)  # above Primitive.__call__

    def output(self) -> Tensor:
        """The tensor that this application gave, with its history."""
        y = adopt(self.data)
        y.node = self
        return y

    def __str__(self) -> str:
        code, line = self.site
        where = f"built at {code.co_filename}:{line} in {code.co_name}"
        return f"{applied(self.primitive, self.inputs)}, {where}"


_numbers = itertools.count()


PRIMITIVES: dict[str, Primitive] = {}


class Primitive:
    """A differentiable function: a kernel over arrays, and one gradient rule an argument."""

    gives_residuals = False  # whether the kernel gives (y, residuals) instead of y

    def __init__(
        self, kernel: Kernel, name: str, doc: str | None = None, check: Check | None = None
    ) -> None:
        self.kernel = kernel
        self.name = self.shown = self.__name__ = name  # shown: in messages, the public function's
        self.check = check or partial(check_result, kernel)
        # The number of inputs of a ufunc, which would write to one beyond them; others refuse it.
        self.nin = kernel.nin if isinstance(kernel, np.ufunc) else 0
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
        recording, arrays, plain = is_recording(), [], True
        for t in args:  # one loop, and no comprehension: it costs as much as a small operation
            if not isinstance(t, Tensor):
                return self(*tensors(*args), **options)
            array = t.data
            arrays.append(array)
            if array.dtype is not FLOAT32:
                plain = False
            if recording and t.node is None and type(array) is ndarray and array.flags.writeable:
                freeze(array)
        if recording and options:
            for key, value in options.items():
                if type(value) is ndarray and value.flags.writeable:
                    options[key] = own(value)
        residuals = ()
        try:
            if self.nin and (options or len(args) != self.nin):
                raise TypeError("these arguments do not fit")  # `misfit` says which
            if not plain:
                arrays = self.check(arrays, options)
                pairs = zip(args, arrays, strict=True)
                args = tuple([t if t.data is a else _converted(t, a) for t, a in pairs])
            data = self.kernel(*arrays, **options)
        except (ValueError, TypeError, IndexError) as error:
            raise GraphError(misfit(self, args, options, error)) from error
        if self.gives_residuals:
            data, residuals = data
        if type(data) is not ndarray and on_host(data):
            data = np.asarray(data)
        freeze_new(data, arrays, self.kernel)
        y = adopt(data)
        if recording:
            y.node = Node(self, args, options, data, residuals)
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
    kernel: Kernel, name: str | None = None, *, doc: str | None = None, check: Check | None = None
) -> Primitive:
    """A differentiable function from a kernel `(*arrays, **options) -> array`.

    Integers become floats of the other arrays' dtype, or float32, where NumPy's answer is a float.
    `check`, from `minigan.arrays`, is for kernels that want floats, or arrays of one dtype.

    >>> double = mg.primitive(lambda x: 2 * x, "double").gradients(lambda g, y, x: 2 * g)
    >>> x = mg.Tensor([1.0, 2.0])
    >>> mg.grad(double(x).sum(), x).numpy()
    array([2., 2.], dtype=float32)
    """
    return Primitive(kernel, name or kernel.__name__, doc, check)


identity = primitive(lambda x: x, "identity").gradients(lambda g, y, x: g)
astype = primitive(lambda x, *, dtype: x.astype(dtype), "astype")
astype.gradients(lambda g, y, x, dtype: astype(g, dtype=x.dtype))


def _converted(t: Tensor, array: Array) -> Tensor:
    """t in the dtype of `array`, its values: floats pass a gradient on, integers have none."""
    return astype(t, dtype=array.dtype) if t.dtype.kind == "f" else adopt(array)


@also(**GRAD)
def grad(
    output: Tensor,
    inputs: Structure,
    *,
    grad_output: Tensor | Array | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> Structure:
    """Gradient of `output` with respect to `inputs`: a tensor, a list, tuple or dict, or a module.

    The answer has the structure of `inputs` (a list for another iterable), each gradient the shape
    of its input. `output` must be a single number, unless `grad_output`, the gradient with respect
    to it, is given (an array takes the output's dtype). With `create_graph` the gradient is
    recorded and can be differentiated again. Only what leads from `inputs` to `output` is computed.

    Raises:
        GraphError: if an input has no influence on the output (`allow_unused` gives zeros instead),
            is no tensor, or is of integers, which have no gradient; or if a rule fails. The message
            names the operation, its shapes and where it was built.

    >>> x = mg.Tensor(3.0)
    >>> mg.grad(x * x, x).item()
    6.0
    """
    if hasattr(inputs, "parameters"):
        inputs = inputs.parameters()
    if isinstance(inputs, Mapping):
        names, wanted = list(inputs.keys()), list(inputs.values())
    else:
        wanted = [inputs] if isinstance(inputs, Tensor) else list(inputs)  # type: ignore[call-overload]
        names = list(range(len(wanted)))
    _differentiable(output, "the output")
    for name, tensor in zip(names, wanted, strict=True):
        _differentiable(tensor, "input", name)
    if grad_output is None:
        if output.size != 1:
            raise GraphError(f"output of shape {output.shape} needs grad_output; or take its mean")
        grad_output = adopt(np.ones_like(output.data))
    elif not isinstance(grad_output, Tensor):
        grad_output = Tensor(grad_output, output.dtype)
    _differentiable(grad_output, "grad_output")
    for given, wants in ((grad_output.shape, output.shape), (grad_output.dtype, output.dtype)):
        if given != wants:
            raise GraphError(f"grad_output is {given}, but the output is {wants}")
    found = _backward(output, wanted, grad_output, create_graph)
    gradients = []
    for name, tensor, g in zip(names, wanted, found, strict=True):
        if g is None and not allow_unused:
            by = f"of {output.node}" if output.node else "that nothing computed"
            what = f"input {name!r} of shape {tensor.shape} has no influence on the output {by}"
            raise GraphError(f"{what}; allow_unused=True gives zeros for it")
        gradients.append(adopt(np.zeros_like(tensor.data)) if g is None else g)
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
        raise GraphError(
            f"{what} is of type {type(value).__name__}, and no Tensor; compute the output from "
            "Tensor(data), and name that tensor"
        )
    raise GraphError(
        f"{what} of shape {value.shape} is {value.dtype}, which has no gradient; build it of "
        "floating-point values, such as Tensor(data, numpy.float32)"
    )


def _backward(
    output: Tensor, wanted: Sequence[Tensor], grad_output: Tensor, create_graph: bool
) -> list[Tensor | None]:
    # The identity of a value is that of the node that computed it, or of a tensor that has none.
    gradients = {id(output.node or output): grad_output}
    keep = {id(t.node or t) for t in wanted}
    with Recording(create_graph):
        for node, needed in _path(output, keep):
            if id(node) not in gradients:  # no gradient flows to this value
                continue
            g = gradients[id(node)] if id(node) in keep else gradients.pop(id(node))
            try:
                for i, part in zip(needed, node.primitive.backward(node, g, needed), strict=True):
                    x = node.inputs[i]
                    if part.data.shape != x.data.shape:
                        raise ValueError(f"it is {part.shape} for argument {i}")
                    if part.data.dtype != x.data.dtype:  # as of float32 beside float64
                        part = astype(part, dtype=x.dtype)
                    key = id(x.node or x)
                    gradients[key] = gradients[key] + part if key in gradients else part
            except MemoryError:  # the caller that knows the batch says how much would fit
                raise
            except Exception as error:
                raise GraphError(f"the gradient of {node} failed: {error}") from error
    return [gradients.get(id(t.node or t)) for t in wanted]


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
        needed = [i for i, t in enumerate(node.inputs) if id(t.node or t) in useful and flows(i)]
        if needed:
            useful.add(id(node))
            path.append((node, needed))
    return path[::-1]


def tensors(*args: Any) -> tuple[Tensor, ...]:
    """Arguments as tensors: numbers and arrays take the dtype of the tensors beside them."""
    beside = [a.data for a in args if isinstance(a, Tensor)]
    beside = beside or [a for a in args if is_array(a) and a.ndim]
    return tuple([a if isinstance(a, Tensor) else adopt(own_beside(a, beside)) for a in args])
