"""What is costly to make, on disk: what killed processes were building."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from minigan_kernels.cuda import cache


def test_what_killed_processes_were_building_is_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = cache.folder()
    for name in ("build-dead", "build-alive"):
        (folder / name).mkdir(parents=True)
        (folder / name / "half").write_bytes(b"half")
    (folder / "other.cubin").touch()
    os.utime(folder / "build-dead", (1e9, 1e9))
    os.utime(folder / "other.cubin", (1e9, 1e9))

    def build(path: Path) -> dict[str, Any]:
        path.write_bytes(b"whole")
        return {}

    assert cache.keep("new.cubin", build).path.read_bytes() == b"whole"
    names = {path.name for path in folder.iterdir()}
    assert names == {"build-alive", "other.cubin", "new.cubin", "new.cubin.json"}
