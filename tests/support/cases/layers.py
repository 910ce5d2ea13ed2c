"""A case for each layer: by its input and by all of its parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import minigan_kernels as kernels
import numpy as np
from minigan_kernels.checks import Window

import minigan as mg
from minigan import nn
from minigan.tensor import Tensor

from .primitives import batch, conv_shapes, scale_and_shift
from .source import LAYER_CASES, Source, both, case_of


def layer_classes() -> dict[str, type[nn.Module]]:
    """The layers of `minigan.nn`: all that derive from `Module`."""
    return {
        name: kind
        for name, kind in vars(nn).items()
        if isinstance(kind, type) and issubclass(kind, nn.Module) and kind is not nn.Module
    }


def layer_case(
    s: Source, layer: nn.Module, x: np.ndarray, reset: Callable[[], None] = lambda: None
) -> tuple[Callable[..., Tensor], list[np.ndarray]]:
    """A layer as a function of its input and parameters, whose values are drawn anew."""
    layer.astype(np.float64)
    names = list(layer.parameters())

    def f(x: Tensor, *values: Tensor) -> Tensor:
        reset()
        with layer.replaced(dict(zip(names, values, strict=True))):
            return layer(x)

    return f, [x, *(s.normal(p.shape) for p in layer.parameters().values())]


def rng() -> mg.Generator:
    return mg.Generator(0, "cases")


def _activation(s: Source) -> nn.Activation | None:
    return s.pick(
        None, nn.Tanh(), nn.Sigmoid(), nn.ELU(0.5), nn.LeakyReLU(0.2), nn.GELU(), nn.SiLU()
    )


@case_of(LAYER_CASES, "Tanh", "Sigmoid", "Softplus", "ELU", "ReLU", "LeakyReLU", "Flatten")
@case_of(LAYER_CASES, "SiLU", "Identity")
def _plain_layer(s: Source, name: str) -> Any:
    return layer_case(s, getattr(nn, name)(), s.away(s.shape(2, 3)))


@case_of(LAYER_CASES, "Activation")
def _fused_activation(s: Source, name: str) -> Any:
    """Each activation's `with_bias`."""
    layer = s.pick(nn.Tanh(), nn.Sigmoid(), nn.Softplus(), nn.ELU(), nn.ReLU(), nn.LeakyReLU(0.2))
    shape = s.vectors_or_images()
    bias = s.normal(shape[1:2])
    x = s.laid(s.away(shape) - bias.reshape(1, -1, *(1,) * (len(shape) - 2)))
    return layer.with_bias, [x, bias]


@case_of(LAYER_CASES, "GELU")
def _gelu(s: Source, name: str) -> Any:
    return layer_case(s, nn.GELU(s.pick("none", "tanh")), s.normal(s.shape(2, 3)))


@case_of(LAYER_CASES, "PReLU")
def _prelu(s: Source, name: str) -> Any:
    x = s.away(s.shape(2, 4))
    return layer_case(s, nn.PReLU(s.pick(1, x.shape[1])), x)


@case_of(LAYER_CASES, "Softmax")
def _softmax(s: Source, name: str) -> Any:
    return layer_case(s, nn.Softmax(s.int(-2, 1)), 2 * s.normal(s.shape(2, 3)))


@case_of(LAYER_CASES, "Unflatten")
def _unflatten(s: Source, name: str) -> Any:
    sizes = s.int(1, 3), s.int(1, 2)
    shape = (s.int(1, 3), sizes[0] * sizes[1], s.int(1, 2))
    return layer_case(
        s, nn.Unflatten(s.pick(1, -2), s.pick(sizes, (sizes[0], -1))), s.normal(shape)
    )


@case_of(LAYER_CASES, "ModuleList", "ModuleDict")
def _parts(s: Source, name: str) -> Any:
    """Parts that their owner calls, each of them twice."""

    class Owner(nn.Module):
        def __init__(self) -> None:
            first, second = (nn.Linear(2, 2, rng=rng(), activation=nn.Tanh()) for _ in range(2))
            of_name = {"first": first, "second": second}
            self.parts = getattr(nn, name)([first, second] if name == "ModuleList" else of_name)

        def forward(self, x: Tensor) -> Tensor:
            for _ in range(2):
                for part in self.parts if name == "ModuleList" else self.parts.values():
                    x = part(x)
            return x

    return layer_case(s, Owner(), s.normal((s.int(1, 3), 2)))


@case_of(LAYER_CASES, "Reshape")
def _reshape_layer(s: Source, name: str) -> Any:
    return layer_case(s, nn.Reshape(2, -1, 1), s.normal((s.int(1, 3), 2 * s.int(1, 2))))


@case_of(LAYER_CASES, "Sequential")
def _sequential(s: Source, name: str) -> Any:
    layer = nn.Sequential(
        nn.Linear(2, 3, rng=rng(), activation=nn.Tanh()),
        nn.Sequential(nn.BatchNorm1d(3), nn.ELU()),
        nn.Linear(3, 1, rng=rng(), bias=False),
    )
    return layer_case(s, layer, *s.distinct((s.int(3, 4), 2)))


@case_of(LAYER_CASES, "Linear")
def _linear(s: Source, name: str) -> Any:
    size, units = s.int(1, 3), s.int(1, 3)
    layer = nn.Linear(size, units, rng=rng(), bias=s.flag(), activation=_activation(s))
    return layer_case(s, layer, s.normal((s.int(1, 3), size)))


@case_of(LAYER_CASES, "Maxout")
def _maxout(s: Source, name: str) -> Any:
    size, units, pieces = s.int(1, 3), s.int(1, 2), s.int(1, 3)
    layer = nn.Maxout(size, units, pieces, rng=rng())
    return layer_case(s, layer, s.normal((s.int(1, 3), size)))


@case_of(LAYER_CASES, "Embedding")
def _embedding(s: Source, name: str) -> Any:
    count = s.int(1, 3)
    layer = nn.Embedding(count, s.int(1, 3), rng=rng()).astype(np.float64)
    labels = s.rng.integers(0, count, s.int(1, 4))

    def f(weight: Tensor) -> Tensor:
        with layer.replaced({"weight": weight}):
            return layer(labels)

    return f, [s.normal(layer.weight.shape)]


@case_of(LAYER_CASES, "Conv2d")
def _conv_layer(s: Source, name: str) -> Any:
    options, x, w, _ = conv_shapes(s)
    layer = nn.Conv2d(
        x[1], w[0], w[2:], rng=rng(), bias=s.flag(), activation=_activation(s), **options
    )
    return layer_case(s, layer, s.normal(x))


@case_of(LAYER_CASES, "Conv1d")
def _conv1d_layer(s: Source, name: str) -> Any:
    stride, padding, dilation, k = s.int(1, 3), s.int(0, 2), s.int(1, 2), s.int(1, 3)
    least, groups = max(1, dilation * (k - 1) + 1 - 2 * padding), s.pick(1, 2)
    x = s.int(1, 2), groups * s.int(1, 2), least + s.int(0, 4)
    sizes = x[1], groups * s.int(1, 2), k, stride, padding, dilation, groups, s.flag()
    layer = nn.Conv1d(*sizes, rng=rng(), activation=_activation(s))
    return layer_case(s, layer, s.normal(x))


@case_of(LAYER_CASES, "ConvTranspose2d")
def _conv_transpose_layer(s: Source, name: str) -> Any:
    options, y, w, x = conv_shapes(s)  # the convolution's output is this layer's input
    window = Window(w[2:], *(both(options[k]) for k in ("stride", "padding", "dilation")))
    options["output_padding"] = tuple(
        (n + 2 * p - d * (k - 1) - 1) % step
        for n, k, step, p, d in zip(
            y[2:], window.kernel, window.stride, window.padding, window.dilation, strict=True
        )
    )
    layer = nn.ConvTranspose2d(
        x[1], y[1], w[2:], rng=rng(), bias=s.flag(), activation=_activation(s), **options
    )
    assert layer.weight.shape == w
    return layer_case(s, layer, s.normal(x))


@case_of(LAYER_CASES, "UpsampleNearest")
def _upsample(s: Source, name: str) -> Any:
    return layer_case(s, nn.UpsampleNearest(s.int(1, 3)), s.normal(s.image()))


@case_of(LAYER_CASES, "Upsample")
def _upsample_nearest(s: Source, name: str) -> Any:
    return layer_case(s, nn.Upsample(scale_factor=s.pick(1, 2, 2.0, (3, 3))), s.normal(s.image()))


@case_of(LAYER_CASES, "PixelShuffle")
def _pixel_shuffle(s: Source, name: str) -> Any:
    factor = s.int(1, 3)
    n, c, h, w = s.image()
    return layer_case(s, nn.PixelShuffle(factor), s.normal((n, c * factor * factor, h, w)))


@case_of(LAYER_CASES, "MaxPool1d", "AvgPool1d")
def _pool1d_layer(s: Source, name: str) -> Any:
    kernel = s.int(1, 3)
    padding = s.int(0, kernel // 2)
    layer = getattr(nn, name)(kernel, s.pick(None, 1, 2, 4), padding)
    length = max(1, kernel - 2 * padding) + s.int(0, 3)
    return layer_case(s, layer, *s.distinct((s.int(1, 2), s.int(1, 2), length)))


@case_of(LAYER_CASES, "MaxPool2d", "AvgPool2d")
def _pool_layer(s: Source, name: str) -> Any:
    kernel = s.int(1, 3), s.int(1, 3)
    padding = s.int(0, min(kernel) // 2)
    stride = s.pick(None, 1, (2, 3), 4)
    size = [max(1, k - 2 * padding) + s.int(0, 3) for k in kernel]
    layer = getattr(nn, name)(kernel, stride=stride, padding=padding)
    return layer_case(s, layer, *s.distinct((s.int(1, 2), s.int(1, 2), *size)))


@case_of(LAYER_CASES, "Dropout")
def _dropout(s: Source, name: str) -> Any:
    layer = nn.Dropout(keep=s.pick(0.5, 0.8, 1.0), rng=rng())

    def reset() -> None:  # the same mask at every call
        layer.rng.offset = 0

    return layer_case(s, layer.train(s.flag()), s.normal(s.shape(2, 3)), reset)


@case_of(LAYER_CASES, "Conditional", "Joined")
def _conditional(s: Source, name: str) -> Any:
    """With both inputs, and over vectors and planes."""
    n, k = s.int(2, 3), s.int(1, 3)
    tanh = nn.Tanh()
    layer: nn.Module
    if name == "Joined":
        first, second = nn.Linear(2, 2, rng=rng()), nn.Linear(k, 1, rng=rng())
        layer = nn.Joined(first, second, nn.Linear(3, 2, rng=rng(), activation=tanh), nn.ELU())
    else:
        layer = nn.Conditional(
            nn.Sequential(nn.Linear(2 + k, 4, rng=rng(), activation=tanh), nn.Reshape(1, 2, 2)),
            nn.Conv2d(1 + k, 2, 2, rng=rng()),
        )
    _, (x, *parameters) = layer_case(s, layer, s.normal((n, 2)))
    names = list(layer.parameters())

    def of_both(x: Tensor, y: Tensor, *values: Tensor) -> Tensor:
        with layer.replaced(dict(zip(names, values, strict=True))):
            return layer(x, y)

    return of_both, [x, s.normal((n, k)), *parameters]


@case_of(LAYER_CASES, "GaussianNoise")
def _noise(s: Source, name: str) -> Any:
    layer = nn.GaussianNoise(s.pick(0.0, 0.5), rng=rng())

    def reset() -> None:  # the same noise at every call
        layer.rng.offset = 0

    return layer_case(s, layer.train(s.flag()), s.normal(s.shape(2, 3)), reset)


@case_of(LAYER_CASES, "WeightNormLinear")
def _weight_norm(s: Source, name: str) -> Any:
    size, units = s.int(1, 3), s.int(1, 3)
    layer = nn.WeightNormLinear(
        size, units, rng=rng(), activation=_activation(s), learn_scale=s.flag()
    )
    f, (x, _, *rest) = layer_case(s, layer, s.normal((s.int(1, 3), size)))
    return f, [x, s.away((units, size), 0.5), *rest]  # a row of zeros has no direction


@case_of(LAYER_CASES, "SpectralNorm")
def _spectral_norm(s: Source, name: str) -> Any:
    """In inference, where u and v stand still, and are what the layer's values make of them."""
    rows, columns = s.int(1, 3), s.int(1, 3)
    x = s.normal((s.int(1, 3), columns))
    inner: nn.Linear | nn.Conv2d = nn.Linear(columns, rows, rng=rng(), activation=_activation(s))
    if s.flag():
        inner = nn.Conv2d(columns, rows, 2, rng=rng(), bias=s.flag(), activation=_activation(s))
        x = s.normal((s.int(1, 2), columns, 3, 2))
    layer = nn.SpectralNorm(inner, rng=rng())
    f, (x, *values) = layer_case(s, layer, x)
    inner.weight = nn.Parameter(values[0])
    layer.converge()
    layer.eval()
    return f, [x, *values]


@case_of(LAYER_CASES, "BatchNorm", "BatchNorm1d", "BatchNorm2d")
def _batch_norm_layer(s: Source, name: str) -> Any:
    shape = {
        "BatchNorm": batch(s),
        "BatchNorm1d": (s.int(2, 4), s.int(1, 3)),
        "BatchNorm2d": (2, *s.image()[1:]),
    }[name]
    layer = getattr(nn, name)(shape[1], eps=s.pick(1e-5, 1e-2), activation=_activation(s))
    layer.train(s.flag())
    layer.running_mean[:] = s.rng.standard_normal(shape[1])
    layer.running_var[:] = s.rng.uniform(0.5, 2, shape[1])
    (x,) = s.distinct(shape)
    f, _ = layer_case(s, layer, x)
    mean, var = kernels.moments(x) if layer.training else (layer.running_mean, layer.running_var)
    return f, [x, *scale_and_shift(s, x, mean, np.sqrt(var + layer.eps))]


@case_of(LAYER_CASES, "InstanceNorm2d")
def _instance_norm(s: Source, name: str) -> Any:
    n, c, h, w = s.image()
    return layer_case(s, nn.InstanceNorm2d(c), *s.distinct((n, c, h + 1, w)))


@case_of(LAYER_CASES, "GroupNorm")
def _group_norm_layer(s: Source, name: str) -> Any:
    groups, (n, c, h, w) = s.int(1, 3), s.image()
    layer = nn.GroupNorm(groups, groups * c, s.pick(1e-5, 1e-2), affine=s.flag())
    return layer_case(s, layer, *s.distinct((n, groups * c, h + 1, w)))


@case_of(LAYER_CASES, "LayerNorm")
def _layer_norm(s: Source, name: str) -> Any:
    shape = (s.int(1, 2), *s.shape(0, 1), *s.pick((2,), (3,), (1, 3), (2, 2)))
    own = shape[-s.int(1, 2) :]
    return layer_case(s, nn.LayerNorm(own), *s.distinct(shape))
