"""A bias and an activation in one pass: y = f(x + bias), by themselves or behind a convolution."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import minigan_kernels as kernels
from minigan_kernels.epilogue import LINEAR, Epilogue

from ..arrays import floats
from ..fused import computed
from ..tensor import Array, Node, Primitive, Tensor, is_recording
from .elementwise import (
    bias_leaky_relu,
    bias_sigmoid,
    bias_tanh,
    leaky_relu_p,
    per_channel,
    sigmoid,
    tanh,
)
from .shape import reshape, sum_to

_ACTIVATIONS = {"leaky_relu": leaky_relu_p, "tanh": tanh, "sigmoid": sigmoid}
_FUSED = {"leaky_relu": bias_leaky_relu, "tanh": bias_tanh, "sigmoid": bias_sigmoid}


def bias_activation(x: Tensor, bias: Tensor, epilogue: Epilogue = LINEAR) -> Tensor:
    """The activation of `epilogue` of x + bias; x is (N, C, ...), bias (C,)."""
    if epilogue == LINEAR:
        return x + per_channel(bias, x)
    return _FUSED[epilogue.activation](x, bias, **epilogue.options)


class ConvBiasActivation(Primitive):
    """A convolution of x and w, plus a bias (C,), through the activation of the option `epilogue`.

    The backward pass needs the output alone: first through the activation, then through `linear`.
    Gradients that are not needed are not computed: a generator's update does not pay for the
    discriminator's weights. The rules use y with its history, so derivatives of any order are
    right. A recorded gradient does not repeat the convolution, as a `fused` operation would.
    """

    def __init__(self, kernel: Callable[..., Array], linear: Primitive) -> None:
        super().__init__(kernel, kernel.__name__, kernel.__doc__, floats)
        self.linear = linear

    def flows_to(self, position: int) -> bool:
        return True

    def backward(self, node: Node, g: Tensor, needed: list[int]) -> Iterator[Tensor]:
        options, y = node.options.copy(), node.output()
        x, w, bias = node.inputs
        g, dbias = _before(options.pop("epilogue"), g, y)
        for i in needed:
            if i == 2:
                flat = (1, *bias.shape, 1, 1)
                yield reshape(sum_to(g, flat), bias.shape) if dbias is None else dbias
            else:
                rule = self.linear.rules[i]
                assert rule is not None
                yield rule(g, y, x, w, **options)  # the rule of a linear operation does not read y


def _before(epilogue: Epilogue, g: Tensor, y: Tensor) -> tuple[Tensor, Tensor | None]:
    """Gradients of y = f(x + bias) w.r.t. x + bias, and w.r.t. the bias if it comes along."""
    if epilogue == LINEAR:
        return g, None
    if is_recording():
        rule = _ACTIVATIONS[epilogue.activation].rules[0]
        assert rule is not None
        return rule(g, y, y, **epilogue.options), None  # reads only x's sign, which is y's
    kernel = getattr(kernels, f"bias_{epilogue.activation}_backward")
    dx, dbias = computed(kernel(g.data, y.data, **epilogue.options), [g.data, y.data])
    return dx, dbias
