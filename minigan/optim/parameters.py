"""What an optimiser, a clipper and an average may move: tensors by name, and their gradients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from minigan_kernels.memo import writable

from ..device import is_array
from ..nn import Module
from ..nn.parameters import Parameters
from ..tensor import Array, Tensor

PARAMS, RATE = "params", "lr"  # of a group: its parameters, and its learning rate


def collected(given: Any, owner: str) -> tuple[Any, list[tuple[int, Any]]]:
    """The parameters by name that an optimiser is built over, and of each of its groups how many
    there are, with the group's own learning rate or None.

    `given` is a module, parameters by name, or a list of those, of groups {"params": ..., "lr":
    ...}, or of tensors, which are named by their places. Only a list has groups. What is neither is
    given back, for `check_parameters` to name it.

    Raises:
        TypeError: if a list holds anything else, or a group more than parameters and a rate.
        ValueError: if a parameter is in two groups.
    """
    if isinstance(given, Module):
        return given.parameters(), []
    if isinstance(given, (Mapping, str, Tensor)) or not isinstance(given, Iterable):
        return given, []
    found, groups, twice = Parameters(), list[tuple[int, Any]](), False
    for i, part in enumerate(given):
        before, lr = len(found), None
        if isinstance(part, Mapping) and PARAMS in part and not isinstance(part[PARAMS], Tensor):
            if more := [str(key) for key in part if key not in (PARAMS, RATE)]:
                raise TypeError(
                    f"a group of {owner} has {PARAMS!r} and {RATE!r} alone, not {more[0]!r}; for "
                    "other options make a second optimiser"
                )
            lr = part.get(RATE)
            part = collected(part[PARAMS], owner)[0]
        named = _named(part, str(i), owner)
        found |= named
        twice = twice or len(found) - before < len(named)
        groups.append((len(found) - before, lr))
    if all(lr is None for _, lr in groups):
        return found, []
    if twice:
        raise ValueError(
            f"a parameter is in two groups of {owner}, but has one rate; leave it out of one"
        )
    return found, groups


def _named(part: Any, place: str, owner: str) -> Any:
    """One entry of a list of parameters, as parameters by name."""
    if isinstance(part, Module):
        return part.parameters()
    if isinstance(part, Tensor):
        return {place: part}
    if isinstance(part, tuple) and len(part) == 2 and isinstance(part[0], str):
        return dict([part])  # of named_parameters(), or of items()
    if isinstance(part, Mapping):
        return part
    given = (
        f"{owner} was given names of parameters, since parameters() is a dict"
        if isinstance(part, str)
        else f"{owner} takes no list of {type(part).__name__}"
    )
    raise TypeError(f"{given}: say {owner}(net, lr), or for several {owner}([G, D], lr)")


def check_parameters(parameters: Any, owner: str) -> None:
    """Make sure that `parameters` are tensors by name that `owner` can move.

    Raises:
        TypeError: if they are no mapping, or one is no tensor.
        ValueError: naming a parameter that cannot be moved.
    """
    check_floats(parameters, owner)
    first: dict[int, str] = {}
    for name, p in parameters.items():
        check_parameter(name, p, owner)
        if (other := first.setdefault(id(p.data), name)) != name:
            raise ValueError(
                f"{other} and {name} are one parameter, which {owner} would move twice; leave one "
                "of the names out"
            )


def check_floats(parameters: Any, owner: str) -> None:
    """Make sure that `parameters` are tensors of floating-point numbers by name.

    Raises:
        TypeError: if they are no mapping, or one is no tensor.
        ValueError: naming a parameter of another dtype.
    """
    if not isinstance(parameters, Mapping):
        given = type(parameters).__name__
        raise TypeError(
            f"{owner} takes parameters by name, such as net.parameters() of a module net, not a "
            f"{given}"
        )
    for name, p in parameters.items():
        if not isinstance(name, str) or not isinstance(p, Tensor):
            given = f"{name!r}: {type(p).__name__}"
            raise TypeError(f"{owner} takes tensors by name, such as net.parameters(), not {given}")
        if p.data.dtype.kind != "f":
            raise ValueError(
                f"{name} is {p.dtype}, but {owner} takes floating-point numbers; build it as "
                "Tensor(data, numpy.float32)"
            )


def check_parameter(name: str, p: Tensor, owner: str) -> None:
    """Make sure that the values of a parameter can be moved.

    Raises:
        ValueError: if they are no floats, were computed, or cannot be written.
    """
    if p.dtype not in (np.float32, np.float64):
        raise ValueError(f"{name} is {p.dtype}, but {owner} moves float32 and float64 alone")
    if p.node is not None:
        raise ValueError(
            f"{name} was computed, by {p.node}, so {owner} cannot move it; take its detach(), or "
            "the parameters that it was computed from"
        )
    if any(step == 0 and n > 1 for step, n in zip(p.data.strides, p.shape, strict=True)):
        raise ValueError(f"{name} has several values at one address; take a copy of its array")
    try:
        with writable(p.data):
            pass
    except ValueError as error:
        raise ValueError(
            f"{owner} cannot write {name}, whose memory is read-only; take a copy of its array"
        ) from error


def gradient_arrays(gradients: Any, taker: str) -> dict[str, Array]:
    """The arrays of a dict of gradients, which are tensors or arrays.

    Raises:
        TypeError: if they are none.
        ValueError: naming a gradient that is not of floating-point numbers.
    """
    check_dict(gradients, taker)
    return {name: gradient_array(name, g) for name, g in gradients.items()}


def check_dict(gradients: Any, taker: str) -> None:
    """Make sure that gradients are a dict, or another mapping.

    Raises:
        TypeError: if they are none.
    """
    if not isinstance(gradients, Mapping):
        given = "nothing" if gradients is None else f"a {type(gradients).__name__}"
        raise TypeError(
            f"{taker} takes a dict of gradients, such as minigan.grad(loss, net.parameters()), "
            f"not {given}"
        )


def gradient_array(name: str, gradient: Any) -> Array:
    """The array of one gradient; errors as for several."""
    array = gradient.data if isinstance(gradient, Tensor) else gradient
    if not is_array(array):
        given = type(gradient).__name__
        raise TypeError(f"the gradient of {name} must be a tensor or an array, not a {given}")
    if array.dtype.kind != "f":
        raise ValueError(f"the gradient of {name} is {array.dtype}, and no floating-point numbers")
    return array
