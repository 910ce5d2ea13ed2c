"""Data as an earlier minigan gave them, for the runs that it trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from .dataset import Dataset


def in_one_class(dataset: Dataset, facts: Mapping[str, Any]) -> Dataset:
    """The same images in the one class that a run has, if a single folder was a class then.

    `facts` are those of the run's data in its configuration. Its recipe may have a network for that
    class, and its digest counts it.

    >>> data = mg.data.Dataset("mine", np.zeros((2, 1, 8, 8), np.uint8))
    >>> in_one_class(data, {"classes": ["cats"], "stack": 1})
    <Dataset mine: 2 images (1, 8, 8), 1 class: cats>
    """
    name, *others = facts.get("classes") or [None]
    if name is None or others or dataset.classes or not dataset.is_image:
        return dataset
    count, parts = facts["stack"], tuple[str, ...]()
    if count > 1:  # of the classes a, a, a the tuple is "a,a,a"
        parts = (name[: (len(name) + 1) // count - 1],)
    return replace(dataset, y=np.zeros(len(dataset), np.int64), classes=(name,), parts=parts)
