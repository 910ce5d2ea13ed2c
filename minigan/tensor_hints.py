"""What a tensor is asked for that is done otherwise here: see `minigan.hints`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from .recording import is_recording

_GRAD = "gradients = minigan.grad(loss, net.parameters()), then optimizer.step(gradients)"
_EVERY = "every tensor can be differentiated, and minigan.grad(output, inputs) says by which"
_LAYOUT = "the kernels choose how an array is laid out in memory; leave it out"
_STEPS = "no gradient flows through it; take numpy.{name}(x.numpy())"
_PRECISION = "numbers are float32 or float64; a GPU's run multiplies as its --precision says"

# Attributes.
TENSOR: dict[str, str] = {
    "backward": f"gradients are a function's answer: {_GRAD}",
    "grad": f"gradients are kept nowhere: {_GRAD}",
    "requires_grad": f"{_EVERY}; to leave a parameter as it is, give its optimizer the others",
    "requires_grad_": f"{_EVERY}; to leave a parameter as it is, give its optimizer the others",
    "zero_grad": f"gradients are not added up, so there is nothing to reset: {_GRAD}",
    "retain_grad": "name the tensor among the inputs of minigan.grad(output, inputs)",
    "register_hook": "name the tensor among the inputs of minigan.grad(output, inputs)",
    "grad_fn": "x.node has the operation that computed x, and None if nothing did",
    "is_leaf": "x.node is None for a tensor that nothing computed",
    "values": "max and min give values alone; x.argmax(axis) and x.argmin(axis) say where",
    "indices": "max and min give values alone; x.argmax(axis) and x.argmin(axis) say where",
    "t": "a matrix is transposed by x.T, stacked ones by x.mT",
    "float": "say x.astype(numpy.float32); float(x) is the number of a tensor of one",
    "double": "say x.astype(numpy.float64)",
    "half": _PRECISION,
    "bfloat16": _PRECISION,
    "long": "integers have no gradient: take x.numpy().astype(numpy.int64)",
    "int": "integers have no gradient: take x.numpy().astype(numpy.int64); int(x) of one number",
    "bool": "take x.numpy().astype(bool), or compare, as x != 0",
    "type": "say x.astype(numpy.float32), or read x.dtype",
    "type_as": "say x.astype(other.dtype)",
    "contiguous": _LAYOUT,
    "is_contiguous": _LAYOUT,
    "stride": "x.data.strides has the strides in bytes, as in NumPy",
    "is_cuda": "say x.device == 'cuda'",
    "get_device": "x.device is 'cpu' or 'cuda'",
    "norm": "say minigan.sqrt(minigan.sum(x * x, axis))",
    "dot": "say x @ y",
    "mm": "say x @ y",
    "bmm": "say x @ y, which multiplies stacked matrices too",
    "mv": "say x @ y",
    "add": "say x + y",
    "sub": "say x - y",
    "mul": "say x * y",
    "div": "say x / y",
    "neg": "say -x",
    "eq": "say x == y, which is an array",
    "ne": "say x != y, which is an array",
    "gt": "say x > y, which is an array",
    "ge": "say x >= y, which is an array",
    "lt": "say x < y, which is an array",
    "le": "say x <= y, which is an array",
    "equal": "say numpy.array_equal(x.numpy(), y.numpy())",
    "allclose": "say numpy.allclose(x.numpy(), y.numpy())",
    "reciprocal": "say 1 / x",
    "rsqrt": "say 1 / minigan.sqrt(x)",
    "prod": "say minigan.exp(minigan.sum(minigan.log(x), axis)) of positive numbers",
    "expand": "say minigan.broadcast_to(x, shape)",
    "expand_as": "say minigan.broadcast_to(x, y.shape)",
    "repeat": "say minigan.concatenate([x] * n, axis), or minigan.broadcast_to(x, shape)",
    "tile": "say minigan.concatenate([x] * n, axis), or minigan.broadcast_to(x, shape)",
    "chunk": "take slices, as x[:n] and x[n:]",
    "split": "take slices, as x[:n] and x[n:]",
    "unbind": "go through it: list(x) has the parts along the first axis",
    "flip": "take a slice, as x[::-1] or x[:, ::-1]",
    "ravel": "say x.flatten()",
    "narrow": "take a slice, as x[start : start + n]",
    "select": "take an index, as x[:, i]",
    "index_select": "take an index array, as x[:, indices]",
    "gather": "take an index array for each axis, as x[numpy.arange(len(x)), labels]",
    "take": "take an index array, as x.reshape(-1)[indices]",
    "masked_fill": "say minigan.where(mask, value, x)",
    "masked_select": "take a mask as the index, as x[mask]",
    "where": "say minigan.where(condition, x, y)",
    "nonzero": "say numpy.nonzero(x.numpy())",
    "sort": "of a vector take x[numpy.argsort(x.numpy())], of the rows of a matrix "
    "x[numpy.arange(len(x))[:, None], numpy.argsort(x.numpy())]; a gradient flows through both",
    "topk": "of a vector take x[numpy.argsort(x.numpy())[::-1][:k]]; a gradient flows through it",
    "argsort": "say numpy.argsort(x.numpy())",
    **{
        name: _STEPS.format(name=name)
        for name in ("round", "floor", "ceil", "trunc", "sign", "isnan", "isinf", "isfinite")
    },
    "element_size": "say x.data.itemsize",
    "nelement": "say x.size",
    "ndimension": "say x.ndim",
    "new_zeros": "say minigan.zeros(shape, dtype=x.dtype)",
    "new_ones": "say minigan.ones(shape, dtype=x.dtype)",
    "fill": "a tensor cannot be written; say minigan.full(x.shape, value)",
}
# Methods that write.
_IN_PLACE = [
    f"{name}_"
    for name in (
        "abs", "add", "bernoulli", "ceil", "clamp", "clip", "copy", "cos", "div", "erf", "exp",
        "exponential", "fill", "floor", "log", "masked_fill", "mul", "neg", "normal", "pow",
        "random", "reciprocal", "relu", "round", "rsqrt", "scatter", "sigmoid", "sign", "sin",
        "sqrt", "squeeze", "sub", "t", "tanh", "transpose", "trunc", "uniform", "unsqueeze", "zero",
    )
]  # fmt: skip
_WRITTEN = (
    "it cannot be written in place; build a new one with where, pad or concatenate (a parameter "
    "begins as its layer's initializer makes it, as init=nn.init.normal(0.02), and is moved by an "
    "optimizer)"
)


def attributes(without: Iterable[str]) -> dict[str, str]:
    """All that a tensor is asked for in vain: what is in the table, and what else NumPy's arrays
    have, but for names `without`.
    """
    ways = {name: f"take x.numpy().{name}" for name in dir(np.ndarray) if name[0] != "_"}
    ways |= TENSOR | dict.fromkeys(_IN_PLACE, _WRITTEN)
    there = {*without}
    return {name: way for name, way in ways.items() if name not in there}


# Arguments of what makes a tensor.
CREATION: dict[str, str] = {
    "requires_grad": f"{_EVERY}; leave it out",
    "device": "say tensor.to(device) of the one that is made",
    "pin_memory": "leave it out",
}

# Arguments of minigan.grad.
GRAD: dict[str, str] = {
    "outputs": "say minigan.grad(output, inputs), which gives the gradient itself, in no tuple",
    "grad_outputs": "say grad_output=, of the output's shape",
    "retain_graph": "a graph is kept as long as a tensor refers to it; leave it out",
    "only_inputs": "only what leads to the inputs is computed; leave it out",
}


class Count(int):
    """The number of a tensor's elements: an int. Called, as in PyTorch, it says what to do."""

    __slots__ = ()

    def __call__(self, *axis: Any) -> Any:
        raise TypeError("x.size is the number of elements, as in NumPy; say x.shape or x.shape[0]")

    def __reduce__(self) -> Any:
        return int, (int(self),)


def refuse_tensors(data: Any, tensor: type) -> None:
    """Check that a new tensor is not made of tensors, whose gradients it would lose.

    Raises:
        TypeError: with the way that keeps them.
    """
    if isinstance(data, tensor):
        raise TypeError("Tensor(tensor) would cut the graph; for that say tensor.detach()")
    if (
        type(data) in (list, tuple)
        and is_recording()
        and any(isinstance(part, tensor) for part in data)
    ):
        raise TypeError(
            "Tensor(list of tensors) would cut the graph; minigan.stack(tensors) joins them, and "
            "x.numpy() is the array of one"
        )
