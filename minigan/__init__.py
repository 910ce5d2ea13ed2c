"""minigan: generative adversarial networks from scratch, readable down to the kernels.

>>> import minigan as mg
>>> x = mg.Tensor([1.0, 2.0, 3.0])
>>> mg.grad((x * x).sum(), x)
Tensor([2., 4., 6.], float32)

Names follow one rule: arrays as NumPy, layers as PyTorch, randomness explicit.

- Arrays as NumPy: `axis`, `keepdims`, `x.size`, `x.transpose(order)`, `var` and `std` divide by n.
- Where PyTorch says it otherwise (`dim`, `view`, `cat`), that works too, or one sentence says how.
- Layers as PyTorch: names, the order of arguments, layouts (N, C, H, W), what a number means.
- Gradients are answers, `mg.grad(loss, net.parameters())`: nothing is stored, so nothing is reset.
- Randomness is explicit: `rng = mg.Generator(seed)` goes to whatever draws, as `rng=rng`.
- What has no gradient (comparisons, `argmax`) is a plain array; `x.numpy()` is the array of x.
"""

from importlib import import_module as _import_module
from typing import Any as _Any

import numpy as _np

from . import losses, nn, optim, penalties
from .errors import RunError, UserError
from .fused import fused
from .hints import absent as _absent
from .ops import *  # noqa: F403
from .ops import __all__ as _ops
from .ops.hints import FUNCTIONS as _FUNCTIONS
from .random import Generator
from .tensor import GraphError, Tensor, enable_grad, grad, no_grad, primitive

__version__ = "0.2.0"
__all__ = [
    "Generator", "GraphError", "RunError", "Tensor", "UserError", "enable_grad", "fused", "grad",
    "losses", "nn", "no_grad", "optim", "penalties", "primitive",
]  # fmt: skip
__all__ += _ops

# What is imported when it is first asked for: its module, and the name in it if it is no module.
_LATER: dict[str, tuple[str, str | None]] = {
    "data": ("minigan.data", None),
    "evaluation": ("minigan.evaluation", None),
    "gans": ("minigan.gans", None),
    "load": ("minigan.weights", "load"),
    "metrics": ("minigan.metrics", None),
    "save": ("minigan.weights", "save"),
    "testing": ("minigan.testing", None),
    "train": ("minigan.start", "train"),
    "training": ("minigan.training", None),
    "viz": ("minigan.viz", None),
    "weights": ("minigan.weights", None),
}

# By the names that others give them.
_ALIASES = {
    "abs": "absolute", "amax": "max", "amin": "min", "cat": "concatenate", "clamp": "clip",
    "concat": "concatenate", "div": "divide", "mul": "multiply", "neg": "negative",
    "permute": "transpose", "pow": "power", "sub": "subtract", "unsqueeze": "expand_dims",
}  # fmt: skip
_DTYPES = ("float32", "float64", "int32", "int64", "uint8", "pi", "inf", "nan")  # NumPy's
_look = _absent(
    __name__,
    {
        name: f"take numpy.{name}(x.numpy()), which has no gradient"
        for name, value in vars(_np).items()
        if callable(value) and not name.startswith("_")
    }
    | _FUNCTIONS,
)


def __getattr__(name: str) -> _Any:
    if name in _LATER:
        module, attribute = _LATER[name]
        found = _import_module(module)
        return getattr(found, attribute) if attribute else found
    if name in _ALIASES:
        return globals()[_ALIASES[name]]
    if name in _DTYPES:
        return getattr(_np, name)
    return _look(name)


def __dir__() -> list[str]:
    return sorted({*__all__, *_LATER, "__version__"})
