"""minigan: generative adversarial networks from scratch, readable down to the kernels.

>>> import minigan as mg
>>> x = mg.Tensor([1.0, 2.0, 3.0])
>>> mg.grad((x * x).sum(), x)
Tensor([2., 4., 6.], float32)
"""

from . import losses, nn, optim, penalties
from .errors import RunError, UserError
from .fused import fused
from .ops import *  # noqa: F403
from .ops import __all__ as _ops
from .random import Generator
from .tensor import GraphError, Tensor, enable_grad, grad, no_grad, primitive

__version__ = "0.1.0"
__all__ = [
    "Generator", "GraphError", "RunError", "Tensor", "UserError", "enable_grad", "fused", "grad",
    "losses", "nn", "no_grad", "optim", "penalties", "primitive",
]  # fmt: skip
__all__ += _ops
