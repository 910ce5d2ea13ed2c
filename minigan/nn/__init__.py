"""Layers and networks."""

from . import init as init
from .activation import ELU, Activation, LeakyReLU, ReLU, Sigmoid, Softplus, Tanh
from .conditional import Conditional, Joined
from .container import Flatten, Reshape, Sequential
from .conv import Conv2d, ConvTranspose2d
from .dropout import Dropout
from .embedding import Embedding
from .linear import Linear, Maxout
from .module import Module, watching
from .noise import GaussianNoise
from .norm import BatchNorm, BatchNorm1d, BatchNorm2d, InstanceNorm2d, LayerNorm
from .parameters import Parameter
from .pooling import AvgPool2d, MaxPool2d, UpsampleNearest
from .spectral import SpectralNorm
from .summary import Summary, summary
from .weight_norm import WeightNormLinear

__all__ = [
    "ELU", "Activation", "AvgPool2d", "BatchNorm", "BatchNorm1d", "BatchNorm2d", "Conditional",
    "Conv2d", "ConvTranspose2d", "Dropout", "Embedding", "Flatten", "GaussianNoise",
    "InstanceNorm2d", "Joined", "LayerNorm", "LeakyReLU", "Linear", "MaxPool2d", "Maxout", "Module",
    "Parameter", "ReLU", "Reshape", "Sequential", "Sigmoid", "Softplus", "SpectralNorm", "Summary",
    "Tanh", "UpsampleNearest", "WeightNormLinear", "init", "summary", "watching",
]  # fmt: skip
