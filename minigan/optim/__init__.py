"""Optimisers, learning-rate schedules, clipping, and averages of weights.

An optimiser is built over named parameters and keeps its state by those names. It writes the
parameters in place, and freezes them: from then on they are read-only to NumPy. Other code that
must write an array which may be part of a graph does so within `minigan_kernels.memo.writable`.
`joined` gives one optimiser the parameters of several players.
"""

from typing import TYPE_CHECKING

from ..hints import absent
from ..nn.parameters import joined
from .clipping import Clip as Clip
from .clipping import Gradients as Gradients
from .clipping import (
    clip_by_norm,
    clip_by_value,
    clip_weights,
    project_to_sphere,
)
from .ema import average
from .optimizers import SGD, Adam, AdamW, Optimizer, RMSProp
from .schedules import Schedule as Schedule
from .schedules import constant, cosine, exponential, linear, scheduled, warming

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "Optimizer",
    "RMSProp",
    "average",
    "clip_by_norm",
    "clip_by_value",
    "clip_weights",
    "constant",
    "cosine",
    "exponential",
    "joined",
    "linear",
    "project_to_sphere",
    "scheduled",
    "warming",
]

_SCHEDULE = "a learning rate is a function of the updates done: lr=optim.cosine(1e-3, 0, 1000)"
_WAYS = {
    "RMSprop": "say optim.RMSProp",
    "Adagrad": "there are SGD, RMSProp, Adam and AdamW",
    "clip_grad_norm_": "optim.clip_by_norm(gradients, 1.0) gives the clipped ones; or say "
    "clip=partial(optim.clip_by_norm, limit=1.0) to the optimiser",
    "clip_grad_value_": "optim.clip_by_value(gradients, 1.0) gives the clipped ones; or say "
    "clip=partial(optim.clip_by_value, limit=1.0) to the optimiser",
    "lr_scheduler": _SCHEDULE,
    "swa_utils": "optim.average(slow, fast, decay) is the moving average of weights",
}
if not TYPE_CHECKING:  # which shall find names that there are not
    __getattr__ = absent(__name__, _WAYS)


def __dir__() -> list[str]:
    return __all__
