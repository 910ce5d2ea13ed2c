"""Memory that held anything before."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from minigan_kernels.cpu.runtime import native_task, workspace


def spoil_memory(monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """Fill with NaN whatever the convolutions of `module` are given to write in."""

    def spoilt(allocate: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
        def allocated(*args: Any) -> np.ndarray:
            array = allocate(*args)
            array[...] = 255 if array.dtype == np.uint8 else np.nan  # bytes of NaN
            return array

        return allocated

    def spoilt_address(workspaces: workspace.Workspaces, wanted: workspace.Workspace) -> int:
        address = workspace.workspace_address(workspaces, wanted)
        ctypes.memset(address, 255, wanted.size_bytes)
        return address

    for owner, name in ((module, "empty"), (module, "empty_image"), (workspace, "empty")):
        monkeypatch.setattr(owner, name, spoilt(getattr(owner, name)))
    monkeypatch.setattr(native_task, "workspace_address", spoilt_address)
