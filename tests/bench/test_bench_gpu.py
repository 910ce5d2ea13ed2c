"""`python -m bench gpu` without a card: its checks and tables, on emulated and stand-in devices.

What only a card can show is not shown here: that its times are right.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cuda_tools
import numpy as np
import pytest
import strict
from cuda_tools import needs_gxx, needs_nvrtc, on_device
from strict import FakeGpu, Strict

from bench import __main__ as command
from bench import gpu, gpu_checks, gpu_times, results
from bench.gpu_checks import _differences
from bench.peers import Size
from minigan.device import HOST, Device, cuda, probe
from minigan.random import Generator

TINY = Size((1, 28, 28), 2, 2)


class Watch(gpu_times.Watch):
    """Time stands still; what is timed runs once."""

    def turn(self, step: Any) -> gpu_times.Turn:
        step()
        return lambda: 1e-3

    def rounds(self, steps: Any, count: int) -> dict[str, float]:
        for step in steps.values():
            step()
        return dict.fromkeys(steps, 4e-3)

    def used(self) -> int:
        return 7


TORCH = SimpleNamespace(
    dcgan=lambda size, precision, *, compiled: lambda: None,
    conv=lambda layer, direction, precision: lambda: 1.1e-3 if direction == "dw" else 0.5e-3,
)


@needs_gxx
def test_primitives_are_those_of_their_emulation() -> None:
    rows = gpu_checks.primitives(HOST)
    assert len(rows) == 7
    assert all(row["right"] and row["wrong"] == 0 < row["of"] for row in rows)


class Wrong(Device):
    """A card on which one bit of everything is another one."""

    def put(self, array: Any) -> Any:
        array.reshape(-1).view(np.uint8)[3] ^= 64  # of the exponent of a float
        return array


@needs_gxx
def test_a_primitive_or_noise_that_differs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not any(row["right"] for row in gpu_checks.primitives(Wrong()))
    with strict.strict_kernels():
        assert all(row["right"] for row in gpu_checks.noise(FakeGpu()))
        seeds = iter(range(2))
        monkeypatch.setattr(gpu_checks, "Generator", lambda *_: Generator(next(seeds)))
        assert not any(row["right"] for row in gpu_checks.noise(FakeGpu()))


@needs_nvrtc
def test_primitives_compile_for_a_card() -> None:
    for test in gpu_checks._primitives().values():
        assert test.kernel.compiled("sm_90").resources[test.kernel.name].spills == 0


def test_what_counts_as_a_difference() -> None:
    nan, other = np.array([0x7FC00000, 0x7FC00001], np.uint32).view(np.float32)
    a, b = np.array([nan, 1, 0.0, 2], np.float32), np.array([other, 1, -0.0, 2.5], np.float32)
    assert _differences(a, b, 0.0) == 2
    assert _differences(a, b, 0.6) == 0
    assert _differences(a.view(np.uint32), b.view(np.uint32), 0.0) == 2
    assert _differences(np.array([1, 2], np.uint16), np.array([1, 3], np.uint16), 0.0) == 1


def test_a_round_is_compared_with_the_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    with strict.strict_kernels():
        assert gpu_checks.beside_cpu(FakeGpu(), TINY)["right"]
        dcgan = gpu_checks.dcgan

        def off(device: Device, size: Size) -> Any:
            state = dcgan(device, size)
            if device is not HOST:
                state.rng.normal(1)
            return state

        monkeypatch.setattr(gpu_checks, "dcgan", off)
        assert not gpu_checks.beside_cpu(FakeGpu(), TINY)["right"]


def test_replayed_rounds_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    with strict.strict_kernels():
        row = gpu_checks.graphs(FakeGpu(), TINY, 5)
        assert row["right"]
        monkeypatch.setattr(gpu_checks.State, "use_graphs", lambda self, say: say("no graph"))
        row = gpu_checks.graphs(FakeGpu(), TINY, 2)
        assert not row["right"]
        assert row["says"] == "no graph"
        seeds = iter(range(9))
        dcgan = gpu_checks.dcgan
        monkeypatch.setattr(
            gpu_checks, "dcgan", lambda *a: (s := dcgan(*a), s.rng.normal(next(seeds)))[0]
        )
        monkeypatch.setattr(gpu_checks.State, "use_graphs", lambda self, say: None)
        row = gpu_checks.graphs(FakeGpu(), TINY, 2)
        assert not row["right"]
        assert row["wrong"] == 2


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A whole result, of an emulated card and a stand-in for PyTorch."""
    monkeypatch.setattr(gpu_checks, "suite", lambda: {"check": "tests", "right": True, "says": "1"})
    monkeypatch.setattr(gpu_checks, "primitives", lambda device: [])
    monkeypatch.setattr(gpu_times, "layers_of", lambda *size: [layer(8, 8), layer(3, 8)])
    sizes = gpu.small()
    sizes.dcgan, sizes.checked = TINY, 2
    return gpu.measure(HOST, Watch(HOST), sizes, {"float32": 60.0, "tf32": 400.0}, TORCH)


def layer(channels: int, filters: int) -> gpu.Layer:
    return gpu.Layer("D", 1, channels, filters, 8)


@needs_gxx
def test_a_whole_run(
    measured: dict[str, Any], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert gpu.right(measured)
    assert not measured["left_out"]
    assert [len(measured[part]) for part in ("rounds", "layers", "ladder", "passes")] == [
        3,
        18,
        8,
        3,
    ]
    assert measured["rounds"][0]["times"]["PyTorch compiled"] == 4e-3
    first = measured["layers"][0]
    assert first["tflops"] == pytest.approx(2e-12 * 16 * 8 * 8 * 16 / 1e-3)
    assert first["roof"] is not None
    assert measured["layers"][-1]["roof"] is None  # of a precision whose peak is not known
    goals = {row["goal"]: row for row in measured["goals"]}
    assert not goals["every middle convolution in tf32, to cuDNN"]["met"]
    assert goals["a round in bfloat16, to PyTorch compiled"]["reached"] == 1
    assert goals["a round in bfloat16, to PyTorch compiled"]["met"]
    assert not goals["a round in tf32, to PyTorch eager"]["met"]
    assert goals["bytes by which memory grows"]["met"]
    about = {"gpu": "NVIDIA H200", "driver": "580.1", "capability": [9, 0]}
    whole = results.check(
        results.plain(
            {
                "format": results.FORMAT, "part": "gpu", "measured": "2026-11-21", "seconds": 1.0,
                "quick": True, "threads": 1, "machine": {}, "about": about, **measured,
            }
        )
    )  # fmt: skip
    saved = json.loads(results.save("gpu", whole, tmp_path).read_text())
    gpu.show(saved)
    out = capsys.readouterr().out
    for words in ("NVIDIA H200, driver 580.1", "D 8→8", "7 split", "Adam", "0.50x", "missed"):
        assert words in out


def test_a_part_that_fails_is_a_check_that_failed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: Any) -> None:
        raise RuntimeError("cudaErrorIllegalAddress\nand more")

    for name in ("primitives", "noise", "beside_cpu", "graphs", "suite"):
        monkeypatch.setattr(gpu_checks, name, fails)
    for name in ("rounds", "layers", "ladder_rows", "passes", "growth"):
        monkeypatch.setattr(gpu_times, name, fails)
    found = gpu.measure(HOST, Watch(HOST), gpu.small(), {}, None)
    assert len(found["rows"]) == 14
    assert {row["says"] for row in found["rows"]} == {"RuntimeError: cudaErrorIllegalAddress"}
    assert not gpu.right(found)
    assert all(goal["met"] is None for goal in found["goals"])
    gpu.show(found)
    assert "PyTorch with CUDA" in found["absent"]
    assert "not installed: " in capsys.readouterr().out
    monkeypatch.setattr(gpu, "LIMIT", -1)
    assert len(gpu.measure(HOST, Watch(HOST), gpu.small(), {}, None)["left_out"]) == 16


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(gpu_checks.shutil, "which", lambda name: None)
    where = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(gpu_checks.importlib.util, "find_spec", lambda name: where)
    way = "compute-sanitizer (pip install nvidia-cuda-sanitizer-api)"
    assert gpu.absent(None) == [way, "PyTorch with CUDA"]
    assert gpu.absent(TORCH) == [way]
    assert gpu_checks.sanitizer() == []
    tool = tmp_path / "cu13" / "bin" / "compute-sanitizer"
    tool.parent.mkdir(parents=True)
    tool.touch()
    assert gpu_checks.sanitizer_path() == str(tool)
    monkeypatch.setattr(gpu_checks.shutil, "which", lambda name: f"/bin/{name}")
    assert gpu_checks.sanitizer_path() == "/bin/compute-sanitizer"
    assert gpu.absent(TORCH) == []


@pytest.mark.skipif(os.name != "posix", reason="the stand-in is a shell script")
def test_the_sanitizer_is_asked_for_both_kinds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a stand-in that runs the program and finds hazards, but nothing wrong with addresses."""
    tool = tmp_path / "compute-sanitizer"
    tool.write_text('#!/bin/sh\nkind=$2; shift 4; "$@" || exit 1; [ $kind = memcheck ] || exit 9\n')
    tool.chmod(0o755)
    monkeypatch.setattr(gpu_checks, "sanitizer_path", lambda: str(tool))
    monkeypatch.setattr(gpu_checks, "SANITIZED", "print('done')")
    assert gpu_checks.sanitizer() == [
        {"check": "memcheck", "right": True, "says": "done"},
        {"check": "racecheck", "right": False, "says": "done"},
    ]


@needs_gxx
@pytest.mark.slow  # compiles kernels for each precision
def test_what_is_sanitized_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    allocators, precisions = [], []

    def opened(name: str, precision: str, *, deterministic: bool) -> Device:
        precisions.append(precision)
        return cuda_tools.Emulated(precision, deterministic=deterministic)

    cupy = SimpleNamespace(cuda=SimpleNamespace(set_allocator=allocators.append))
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setattr(cuda, "device", opened)
    monkeypatch.setattr(gpu_checks, "FEW", TINY)
    exec(gpu_checks.SANITIZED)
    assert allocators == [None]
    assert precisions == ["float32", "tf32", "bfloat16"]


def test_tests_that_all_skip_have_shown_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for says, right in (("7 passed in 1 s", True), ("7 skipped in 1 s", False)):
        monkeypatch.setattr(gpu_checks, "_done", lambda *_, s=says: {"right": True, "says": s})
        assert gpu_checks.suite()["right"] == right


def test_peaks_are_those_of_the_white_papers() -> None:
    h100 = gpu_times.peaks((9, 0), 132, 1.83)
    assert h100 == pytest.approx({"float32": 61.8, "tf32": 494.7, "bfloat16": 989.4}, rel=1e-3)
    a100 = gpu_times.peaks((8, 0), 108, 1.41)
    assert a100 == pytest.approx({"float32": 19.5, "tf32": 156, "bfloat16": 312}, rel=1e-3)
    assert gpu_times.peaks((12, 0), 170, 2.4) == {}
    roof = {"gbytes": 4000.0, "tflops": {"float32": 60.0}}
    assert gpu_times.least(6e10, 8e6, roof, "float32") == pytest.approx(1e-3)
    assert gpu_times.least(6e10, 8e9, roof, "float32") == pytest.approx(2e-3)
    assert gpu_times.least(1, 1, roof, "tf32") is None


def test_a_command_that_fails_or_takes_long_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    def done(code: str) -> dict[str, Any]:
        return gpu_checks._done([sys.executable, "-S", "-c", code], dict(os.environ))

    assert done("print('7 passed')") == {"right": True, "says": "7 passed"}
    assert done("raise SystemExit('no such thing')") == {"right": False, "says": "no such thing"}
    monkeypatch.setattr(gpu_checks, "PATIENCE", 0.01)
    endless = "import threading; threading.Event().wait()"
    assert done(endless) == {"right": False, "says": "it was not done after 0.01 s"}


def test_rounds_that_are_not_replayed_have_no_time_for_that() -> None:
    class Refuses(Device):
        supports_graphs = True

        def capture(self, work: Any) -> Any:
            raise RuntimeError("no graphs here")

    class Twice(Watch):
        def rounds(self, steps: Any, count: int) -> dict[str, float]:
            super().rounds(steps, count)
            return super().rounds(steps, count)

    row = gpu_times.rounds(Twice(Refuses()), TINY, 1, "float32", None)
    assert row["times"].keys() == {"minigan"}
    assert "no graphs here" in row["absent"]["minigan, graph"]

    def broken(*_: Any, **__: Any) -> None:
        raise ValueError("no Triton\nat all")

    torch = SimpleNamespace(dcgan=broken)
    gpu_times.compiled(Watch(HOST), TINY, 1, row, torch)
    assert row["absent"][gpu_times.COMPILED] == "ValueError: no Triton"
    row = gpu_times.rounds(Watch(HOST), TINY, 1, "float32", torch)
    assert row["absent"][gpu_times.EAGER] == "ValueError: no Triton"
    assert row["times"].keys() == {"minigan", "minigan, graph"}
    assert not row["ratios"]


def test_rounds_and_layers_are_timed_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    steps = {name: lambda name=name: order.append(name) for name in "ab"}
    found = gpu_times.Watch(HOST).rounds(steps, 2 * gpu_times.TURNS)
    assert found.keys() == {"a", "b"}
    blocks = "".join(order[2 * gpu_times.STEADY :])
    assert blocks.startswith("aabbbbaabbaaaabb")
    assert len(blocks) == 2 * 2 * gpu_times.TURNS
    order.clear()

    class Turns(Watch):
        def turn(self, step: Any) -> gpu_times.Turn:
            return lambda: (order.append("minigan"), 1.0)[1]

    torch = SimpleNamespace(conv=lambda *_: lambda: (order.append("cuDNN"), 2.0)[1])
    monkeypatch.setattr(gpu_times, "layers_of", lambda *size: [layer(8, 8)])
    monkeypatch.setattr(gpu_times, "DIRECTIONS", ("forward",))
    roof = {"gbytes": 1.0, "tflops": {}}
    (row,) = gpu_times.layers(Turns(HOST), TINY, "float32", roof, torch)
    assert (row["seconds"], row["cudnn"]) == (1.0, 2.0)
    assert order[:4] == ["minigan", "cuDNN", "cuDNN", "minigan"]
    assert len(order) == 2 * gpu_times.TURNS


def test_compiled_steps_are_compared_with_ours_of_the_same_minutes() -> None:
    class Warm(Watch):
        def rounds(self, steps: Any, count: int) -> dict[str, float]:
            return {name: 2.0 if "minigan" in name else 3.0 for name in steps}

    row: dict[str, Any] = {
        "precision": "float32", "times": {"minigan": 1.0}, "ratios": {}, "absent": {},
    }  # fmt: skip
    gpu_times.compiled(Warm(HOST), TINY, 1, row, TORCH)
    assert row["times"] == {"minigan": 1.0, gpu_times.COMPILED: 3.0}
    assert row["ratios"] == {gpu_times.COMPILED: 1.5}


@pytest.mark.skipif(probe.diagnose(probe.probe_cuda()) is None, reason="there is a card")
def test_without_a_card_it_says_so(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "limit", lambda threads: None)  # of this process
    assert command.main(["gpu", "--out", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("minigan bench: there is no GPU to measure: ")
    assert not list(tmp_path.iterdir())


def test_the_twins_tests_reach_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """With arrays of another kind in the same memory order, and what is written comes back."""
    monkeypatch.setattr(cuda_tools, "DEVICE", FakeGpu())
    with strict.strict_kernels():
        seen: list[Any] = []

        def kernel(x: Strict, *, more: list[Strict]) -> tuple[Strict, ...]:
            seen.append((x.strides, type(more[0])))
            x[...] = x + more[0]
            return (x * 2,)

        x = np.zeros((1, 2, 3, 4)).transpose(0, 3, 1, 2)
        (y,) = on_device(kernel, x, more=[np.ones(())])
        assert seen == [(x.strides, Strict)]
        assert (x == 1).all()
        assert (y == 2).all()
        assert y.strides == x.strides
