"""Layers and networks."""

from . import init as init
from .activation import ELU, Activation, LeakyReLU, ReLU, Sigmoid, Tanh
from .container import Flatten, Reshape, Sequential
from .conv import AvgPool2d, Conv2d, ConvTranspose2d, MaxPool2d, UpsampleNearest
from .dropout import Dropout
from .linear import Embedding, Linear, Maxout
from .module import Module, watching
from .norm import BatchNorm, BatchNorm1d, BatchNorm2d, InstanceNorm2d, LayerNorm
from .summary import Summary, summary

__all__ = [
    "ELU", "Activation", "AvgPool2d", "BatchNorm", "BatchNorm1d", "BatchNorm2d", "Conv2d",
    "ConvTranspose2d", "Dropout", "Embedding", "Flatten", "InstanceNorm2d", "LayerNorm",
    "LeakyReLU", "Linear", "MaxPool2d", "Maxout", "Module", "ReLU", "Reshape", "Sequential",
    "Sigmoid", "Summary", "Tanh", "UpsampleNearest", "init", "summary", "watching",
]  # fmt: skip
