"""Finding where infinite or undefined values arose: in an operation, or in an array."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..tensor import Tensor, history


def first_nonfinite(loss: Tensor) -> str:
    """In words, where the first infinite or undefined value on the way to `loss` arose."""
    for node in history(loss):
        for position, tensor in enumerate(node.inputs):
            if tensor.node is None and not _finite(tensor):
                return f"argument {position} of {node} is not finite before it is used"
        if not _finite(node.output()):
            return f"the first is {node}"
    return "the loss has no history"


def nonfinite_array(arrays: Mapping[str, np.ndarray]) -> str | None:
    """The name of the first array with a value that is infinite or undefined, if there is one."""
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            return name
    return None


def _finite(tensor: Tensor) -> bool:
    return tensor.dtype.kind != "f" or np.isfinite(tensor.data).all().item()
