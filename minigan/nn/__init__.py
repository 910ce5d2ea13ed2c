"""Layers and networks."""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING, Any

from ..hints import absent as _absent
from . import init as init
from .activation import (
    ELU,
    GELU,
    Activation,
    LeakyReLU,
    PReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from .conditional import Conditional, Joined
from .container import Flatten, Reshape, Sequential
from .conv import Conv2d, ConvTranspose2d
from .conv1d import Conv1d
from .dropout import Dropout
from .embedding import Embedding
from .group_norm import GroupNorm
from .hints import HINTS as _HINTS
from .linear import Linear, Maxout
from .module import Module, watching
from .module_list import ModuleDict, ModuleList
from .noise import GaussianNoise
from .norm import BatchNorm, BatchNorm1d, BatchNorm2d, InstanceNorm2d, LayerNorm
from .parameters import Parameter
from .pooling import AvgPool1d, AvgPool2d, MaxPool1d, MaxPool2d, UpsampleNearest
from .shape import Identity, Unflatten
from .spectral import SpectralNorm
from .summary import Summary, summary
from .upsampling import PixelShuffle, Upsample
from .weight_norm import WeightNormLinear

__all__ = [
    "ELU", "GELU", "Activation", "AvgPool1d", "AvgPool2d", "BatchNorm", "BatchNorm1d",
    "BatchNorm2d", "Conditional", "Conv1d", "Conv2d", "ConvTranspose2d", "Dropout", "Embedding",
    "Flatten", "GaussianNoise", "GroupNorm", "Identity", "InstanceNorm2d", "Joined", "LayerNorm",
    "LeakyReLU", "Linear", "MaxPool1d", "MaxPool2d", "Maxout", "Module", "ModuleDict", "ModuleList",
    "PReLU", "Parameter", "PixelShuffle", "ReLU", "Reshape", "Sequential", "SiLU", "Sigmoid",
    "Softmax", "Softplus", "SpectralNorm", "Summary", "Tanh", "Unflatten", "Upsample",
    "UpsampleNearest", "WeightNormLinear", "init", "summary", "watching",
]  # fmt: skip

if not TYPE_CHECKING:  # which shall find names that there are not
    _look = _absent(__name__, _HINTS)

    def __getattr__(name: str) -> Any:
        if name == "functional":  # whose functions say where they are
            return _import_module(f"{__name__}.functional")
        return _look(name)


def __dir__() -> list[str]:
    return sorted(__all__)
