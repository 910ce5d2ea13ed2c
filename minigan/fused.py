"""Fused operations: hand-written kernels, and the readable composition that they compute."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .arrays import Check, freeze_new
from .tensor import Array, Node, Primitive, Tensor, adopt, grad, identity, is_recording


class Fused(Primitive):
    """A reference composition of tensors with hand-written kernels for both directions.

    Called like the reference. The forward kernel gives `(y, residuals)`. The backward kernel `(g,
    y, residuals, *arrays, **options)` gives the gradients with respect to all inputs, and alone
    reads the residuals. When the gradient itself is recorded, the reference is differentiated
    instead: to the engine a residual is a constant, so a second derivative through it would be
    wrong.
    """

    gives_residuals = True

    def __init__(
        self,
        reference: Callable[..., Tensor],
        kernel: Callable[..., tuple[Array, tuple[Any, ...]]],
        backward_kernel: Callable[..., tuple[Array, ...]],
        check: Check | None = None,
    ) -> None:
        super().__init__(kernel, reference.__name__, reference.__doc__, check)
        self.reference = reference
        self.backward_kernel = backward_kernel
        self.defaults = reference.__kwdefaults__ or {}

    def __call__(self, *args: Any, **options: Any) -> Tensor:
        return super().__call__(*args, **self.defaults | options)

    def flows_to(self, position: int) -> bool:
        return True

    def backward(self, node: Node, g: Tensor, needed: list[int]) -> Iterable[Tensor]:
        if is_recording():
            # New tensors for the inputs: one may be computed from another, but partial derivatives
            # are wanted.
            inputs = [identity(t) for t in node.inputs]
            y = self.reference(*inputs, **node.options)
            wanted = [inputs[i] for i in needed]
            return grad(y, wanted, grad_output=g, create_graph=True, allow_unused=True)
        arrays = [t.data for t in node.inputs]
        gradients = self.backward_kernel(g.data, node.data, node.residuals, *arrays, **node.options)
        tensors = computed(gradients, [g.data, node.data, *arrays])
        return [tensors[i] for i in needed]


def computed(results: Iterable[Array], inputs: list[Array]) -> list[Tensor]:
    """What a kernel computed from `inputs` outside of a primitive, frozen."""
    tensors = []
    for result in results:
        freeze_new(result, inputs, None)
        tensors.append(adopt(result))
    return tensors


def fused(
    kernel: Callable[..., tuple[Array, tuple[Any, ...]]],
    backward_kernel: Callable[..., tuple[Array, ...]],
    *,
    check: Check | None = None,
) -> Callable[[Callable[..., Tensor]], Fused]:
    """Decorate a reference composition with kernels for its two directions; see `Fused`.

    `check` as in `primitive`.

    >>> @mg.fused(lambda x: (x * x, ()), lambda g, y, residuals, x: (2 * g * x,))
    ... def squared(x):
    ...     return x * x  # what the two kernels compute
    >>> x = mg.Tensor([3.0])
    >>> mg.grad(squared(x).sum(), x).numpy()
    array([6.], dtype=float32)
    """
    return lambda reference: Fused(reference, kernel, backward_kernel, check)
