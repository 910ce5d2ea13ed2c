"""Modules: networks as plain Python objects whose attributes are their parameters."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

from minigan_kernels.memo import writable

from ..device import Device, asarray_like, is_array
from ..random import Generator
from ..tensor import Array, Tensor


class Module:
    """A function with parameters.

    A `Tensor` attribute is a parameter, an array attribute is a buffer (state that is not trained),
    and a `Module`, or a list, tuple or dict of modules, is a part. They are found by walking the
    attributes in the order in which they were set, and named by the dotted path to them:
    `trunk.0.weight`. A tuple must not hold arrays or tensors that `astype` or others replace.
    """

    training = True

    def forward(self, *inputs: Any) -> Any:
        raise TypeError(f"{type(self).__name__} has no forward method")

    def __call__(self, *inputs: Any) -> Any:
        output = self.forward(*inputs)
        for watch in _watchers:
            watch(self, inputs, output)
        return output

    def parameters(self) -> dict[str, Tensor]:
        """Every parameter by name; a shared one appears once, under its first name."""
        return _once({n: v for n, v in self._leaves() if isinstance(v, Tensor)})

    def buffers(self) -> dict[str, Array]:
        """Every buffer by name."""
        return _once({n: v for n, v in self._leaves() if not isinstance(v, Tensor)})

    def modules(self) -> dict[str, Module]:
        """This module, as "", and all of its parts by name."""
        return {name: value for name, value in _walk(self, "") if isinstance(value, Module)}

    def train(self, training: bool = True) -> Self:
        """Switch to training: batch norm uses the batch's moments, dropout drops."""
        for module in self.modules().values():
            module.training = training
        return self

    def eval(self) -> Self:
        """Switch to inference: batch norm uses its running moments, dropout does nothing."""
        return self.train(False)

    @contextmanager
    def evaluating(self) -> Iterator[Self]:
        """Inference within the block; afterwards each part has its former mode."""
        before = {name: module.training for name, module in self.modules().items()}
        self.eval()
        try:
            yield self
        finally:
            for name, module in self.modules().items():
                module.training = before[name]

    def state(self) -> dict[str, Array]:
        """The arrays of all parameters and buffers by name; not copies."""
        return {name: p.data for name, p in self.parameters().items()} | self.buffers()

    def load_state(self, state: Mapping[str, Array]) -> None:
        """Write the arrays of `state` into the parameters and buffers of the same names.

        Raises:
            ValueError: naming an array that is missing, unknown, or of another shape; nothing is
                written then.
        """
        mine = self.state()
        for name in [*mine, *state]:
            if name not in state or name not in mine:
                where = "the saved state" if name not in state else type(self).__name__
                raise ValueError(f"{name} is missing in {where}")
            if mine[name].shape != state[name].shape:
                raise ValueError(f"{name} has shape {mine[name].shape}, not {state[name].shape}")
        with writable(*mine.values()):
            for name, array in mine.items():
                array[...] = asarray_like(state[name], array)

    def astype(self, dtype: Any) -> Self:
        """Convert all parameters and floating-point buffers to `dtype`, to check gradients say."""
        converted: dict[int, Any] = {}
        slots = list(_slots(self))  # keeps the old values alive, and so their ids
        for owner, key, value in slots:
            array = value.data if isinstance(value, Tensor) else value
            if array.dtype.kind == "f":
                new = array.astype(dtype)
                new = Tensor(new) if isinstance(value, Tensor) else new
                _put(owner, key, converted.setdefault(id(value), new))
        return self

    def to(self, device: Device) -> Self:
        """Move all parameters and buffers to `device`, in place."""
        moved: dict[int, Array] = {}
        for owner, key, value in list(_slots(self)):
            if isinstance(value, Tensor):
                value.data = device.put(value.data)
            else:
                _put(owner, key, moved.setdefault(id(value), device.put(value)))
        return self

    def replace_arrays(self, arrays: Mapping[str, Array]) -> None:
        """Replace the arrays of these names (as in `state`) by the given ones, without a copy."""
        names = {id(leaf): name for name, leaf in (self.parameters() | self.buffers()).items()}
        for owner, key, value in list(_slots(self)):
            array = arrays.get(names[id(value)])
            if array is None:
                continue
            if isinstance(value, Tensor):
                value.data = array
            else:
                _put(owner, key, array)

    @contextmanager
    def replaced(self, parameters: Mapping[str, Tensor]) -> Iterator[Self]:
        """Within the block the parameters of these names are the given tensors.

        So an update can be tried, and be differentiated, as an unrolled GAN does.
        """
        mine = self.parameters()
        for name in parameters:
            if name not in mine:
                raise ValueError(f"{type(self).__name__} has no parameter {name!r}")
        substitute = {id(mine[name]): tensor for name, tensor in parameters.items()}
        slots = [(o, k, v) for o, k, v in _slots(self) if id(v) in substitute]
        try:
            for owner, key, value in slots:
                _put(owner, key, substitute[id(value)])
            yield self
        finally:
            for owner, key, value in slots:
                _put(owner, key, value)

    def copy(self) -> Self:
        """An independent copy with equal parameters and buffers; random generators are shared."""
        memo: dict[int, Any] = {}
        for module in self.modules().values():
            memo |= {id(v): v for v in vars(module).values() if isinstance(v, Generator)}
        return copy.deepcopy(self, memo)

    def multiply_adds(self, x_shape: tuple[int, ...], y_shape: tuple[int, ...]) -> int:
        """Multiply-add operations of one forward pass, without those of the parts."""
        return 0

    def _leaves(self) -> Iterator[tuple[str, Any]]:
        return ((name, value) for name, value in _walk(self, "") if not isinstance(value, Module))


_watchers: list[Callable[[Module, tuple[Any, ...], Any], None]] = []


@contextmanager
def watching(watch: Callable[[Module, tuple[Any, ...], Any], None]) -> Iterator[None]:
    """Within the block call `watch(module, inputs, output)` after each module's forward pass."""
    _watchers.append(watch)
    try:
        yield
    finally:
        _watchers.remove(watch)


def _walk(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """`value` and all modules, tensors and arrays in it, in definition order."""
    if isinstance(value, (Module, Tensor)) or is_array(value):
        yield name, value
    for key, part in _parts(value):
        yield from _walk(part, f"{name}.{key}" if name else str(key))


def _slots(value: Any) -> Iterator[tuple[Any, Any, Any]]:
    """(owner, key, leaf) of every tensor and array in `value`."""
    for key, part in list(_parts(value)):
        if isinstance(part, Tensor) or is_array(part):
            yield value, key, part
        else:
            yield from _slots(part)


def _parts(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, Module):
        yield from vars(value).items()
    elif isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, (list, tuple)):
        yield from enumerate(value)


def _put(owner: Any, key: Any, value: Any) -> None:
    if isinstance(owner, Module):
        setattr(owner, key, value)
    elif isinstance(owner, tuple):
        if owner[key] is not value:
            raise TypeError(
                f"entry {key} of a tuple, of shape {value.shape}, cannot be replaced; keep "
                "parameters and buffers in a list instead"
            )
    else:
        owner[key] = value


def _once(named: dict[str, Any]) -> dict[str, Any]:
    first: dict[int, str] = {}
    return {
        name: value for name, value in named.items() if first.setdefault(id(value), name) == name
    }
