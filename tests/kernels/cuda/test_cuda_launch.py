"""How a kernel reaches a GPU: through CuPy, of which a stand-in notes what it is asked for."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import minigan_kernels as kernels
import numpy as np
import pytest
from minigan_kernels.cuda import launch, nvrtc
from minigan_kernels.cuda.errors import UnavailableError
from minigan_kernels.cuda.launch import Kernel


class FakeGpu:
    """A stand-in for CuPy on a machine with one GPU."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.launches: list[tuple[Any, ...]] = []
        self.attributes: list[tuple[int, int, int]] = []
        self.loaded: list[bytes] = []
        self.compiled_for: list[str] = []
        self.available = True
        gpu = self

        class Module:
            def load(self, code: bytes) -> None:
                gpu.loaded.append(code)

            def get_function(self, name: str) -> Any:
                function = lambda *arguments: gpu.launches.append((name, *arguments))  # noqa: E731
                function.ptr = 77
                return function

        def compiled(kernel: Kernel, arch: str) -> nvrtc.Cubin:
            gpu.compiled_for.append(arch)
            path = folder / f"{kernel.name}.cubin"
            path.write_bytes(kernel.name.encode())
            return nvrtc.Cubin(path, {})

        parts = {name: ModuleType(name) for name in ("cupy", "cupy.cuda", "cupy.cuda.function")}
        cupy, cuda, function = parts.values()
        cupy.is_available = lambda: self.available
        cupy.cuda, cuda.function, function.Module = cuda, function, Module
        cuda.Device = lambda number: type("Device", (), {"compute_capability": "90"})
        cuda.runtime = type("runtime", (), {"getDevice": staticmethod(lambda: 0)})
        note = staticmethod(lambda *what: self.attributes.append(what))
        cuda.driver = type("driver", (), {"funcSetAttribute": note})
        for name, module in parts.items():
            monkeypatch.setitem(sys.modules, name, module)
        monkeypatch.setattr(Kernel, "compiled", compiled)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeGpu:
    return FakeGpu(monkeypatch, tmp_path)


def array_on_gpu() -> Any:
    return type("ndarray", (), {"__module__": "cupy"})()


def test_cupys_arrays_are_computed_on_the_card() -> None:
    assert kernels.backend_of(type(array_on_gpu())) == "cuda"
    assert kernels.backend_of(np.ndarray) == "cpu"


def test_a_launch(gpu: FakeGpu) -> None:
    kernel, x = Kernel("activation", "scale", threads=96, shared=48 << 10), array_on_gpu()
    kernel((5, 2), x, np.float32(2))
    kernel((1,), x, np.float32(3))
    assert gpu.loaded == [b"scale"]  # once
    assert gpu.compiled_for == ["sm_90"]
    assert gpu.launches == [
        ("scale", (5, 2, 1), (96,), (x, np.float32(2)), 48 << 10),
        ("scale", (1, 1, 1), (96,), (x, np.float32(3)), 48 << 10),
    ]
    value = gpu.launches[0][3][1]
    assert (type(value), value.dtype, value.shape) == (np.ndarray, np.float32, ())
    assert not gpu.attributes


def test_much_shared_memory_is_asked_for(gpu: FakeGpu) -> None:
    Kernel("activation", "scale", threads=96, shared=64 << 10)((1,), array_on_gpu())
    assert gpu.attributes == [(77, 8, 64 << 10)]


def test_a_machine_without_a_gpu_is_one_sentence(gpu: FakeGpu) -> None:
    gpu.available = False
    with pytest.raises(UnavailableError, match="no CUDA GPU"):
        Kernel("activation", "scale", threads=96)((1,), array_on_gpu())


def test_emulation_plans_as_a_large_gpu() -> None:
    assert launch.multiprocessors(np.zeros(3)) == 132


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    from minigan_kernels.cuda.cache import kept

    with pytest.raises(UnavailableError, match="set XDG_CACHE_HOME"):
        kept("x", lambda out: {})
