"""One Hypothesis strategy for each primitive, layer and loss: a function of float64 arrays.

Every case is smooth around its inputs: values stay away from kinks and poles, masks and indices are
drawn once. Inputs lie in memory in any way that NumPy allows, and so do the gradients that come in.
"""

from __future__ import annotations

from .layers import layer_classes
from .losses import loss_functions
from .source import (
    LAYER_CASES,
    LOSS_CASES,
    MANY,
    PRIMITIVE_CASES,
    QUICK,
    SETTINGS,
    TWIN,
    Case,
    Source,
    check,
    op,
    run,
)

__all__ = [
    "LAYER_CASES", "LOSS_CASES", "MANY", "PRIMITIVE_CASES", "QUICK", "SETTINGS", "TWIN", "Case",
    "Source", "check", "layer_classes", "loss_functions", "op", "run",
]  # fmt: skip
