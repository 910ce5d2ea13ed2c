"""The pickles of CIFAR-10 and CIFAR-100: arrays of uint8 of (n, 3072), and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..pickled import ArrayMachine

COLUMNS = 3072  # bytes of an image of 3 x 32 x 32


class _Batch(ArrayMachine):
    known = "batch"

    def array(self, content: bytes, shape: Any, dtype: np.dtype, *, fortran: bool) -> np.ndarray:
        match shape:
            case (int(count), int(columns)) if columns == COLUMNS:
                if len(content) == count * COLUMNS:
                    return super().array(content, shape, dtype, fortran=fortran)
        raise ValueError(f"its array is not of n rows and {COLUMNS} columns, with a byte for each")


def load(program: bytes) -> Any:
    """What a program builds: values of Python, with `minigan.pickled.Holder` for arrays.

    Raises:
        ValueError: if it is no such program, or asks for anything else; with the reason.
    """
    return _Batch(program).load()
