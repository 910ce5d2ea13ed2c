"""Modules: networks as plain Python objects whose attributes are their parameters."""

from __future__ import annotations

import copy
import html
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, Self

import numpy as np
from minigan_kernels.memo import writable

from ..device import Device, device_name, is_array
from ..hints import also
from ..random import Generator
from ..tensor import Array, Tensor, adopt
from .description import SCALARS, describe, parts, words
from .familiar import Familiar
from .hints import ARGUMENTS
from .parameters import Parameter, Parameters
from .saved import Renamed, Unmatched, known_names, matched, plain, pytorch_names

Place = tuple[str, Any, Any, Any]  # the dotted path to a value, what holds it, its key, the value


class Module(Familiar):
    """A function with parameters.

    A `Parameter` is trained, an array is a buffer (state that is not trained), and a `Module`, or a
    list, tuple or dict of modules, is a part. They are found by walking the attributes in the order
    in which they were set, and named by the dotted path to them: `trunk.0.weight`. A tuple must not
    hold arrays that `astype` or others replace, nor parameters that `replaced` does.

    A bare tensor is no attribute of a module, nor in its lists and dicts: a `TypeError` names it,
    since nobody could tell whether it is to be trained, to be saved, or neither.

    No part may lead back to a module that it is a part of. One that must know its parent keeps
    `weakref.ref(parent)`, which is not walked.

    >>> class Twice(nn.Module):
    ...     def __init__(self, rng):
    ...         self.linear = nn.Linear(3, 3, rng=rng)
    ...     def forward(self, x):
    ...         return self.linear(self.linear(x))
    >>> list(Twice(rng).parameters())
    ['linear.weight', 'linear.bias']
    """

    training = True
    takes_arrays = False  # whether arrays and lists that it is called with become tensors
    # What PyTorch calls an attribute; "" if it has no name for it. See `load_state_dict`.
    pytorch_names: ClassVar[Renamed] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.__module__.startswith(f"{__package__}.") and "__init__" in vars(cls):
            cls.__init__ = also(**ARGUMENTS)(cls.__init__)  # type: ignore[method-assign]

    def __setattr__(self, name: str, value: Any) -> None:
        if type(value) is Tensor:
            raise TypeError(_bare(type(self).__name__, name))
        if is_array(value) and isinstance(vars(self).get(name), Parameter):
            raise TypeError(
                f"{type(self).__name__}.{name} is a parameter, and an array would not be trained: "
                f"write nn.Parameter(x), or load_state_dict({{{name!r}: x}}, strict=False)"
            )
        object.__setattr__(self, name, value)

    def forward(self, *inputs: Any) -> Any:
        """What calling the module computes: write this in one of your own."""
        raise TypeError(f"{type(self).__name__} has no forward method")

    def __call__(self, *inputs: Any) -> Any:
        if self.takes_arrays:
            for x in inputs:
                if type(x) is not Tensor:
                    inputs = tuple(map(self._as_tensor, inputs))
                    break
        output = self.forward(*inputs)
        for watch in _watchers:
            watch(self, inputs, output)
        return output

    def _as_tensor(self, x: Any) -> Tensor:
        """A tensor of x; floats of an array or a list, which are data, take the module's dtype."""
        if isinstance(x, Tensor):
            return x
        x = Tensor(x)
        if x.dtype.kind not in "biufc":
            raise TypeError(f"{type(self).__name__} takes a tensor or an array, not {x.data!r}")
        if x.dtype.kind == "f":
            mine = (a.dtype for a in self.arrays().values() if a.dtype.kind == "f")
            x = adopt(x.data.astype(next(mine, x.dtype), copy=False))
        return x

    def parameters(self) -> Parameters:
        """Every parameter by name; a shared one appears once, under its first name."""
        found, known = Parameters(), set[int]()
        for name, owner, key, value in self._leaves():
            if isinstance(value, Tensor) and id(value) not in known:
                known.add(id(value))
                found[name] = value
                found.places[name] = (vars(owner) if isinstance(owner, Module) else owner), key
        return found

    def buffers(self) -> dict[str, Array]:
        """Every buffer by name; a shared one appears once, under its first name."""
        found, known = {}, set[int]()
        for name, _, _, value in self._leaves():
            if not isinstance(value, Tensor) and id(value) not in known:
                known.add(id(value))
                found[name] = value
        return found

    def modules(self) -> dict[str, Module]:
        """This module, as "", and all of its parts by name."""
        parts = {name: part for name, _, _, part in _walk(self, "", []) if isinstance(part, Module)}
        return {"": self, **parts}

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

    def arrays(self) -> dict[str, Array]:
        """The arrays of all parameters and buffers by name: those that compute, not copies.

        Their order in memory is the kernels' own.
        """
        return {name: p.data for name, p in self.parameters().items()} | self.buffers()

    def state_dict(self, names: str = "own") -> dict[str, np.ndarray]:
        """The values of all parameters and buffers by name, to be saved; `state` is the same.

        They are read-only NumPy arrays in C order: copies, whatever they are copied from. So other
        libraries may save them too, such as `safetensors.numpy.save_file`, which takes C order for
        granted. With `names="pytorch"` they have the names of PyTorch's layers, which
        `load_state_dict` takes as well, there and here.

        Raises:
            ValueError: for other `names`, or if PyTorch would call two arrays by one name.
        """
        if names not in ("own", "pytorch"):
            raise ValueError(f"names of a state are 'own' or 'pytorch', not {names!r}")
        arrays = self.arrays()
        if names == "pytorch":
            theirs = pytorch_names(self._leaves(), self.modules())
            arrays = {theirs[name]: array for name, array in arrays.items()}
        return plain(arrays)

    def load_state_dict(self, state: Mapping[str, Array], strict: bool = True) -> Unmatched:
        """Write the arrays of `state` into the parameters and buffers of the same names;
        `load_state` is the same.

        A name may also be PyTorch's: "0.weight" in a `Sequential`, the weight and bias of a norm,
        the weight_orig and weight_u of a spectral norm, and "module." before every name. Its
        num_batches_tracked is passed over. The arrays may have any order in memory, be on any
        device, be PyTorch's tensors, and be of another dtype of the same kind; see
        `minigan.nn.saved.fitted`.

        What is missing and unexpected is returned, as in PyTorch: nothing, unless `strict` is
        false.

        Raises:
            ValueError: naming every array that is missing, unknown, of another shape, or of a dtype
                that does not fit; nothing is written then. Without `strict` arrays may be missing
                or unknown.
        """
        mine = self.arrays()
        names = known_names(self._leaves(), self.modules())
        found, unmatched = matched(names, mine, state, type(self).__name__, strict=strict)
        with writable(*(mine[name] for name in found)):
            for name, array in found.items():
                mine[name][...] = array
        return unmatched

    def state(self) -> dict[str, np.ndarray]:
        """The same as `state_dict`."""
        return self.state_dict()

    def load_state(self, state: Mapping[str, Array], strict: bool = True) -> Unmatched:
        """The same as `load_state_dict`."""
        return self.load_state_dict(state, strict)

    def astype(self, dtype: Any) -> Self:
        """Convert all parameters and floating-point buffers to `dtype`, in place: to check
        gradients, say. Optimisers follow with their next step.

        Raises:
            ValueError: if it is no floating-point dtype.
        """
        if dtype is None or np.dtype(dtype).kind != "f":
            raise ValueError(f"a module computes in floating-point numbers, not in {dtype}")
        self._exchange(lambda array: array.astype(dtype) if array.dtype.kind == "f" else array)
        return self

    def to(self, device: Device | str | type[np.floating] | np.dtype | None) -> Self:
        """Move all parameters and buffers to a device, "cpu" or "cuda" say, in place; optimisers
        follow. A dtype converts them, as `astype` does; None leaves all as it is.

        Raises:
            UserError: if there is no such GPU, with the reason.
            ValueError: for what is neither a device nor a dtype of floating-point numbers.
        """
        if device is None:
            return self
        if isinstance(device, str) and (name := device_name(device)) is not None:
            from ..device.cuda import device as opened  # only now: it looks for GPUs

            device = opened(name)
        if not callable(put := getattr(device, "put", None)) or isinstance(device, type):
            try:
                return self.astype(device)
            except TypeError:
                raise ValueError(
                    f"a module is moved to 'cpu' or 'cuda', or converted to a dtype, not {device!r}"
                ) from None
        self._exchange(put)
        return self

    def replace_arrays(self, arrays: Mapping[str, Array]) -> None:
        """Replace the arrays of these names (as in `arrays`) by the given ones, without a copy."""
        mine = self.arrays()
        given = {id(mine[name]): array for name, array in arrays.items() if name in mine}
        self._exchange(lambda array: given.get(id(array), array))

    def _exchange(self, new: Callable[[Array], Array]) -> None:
        """Put new(array) in the place of each array, in parameters and buffers: all, or none."""
        places = [
            (o, k, v, v.data if isinstance(v, Tensor) else v) for _, o, k, v in self._leaves()
        ]
        made: dict[int, Array] = {}  # by identity of the old array, which `places` keeps alive
        for owner, key, value, array in places:
            if id(array) not in made:
                made[id(array)] = new(array)
            if isinstance(owner, tuple) and not isinstance(value, Tensor):
                _put(owner, key, made[id(array)])
        for owner, key, value, array in places:
            if isinstance(value, Tensor):
                value.data = made[id(array)]
            else:
                _put(owner, key, made[id(array)])

    @contextmanager
    def replaced(self, parameters: Mapping[str, Tensor]) -> Iterator[Self]:
        """Within the block the parameters of these names are the given tensors.

        So an update can be tried, and be differentiated, as an unrolled GAN does.

        Raises:
            ValueError: naming a parameter that there is not, or whose tensor does not fit.
        """
        mine = self.parameters()
        for name, tensor in parameters.items():
            if name not in mine:
                raise ValueError(f"{type(self).__name__} has no parameter {name!r}")
            if not isinstance(tensor, Tensor) or tensor.shape != mine[name].shape:
                given = tensor.shape if isinstance(tensor, Tensor) else type(tensor).__name__
                raise ValueError(f"{name} is a tensor of shape {mine[name].shape}, not {given}")
        substitute = {id(mine[name]): tensor for name, tensor in parameters.items()}
        slots = [(o, k, v) for _, o, k, v in self._leaves() if id(v) in substitute]
        in_place = [id(tensor) for tensor in substitute.values()]
        try:
            _substitutes.update(in_place)
            for owner, key, value in slots:
                _put(owner, key, substitute[id(value)])
            yield self
        finally:
            for owner, key, value in slots:
                _put(owner, key, value)
            _substitutes.subtract(in_place)
            for key in in_place:
                if not _substitutes[key]:
                    del _substitutes[key]

    def copy(self) -> Self:
        """An independent copy with equal parameters and buffers; random generators are shared."""
        self.modules()  # says what leads back to itself
        memo: dict[int, Any] = {id(g): g for g in _generators(self)}
        return copy.deepcopy(self, memo)

    def multiply_adds(self, x_shape: tuple[int, ...], y_shape: tuple[int, ...]) -> int:
        """Multiply-add operations of one forward pass, without those of the parts."""
        return 0

    def extra_repr(self) -> str:
        """What `repr` says of this module alone: its numbers, and the shapes of its arrays."""
        return ", ".join(words(self))

    def __repr__(self) -> str:
        """This module, and below it its parts."""
        return describe(self, [])

    def _repr_html_(self) -> str:
        count = sum(p.size for p in self.parameters().values())
        title = html.escape(f"{type(self).__name__}: {count:,} parameters")
        tree = f"<pre>{html.escape(repr(self))}</pre>"
        return f"<details open><summary>{title}</summary>{tree}</details>"

    def _leaves(self) -> Iterator[Place]:
        """The places of all parameters and buffers.

        Raises:
            TypeError: naming a bare tensor.
            ValueError: if two of them have one name.
        """
        names = set()
        for place in _walk(self, "", []):
            if not isinstance(place[3], Module):
                if type(place[3]) is not Parameter and not _is_kept(place[3]):
                    raise TypeError(_bare(type(self).__name__, place[0]))
                if place[0] in names:
                    raise ValueError(
                        f"{type(self).__name__} has two values called {place[0]}; rename one"
                    )
                names.add(place[0])
                yield place


# Identities of the tensors that `replaced` has put somewhere, and in how many blocks.
_substitutes = Counter[int]()
_watchers: list[Callable[[Module, tuple[Any, ...], Any], None]] = []


@contextmanager
def watching(watch: Callable[[Module, tuple[Any, ...], Any], None]) -> Iterator[None]:
    """Within the block call `watch(module, inputs, output)` after each module's forward pass.

    >>> with nn.watching(lambda module, inputs, output: print(type(module).__name__)):
    ...     y = nn.Sequential(nn.Tanh(), nn.ReLU())(mg.Tensor([1.0]))
    Tanh
    ReLU
    Sequential
    """
    _watchers.append(watch)
    try:
        yield
    finally:
        _watchers.remove(watch)


def _walk(owner: Any, path: str, above: list[int]) -> Iterator[Place]:
    """All modules, tensors and arrays in `owner`, in the order in which they were defined.

    `above` has the identities of what holds `owner`.

    Raises:
        ValueError: if a part leads back to what it is in.
    """
    above.append(id(owner))
    for key, part in parts(owner):
        if part is None or isinstance(part, SCALARS):
            continue
        name = f"{path}.{key}" if path else str(key)
        if isinstance(part, Tensor) or is_array(part):
            yield name, owner, key, part
        elif isinstance(part, (Module, dict, list, tuple)):
            if id(part) in above:
                raise ValueError(
                    f"{name} leads back to the {type(part).__name__} that it is in; a part that "
                    "must know its parent keeps weakref.ref(parent)"
                )
            if isinstance(part, Module):
                yield name, owner, key, part
            yield from _walk(part, name, above)
    above.pop()


def _generators(owner: Any) -> Iterator[Generator]:
    for _, part in parts(owner):
        if isinstance(part, Generator):
            yield part
        elif isinstance(part, (Module, dict, list, tuple)):
            yield from _generators(part)


def _is_kept(value: Any) -> bool:
    """Whether a module may have this value: an array, a parameter or what `replaced` put there."""
    return (
        not isinstance(value, Tensor) or isinstance(value, Parameter) or id(value) in _substitutes
    )


def _bare(kind: str, name: str) -> str:
    return (
        f"{kind}.{name} is a bare tensor: write nn.Parameter(x) if it is to be trained, "
        "x.numpy().copy() for a buffer; keep a result in a local variable, or return it"
    )


def _put(owner: Any, key: Any, value: Any) -> None:
    if isinstance(owner, Module):
        vars(owner)[key] = value
    elif isinstance(owner, tuple):
        if owner[key] is not value:
            raise TypeError(
                f"entry {key} of a tuple, of shape {value.shape}, cannot be replaced; keep "
                "parameters and buffers in a list instead"
            )
    else:
        owner[key] = value
