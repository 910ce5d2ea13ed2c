"""The arguments that a primitive takes: for `help`, and in the messages of its errors."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np


def signature_of(primitive: Any) -> inspect.Signature:
    """The arguments of a primitive: those of the function that it looks like, or of its kernel.

    Raises:
        ValueError: if the kernel is one of C that does not tell.
    """
    if hasattr(primitive, "reference"):
        return inspect.signature(primitive.reference)
    kernel, kind = primitive.kernel, inspect.Parameter.POSITIONAL_OR_KEYWORD
    if isinstance(kernel, np.ufunc):
        names = ("x",) if kernel.nin == 1 else ("a", "b", "c")[: kernel.nin]
        return inspect.Signature([inspect.Parameter(name, kind) for name in names])
    parameters = inspect.signature(kernel).parameters.values()  # arrays, where it takes tensors
    return inspect.Signature([p.replace(annotation=p.empty) for p in parameters])


def applied(primitive: Any, inputs: Any) -> str:
    """A primitive and the shapes of what it was given, as "matmul of (2, 3) and (2, 3)"."""
    return f"{primitive.shown} of {' and '.join(str(t.shape) for t in inputs) or 'nothing'}"


def misfit(primitive: Any, args: Any, options: Any, error: Exception) -> str:
    """The message of a primitive's error.

    Of arguments that do not fit its signature it says so, since Python would name a kernel that
    nobody called.
    """
    what, why = applied(primitive, args), str(error)
    try:
        signature = signature_of(primitive)
    except ValueError:
        return f"{what}: {why}"
    try:
        signature.bind(*args, **options)
    except TypeError as unfit:
        why = f"{unfit}; it is {primitive.shown}{plain(signature)}"
    return f"{what}: {why}"


def plain(signature: inspect.Signature) -> str:
    """A signature as text, without the types."""
    parameters = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
    return str(inspect.Signature(parameters))
