"""Environment variables of Numba and the kernels: they work, or are refused in a sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import minigan_kernels
import pytest
import tiny
from minigan_kernels import SettingError, environment
from minigan_kernels.cpu.runtime import parallel
from tiny import Shell

import minigan.cli


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        *(("NUMBA_NUM_THREADS", v, "from 1 on") for v in ("0", "-3", "2.5", "many", "", "²")),
        ("NUMBA_THREADING_LAYER", "x", "workqueue"),
        ("NUMBA_THREADING_LAYER", "", "workqueue"),
        ("NUMBA_CPU_FEATURES", "nonsense", "nonsense"),
        ("NUMBA_CPU_FEATURES", "+avx2,", "''"),
        ("NUMBA_CPU_FEATURES", "+avx2, -avx512f", "' -avx512f'"),
    ],
)
def test_a_value_that_cannot_be_is_refused(name: str, value: str, says: str) -> None:
    with pytest.raises(SettingError, match=f"^{name} must be .*{says}") as refusal:
        environment._check({name: value})
    tiny.one_sentence(refusal.value)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"NUMBA_NUM_THREADS": "1"},
        {"NUMBA_THREADING_LAYER": "omp"},
        {"NUMBA_CPU_FEATURES": ""},
        {"NUMBA_CPU_FEATURES": "+avx2,-avx512f"},
    ],
)
def test_a_value_that_can_be_is_taken(given: dict[str, str]) -> None:
    environment._check(given)


@pytest.mark.parametrize(("value", "compiles"), [("0", True), ("1", False), ("2", False)])
def test_who_may_compile(monkeypatch: pytest.MonkeyPatch, value: str, compiles: bool) -> None:
    monkeypatch.setenv("NUMBA_DISABLE_JIT", value)
    assert minigan_kernels.compiles() is compiles


def test_a_threading_layer_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def launch() -> int:
        raise ValueError("No threading layer could be loaded.\nHINT:\nmore lines")

    monkeypatch.setattr(parallel.numba, "get_num_threads", launch)
    with pytest.raises(SettingError, match="NUMBA_THREADING_LAYER") as refusal:
        parallel.thread_count()
    tiny.one_sentence(refusal.value)


def test_the_command_line_says_it_in_one_sentence(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(words: list[str]) -> int:
        raise SettingError("NUMBA_X must be something else")

    monkeypatch.setattr(minigan.cli, "_dispatch", refuse)
    assert shell.refuses("doctor") == "minigan: NUMBA_X must be something else"


def python(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", *words],
        cwd=folder,
        env=tiny.environment(**variables),
        capture_output=True,
        text=True,
        timeout=300,
    )


REFUSED = [
    ("NUMBA_NUM_THREADS", "0"),
    ("NUMBA_BOUNDSCHECK", "x"),
    ("NUMBA_OPT", "9"),
    ("NUMBA_DISABLE_JIT", "yes"),
    ("MINIGAN_LANES", "7"),
    ("MINIGAN_LANES", ""),
    ("MINIGAN_AMX", "maybe"),
    ("MINIGAN_RECIPES", "/no/such/folder"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "value"), REFUSED)
def test_nonsense_costs_one_sentence(tmp_path: Path, name: str, value: str) -> None:
    words = ["train", "dcgan", "--steps", "1"]
    done = python(tmp_path, "-m", "minigan", *words, **{name: value})
    assert done.returncode == 2, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("minigan: ")
    assert name in lines[0]
    assert tiny.tree(tmp_path) == {}


WITHOUT_COMPILER = """
import sys
import numpy as np
import minigan as mg
import minigan_kernels as kernels

assert kernels.backend_of(np.ndarray) == "reference"
x = mg.Tensor(np.ones((2, 3, 5, 5), np.float32))
w = mg.Tensor(np.ones((4, 3, 3, 3), np.float32))
assert mg.grad(mg.conv2d(x, w).sum(), w).shape == w.shape
assert "numba" not in sys.modules
for _ in range(2):
    try:
        with kernels.use("cpu"):
            kernels.conv2d(np.ones((1, 1, 3, 3)), np.ones((1, 1, 2, 2)))
    except kernels.SettingError as error:
        assert "NUMBA_DISABLE_JIT" in str(error) and "\\n" not in str(error)
    else:
        raise AssertionError
"""


def test_without_the_compiler_the_plain_kernels_compute(tmp_path: Path) -> None:
    done = python(tmp_path, "-c", WITHOUT_COMPILER, NUMBA_DISABLE_JIT="1")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_without_the_compiler_every_command_works(tmp_path: Path) -> None:
    for words in (
        ["train", "gan", "--data", "ring", "--steps", "1", "--out", "run"],
        ["train", "--resume", "--out", "run", "--steps", "2"],
        ["evaluate", "run", "--count", "20"],
        ["doctor"],
    ):
        done = python(tmp_path, "-m", "minigan", *words, NUMBA_DISABLE_JIT="1")
        assert done.returncode == 0, done.stderr
        assert "NUMBA_DISABLE_JIT" in done.stderr + done.stdout  # it is said


@pytest.mark.slow
def test_the_tests_say_that_they_need_the_compiler() -> None:
    root = Path(__file__).parents[3]
    words = ["-m", "pytest", "-n0", "--collect-only", "-q", "tests/viz"]
    done = python(root, *words, NUMBA_DISABLE_JIT="1")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "unset NUMBA_DISABLE_JIT" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["/proc/no-such", os.devnull])
def test_a_cache_that_cannot_be_written_costs_time_alone(tmp_path: Path, folder: str) -> None:
    code = """
import numpy as np, minigan_kernels as kernels
kernels.leaky_relu(np.ones(9, np.float32), slope=0.2)
"""
    done = python(tmp_path, "-c", code, NUMBA_CACHE_DIR=folder)
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stderr.splitlines() if "cannot be kept" in line]
    assert len(told) == 1
    assert "NUMBA_CACHE_DIR" in told[0]
