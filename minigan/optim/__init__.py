"""Optimisers, learning-rate schedules, clipping, and averages of weights.

An optimiser is built over named parameters and keeps its state by those names. It writes the
parameters in place, and freezes them: from then on they are read-only to NumPy. Other code that
must write an array which may be part of a graph does so within `minigan_kernels.memo.writable`.
`joined` gives one optimiser the parameters of several players.
"""

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
from .optimizers import SGD, Adam, Optimizer, RMSProp
from .schedules import Schedule as Schedule
from .schedules import constant, cosine, exponential, linear, scheduled, warming

__all__ = [
    "SGD",
    "Adam",
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
