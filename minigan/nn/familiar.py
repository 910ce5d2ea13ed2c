"""The methods by which people of PyTorch know a module: names for what is done otherwise here."""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ..device import is_array
from ..hints import Elsewhere, completed
from ..tensor import Array, Tensor
from .parameters import Parameter

if TYPE_CHECKING:
    from .module import Module

_GRAD = "gradients = minigan.grad(loss, net.parameters()), then optimizer.step(gradients)"
_HALF = "networks compute in float32 and float64; on a GPU --precision says how they multiply"
_WATCH = "with nn.watching(f): ... calls f(module, inputs, output) after each forward pass"


class Familiar:
    """Methods of a `Module` that lead to others; and sentences for those that it has not."""

    if TYPE_CHECKING:

        def parameters(self) -> Mapping[str, Tensor]: ...
        def buffers(self) -> Mapping[str, Array]: ...
        def modules(self) -> Mapping[str, Module]: ...
        def astype(self, dtype: Any) -> Self: ...
        def to(self, device: Any) -> Self: ...

    def named_parameters(self) -> ItemsView[str, Tensor]:
        """Pairs of name and parameter: `parameters().items()`."""
        return self.parameters().items()

    def named_buffers(self) -> ItemsView[str, Array]:
        """Pairs of name and buffer: `buffers().items()`."""
        return self.buffers().items()

    def named_modules(self) -> ItemsView[str, Module]:
        """Pairs of name and module, this one first, as "": `modules().items()`."""
        return self.modules().items()

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Pairs of name and module of the parts that are in no other part."""
        inner = set[int]()  # the identities of parts of parts
        for name, part in self.modules().items():
            if name and id(part) not in inner:
                inner.update(id(below) for below in part.modules().values() if below is not part)
                yield name, part

    def children(self) -> Iterator[Module]:
        """The parts that are in no other part."""
        return (part for _, part in self.named_children())

    def apply(self, function: Callable[[Any], Any]) -> Self:
        """Call `function` with every part, and then with this module."""
        for part in self.children():
            part.apply(function)
        function(self)
        return self

    def register_buffer(self, name: str, value: Any, persistent: bool = True) -> None:
        """Make an array a buffer, as `self.name = array` does.

        Raises:
            TypeError: for what is no array, tensor or None, or if it is not to be saved.
        """
        if not persistent:
            raise TypeError(
                "every buffer is saved; keep what is not as a Python number, or in an object of "
                "your own"
            )
        if isinstance(value, Tensor):
            value = value.detach().numpy().copy()  # load_state_dict writes it
        if value is not None and not is_array(value):
            raise TypeError(f"a buffer is an array, not a {type(value).__name__}")
        setattr(self, name, value)

    def register_parameter(self, name: str, value: Parameter | None) -> None:
        """The same as `self.name = value`.

        Raises:
            TypeError: for what is neither a parameter nor None.
        """
        if value is not None and not isinstance(value, Parameter):
            raise TypeError(f"{name} is a {type(value).__name__}: say nn.Parameter(x)")
        setattr(self, name, value)

    def add_module(self, name: str, module: Module | None) -> None:
        """The same as `self.name = module`."""
        setattr(self, name, module)

    register_module = add_module

    def cuda(self) -> Self:
        """The same as `to("cuda")`."""
        return self.to("cuda")

    def cpu(self) -> Self:
        """The same as `to("cpu")`."""
        return self.to("cpu")

    def float(self) -> Self:
        """The same as `astype(numpy.float32)`."""
        return self.astype(np.float32)

    def double(self) -> Self:
        """The same as `astype(numpy.float64)`."""
        return self.astype(np.float64)

    half = Elsewhere(_HALF)
    bfloat16 = Elsewhere(_HALF)
    zero_grad = Elsewhere(f"gradients are kept nowhere, so none are reset: {_GRAD}")
    requires_grad_ = Elsewhere(
        "what is differentiated is what minigan.grad(loss, inputs) names; to leave the network as "
        "it is, give its parameters to no optimizer"
    )
    register_forward_hook = Elsewhere(_WATCH)
    register_forward_pre_hook = Elsewhere(_WATCH)
    register_full_backward_hook = Elsewhere(
        "minigan.grad(loss, h) takes any tensor h that the forward pass went through"
    )
    compile = Elsewhere("kernels are compiled already; leave it out")
    get_submodule = Elsewhere("say net.modules()[name]")
    get_parameter = Elsewhere("say net.parameters()[name]")
    get_buffer = Elsewhere("say net.buffers()[name]")

    __dir__ = completed
