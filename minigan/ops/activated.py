"""A linear operation with a bias and an activation: y = f(linear(x, w) + bias) by one kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import minigan_kernels as kernels
from minigan_kernels.epilogue import LINEAR, Epilogue

from ..fused import computed
from ..tensor import Array, Node, Primitive, Tensor, is_recording
from .elementwise import leaky_relu_p, sigmoid, tanh
from .shape import reshape, sum_to

_ACTIVATIONS = {"leaky_relu": leaky_relu_p, "tanh": tanh, "sigmoid": sigmoid}


class Activated(Primitive):
    """`linear` of x and w, plus a bias (C,), through the activation of the option `epilogue`.

    The way back needs the output alone: first f's, then that of `linear`, of which no gradient is
    computed that nobody wants: a generator's step does not pay for the discriminator's weights.
    y stands there with its history, so derivatives of any order are right, and a gradient that is
    recorded does not compute the linear operation again, as that of a `fused` one would.
    """

    def __init__(self, kernel: Callable[..., Array], linear: Primitive) -> None:
        super().__init__(kernel, kernel.__name__, kernel.__doc__)
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
                yield rule(g, y, x, w, **options)  # which, of what is linear, reads no y


def _before(epilogue: Epilogue, g: Tensor, y: Tensor) -> tuple[Tensor, Tensor | None]:
    """The gradient by x + bias of y = f(x + bias), and by the bias if it is at hand."""
    if epilogue == LINEAR:
        return g, None
    if is_recording():
        rule = _ACTIVATIONS[epilogue.activation].rules[0]
        assert rule is not None
        return rule(g, y, y, **epilogue.options), None  # of x it reads no more than the sign
    kernel = getattr(kernels, f"bias_{epilogue.activation}_backward")
    dx, dbias = computed(kernel(g.data, y.data, **epilogue.options), [g.data, y.data])
    return dx, dbias
