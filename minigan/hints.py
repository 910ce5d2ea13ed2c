"""How it is done here: what people of other libraries try, by another name or in one sentence.

The tables are read when a name is missing, or an argument unknown, so they cost nothing before.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, TypeVar

import numpy as np

from .recording import is_recording

_F = TypeVar("_F", bound=Callable[..., Any])

_GRAD = "gradients = minigan.grad(loss, net.parameters()), then optimizer.step(gradients)"
_EVERY = "every tensor can be differentiated, and minigan.grad(output, inputs) says by which"
_LAYOUT = "the kernels choose how an array is laid out in memory; leave it out"
_STEPS = "no gradient flows through it; take numpy.{name}(x.numpy())"
_PRECISION = "numbers are float32 or float64; a GPU's run multiplies as its --precision says"

# Of a tensor's attributes that there are not.
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
    "values": "max, min and sort give values alone; x.argmax(axis) and x.argmin(axis) say where",
    "indices": "max, min and sort give values alone; x.argmax(axis) and x.argmin(axis) say where",
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
    "sort": "take x[numpy.argsort(x.numpy())], through which a gradient flows",
    "topk": "take x[numpy.argsort(x.numpy())[-k:]], through which a gradient flows",
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

_SEED = "there is no global seed: rng = minigan.Generator(seed) is given to what draws, as rng=rng"
_DRAW = "draw with a generator of your own: rng = minigan.Generator(0), then "

# Of minigan's own attributes that there are not.
MINIGAN: dict[str, str] = {
    "manual_seed": _SEED,
    "seed": _SEED,
    "randn": f"{_DRAW}minigan.Tensor(rng.normal(shape))",
    "rand": f"{_DRAW}minigan.Tensor(rng.uniform(shape))",
    "randint": f"{_DRAW}minigan.Tensor(rng.integers(shape, high))",
    "randperm": f"{_DRAW}numpy.argsort(rng.uniform(n))",
    "normal": f"{_DRAW}minigan.Tensor(rng.normal(shape, mean=0, std=1))",
    "bernoulli": f"{_DRAW}rng.uniform(shape) < p",
    "randn_like": f"{_DRAW}minigan.Tensor(rng.normal(x.shape))",
    "rand_like": f"{_DRAW}minigan.Tensor(rng.uniform(x.shape))",
    "jit": "operations run as they are called, by kernels that are compiled already: leave it out",
    "compile": (
        "operations run as they are called, by kernels that are compiled already: leave it out"
    ),
    "vmap": "write the function for a whole batch: the first axis is that of the samples",
    "value_and_grad": "loss = f(x), then minigan.grad(loss, x), which keeps x's structure",
    "backward": f"gradients are a function's answer: {_GRAD}",
    "autograd": "gradients are minigan.grad(output, inputs)",
    "inference_mode": "say minigan.no_grad()",
    "set_grad_enabled": "say minigan.no_grad() or minigan.enable_grad()",
    "is_grad_enabled": "say minigan.recording.is_recording()",
    "from_numpy": "say minigan.Tensor(array)",
    "as_tensor": "say minigan.Tensor(data)",
    "array": "say minigan.Tensor(data)",
    "asarray": "say minigan.Tensor(data)",
    "is_tensor": "say isinstance(x, minigan.Tensor)",
    "set_num_threads": "say numba.set_num_threads(n), or set NUMBA_NUM_THREADS before the start",
    "get_num_threads": "say numba.get_num_threads()",
    "set_default_dtype": "numbers become float32; give a dtype, or net.astype(numpy.float64)",
    "use_deterministic_algorithms": "results are the same bytes each time on a CPU; a GPU's run "
    "says so with --deterministic",
    "interpolate": "say minigan.upsample_nearest(x, factor)",
    "functional": "its functions are minigan's own, as minigan.relu(x), and minigan.losses",
    "utils": "what is in torch.utils is in minigan.data and minigan.optim",
    "cuda": "net.to('cuda') moves a network; `minigan doctor` says whether there is a GPU",
    "mm": "say a @ b",
    "bmm": "say a @ b, which multiplies stacked matrices too",
    "dot": "say a @ b",
    "outer": "say minigan.einsum('i,j->ij', a, b)",
    "norm": "say minigan.sqrt(minigan.sum(x * x, axis))",
    "hstack": "say minigan.concatenate(tensors, axis=1)",
    "vstack": "say minigan.concatenate(tensors, axis=0)",
    "Parameter": "say minigan.nn.Parameter(data)",
    "DataLoader": "say minigan.data.Batches(minigan.data.Dataset(name, images), size, seed=0)",
    **{
        name: TENSOR[name]
        for name in (
            "prod", "repeat", "tile", "chunk", "split", "unbind", "flip", "gather", "take", "sort",
            "topk", "argsort", "masked_select", "index_select", "round", "floor", "ceil", "trunc",
            "sign", "isnan", "isfinite", "isinf", "equal", "allclose", "nonzero", "rsqrt",
            "reciprocal",
        )
    },
}  # fmt: skip

# Of a minigan.Generator.
_NORMAL, _UNIFORM = "say rng.normal(shape)", "say rng.uniform(shape)"
GENERATOR: dict[str, str] = {
    "standard_normal": _NORMAL,
    "randn": _NORMAL,
    "normal_": _NORMAL,
    "random": _UNIFORM,
    "rand": _UNIFORM,
    "uniform_": _UNIFORM,
    "randint": "say rng.integers(shape, high), from 0 to high - 1",
    "choice": "take an index array, as x[rng.integers(n, len(x))]",
    "permutation": "say numpy.argsort(rng.uniform(n))",
    "shuffle": "take an index array, as x[numpy.argsort(rng.uniform(len(x)))]",
    "bernoulli": "say rng.uniform(shape) < p",
    "manual_seed": "build another: minigan.Generator(seed)",
    "seed": "build another: minigan.Generator(seed); rng.state has what makes it go on from here",
    "get_state": "read rng.state",
    "set_state": "set rng.state",
}

# Of minigan.losses.
_MSE = "say minigan.mean(minigan.square(prediction - target))"
_L1 = "say minigan.mean(minigan.abs(prediction - target))"
_LOGITS = "losses take logits: say losses.binary_cross_entropy_with_logits(logits, target)"
LOSSES: dict[str, str] = {
    "bce": _LOGITS,
    "bce_with_logits": _LOGITS,
    "BCELoss": _LOGITS,
    "BCEWithLogitsLoss": _LOGITS,
    "cross_entropy": "say losses.softmax_cross_entropy(logits, labels)",
    "nll_loss": "say losses.softmax_cross_entropy(logits, labels)",
    "CrossEntropyLoss": "say losses.softmax_cross_entropy(logits, labels)",
    "mse_loss": _MSE,
    "MSELoss": _MSE,
    "l1_loss": _L1,
    "L1Loss": _L1,
    "gradient_penalty": "it is minigan.penalties.gradient_penalty",
    "r1_penalty": "it is minigan.penalties.r1_penalty",
}

# Of the arguments of what makes a tensor.
CREATION: dict[str, str] = {
    "requires_grad": f"{_EVERY}; leave it out",
    "device": "say tensor.to(device) of the one that is made",
    "pin_memory": "leave it out",
}

# Of the arguments of minigan.grad.
GRAD: dict[str, str] = {
    "outputs": "say minigan.grad(output, inputs), which gives the gradient itself, in no tuple",
    "grad_outputs": "say grad_output=, of the output's shape",
    "retain_graph": "a graph is kept as long as a tensor refers to it; leave it out",
    "only_inputs": "only what leads to the inputs is computed; leave it out",
}


# --- Attributes ------------------------------------------------------------------------------


def missing(owner: str, name: str, sentence: str) -> AttributeError:
    """The error of an attribute that there is not, with how it is done here."""
    # Without an object, of which Python would suggest names that are spelled alike.
    return AttributeError(f"{owner} has no {name}: {sentence}", name=name, obj=None)


def missing_of_module(module: str, table: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of a module, which is called for names that are not found in it."""

    def absent(name: str) -> Any:
        if name in table:
            raise missing(module, name, table[name])
        raise AttributeError(f"module {module!r} has no attribute {name!r}")

    return absent


def of_minigan(name: str, from_numpy: Sequence[str]) -> Any:
    """The `__getattr__` of minigan itself: a dtype or number of NumPy's, or an error."""
    if name in from_numpy:
        return getattr(np, name)
    if name not in MINIGAN and not name.startswith("_") and callable(vars(np).get(name)):
        raise missing("minigan", name, f"take numpy.{name}(x.numpy()), which has no gradient")
    return missing_of_module("minigan", MINIGAN)(name)


def missing_of_generator(rng: Any, name: str) -> Any:
    """The `__getattr__` of a generator."""
    if name in GENERATOR:
        raise missing("a generator", name, GENERATOR[name])
    raise AttributeError(f"'Generator' object has no attribute {name!r}")


class Refused:
    """An attribute that there is not: reading or setting it says how it is done here.

    It is a descriptor because a class with a `__getattr__` reads all of its attributes slower:
    Python no longer specialises that (3.11). `hasattr` does not find it, nor does `dir`.
    """

    __slots__ = ("name", "sentence")

    def __init__(self, name: str, sentence: str) -> None:
        self.name, self.sentence = name, sentence

    def __get__(self, instance: Any, owner: type) -> Any:
        raise missing("a tensor", self.name, self.sentence)

    def __set__(self, instance: Any, value: Any) -> None:
        raise missing("a tensor", self.name, self.sentence)


class Hinted(type):
    """The type of a class with refused attributes, which `dir` and `help` leave out."""

    def __dir__(cls) -> list[str]:
        refused = {n for c in cls.__mro__ for n, v in vars(c).items() if isinstance(v, Refused)}
        return sorted({*super().__dir__()} - refused)


def refused(kind: type) -> dict[str, Refused]:
    """What a tensor refuses: all that is in the table, and what else NumPy's arrays have."""
    sentences = {name: f"take x.numpy().{name}" for name in dir(np.ndarray) if name[0] != "_"}
    sentences |= TENSOR | dict.fromkeys(_IN_PLACE, _WRITTEN)
    there = dir(kind)
    return {n: Refused(n, sentence) for n, sentence in sentences.items() if n not in there}


class Count(int):
    """The number of a tensor's elements: an int. Called, as in PyTorch, it says what to do."""

    __slots__ = ()

    def __call__(self, *axis: Any) -> Any:
        raise TypeError("x.size is the number of elements, as in NumPy; say x.shape or x.shape[0]")

    def __reduce__(self) -> Any:
        return int, (int(self),)


# --- Arguments -------------------------------------------------------------------------------


def also(**names: str) -> Callable[[_F], _F]:
    """Decorate a function: it takes arguments by the names of other libraries too.

    A name stands for one of the function's own, or, if there is a space in it, for a sentence that
    says how it is done here.
    """

    def decorate(function: _F) -> _F:
        own, _ = arguments(function)
        name = function.__qualname__.removesuffix(".__init__")

        @wraps(function)
        def taking(*args: Any, **options: Any) -> Any:
            try:
                return function(*args, **options)
            except TypeError:  # only then are the names looked at: a call that fits costs nothing
                if own.issuperset(options):
                    raise
                options = translated(name, options, names)
            return function(*args, **options)

        return taking  # type: ignore[return-value]

    return decorate


def arguments(function: Any) -> tuple[frozenset[str], tuple[str, ...]]:
    """The names of a function's arguments, and which of them are given by name alone.

    From its code: minigan is imported sooner than by `inspect.signature`.
    """
    code = function.__code__
    end = code.co_argcount + code.co_kwonlyargcount
    return frozenset(code.co_varnames[:end]), code.co_varnames[code.co_argcount : end]


def translated(
    function: str, options: Mapping[str, Any], names: Mapping[str, str]
) -> dict[str, Any]:
    """Arguments by the function's own names.

    Raises:
        TypeError: with the sentence of one that there is not, or if one is given twice.
    """
    found: dict[str, Any] = {}
    for given, value in options.items():
        name = names.get(given, given)
        if " " in name:
            raise TypeError(f"{function} takes no {given}: {name}") from None
        if name in found:
            raise TypeError(f"{function} was given {name} twice") from None
        found[name] = value
    return found


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


# --- Signatures ------------------------------------------------------------------------------


def signature_of(primitive: Any) -> inspect.Signature:
    """The arguments of a primitive: those of the function that it looks like, or of its kernel.

    Raises:
        ValueError: if the kernel is one of C that does not tell.
    """
    if hasattr(primitive, "reference"):
        return inspect.signature(primitive.reference)
    kernel, kind = primitive.kernel, inspect.Parameter.POSITIONAL_OR_KEYWORD
    if isinstance(kernel, np.ufunc):
        names = ("x",) if kernel.nin == 1 else ("a", "b", "c")[: kernel.nin]
        return inspect.Signature([inspect.Parameter(name, kind) for name in names])
    parameters = inspect.signature(kernel).parameters.values()  # arrays, where it takes tensors
    return inspect.Signature([p.replace(annotation=p.empty) for p in parameters])


def applied(primitive: Any, inputs: Any) -> str:
    """A primitive and the shapes of what it was given, as "matmul of (2, 3) and (2, 3)"."""
    return f"{primitive.shown} of {' and '.join(str(t.shape) for t in inputs)}"


def misfit(primitive: Any, args: Any, options: Any, error: Exception) -> str:
    """The message of a primitive's error.

    Of arguments that do not fit its signature it says so, since Python would name a kernel that
    nobody called.
    """
    what, why = applied(primitive, args), str(error)
    try:
        signature = signature_of(primitive)
    except ValueError:
        return f"{what}: {why}"
    try:
        signature.bind(*args, **options)
    except TypeError as unfit:
        why = f"{unfit}; it is {primitive.shown}{plain(signature)}"
    return f"{what}: {why}"


def plain(signature: inspect.Signature) -> str:
    """A signature as text, without the types."""
    parameters = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    return str(inspect.Signature(parameters))
