"""The cache of compiled kernels: what it says, what it trusts, and where it cannot write."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import minigan_kernels

PACKAGE = Path(minigan_kernels.__file__).parent
TOTAL = """
import numpy as np, minigan_kernels as k
ones = np.ones((2, 1, 3, 3), np.float32)
dx, dbias = k.bias_leaky_relu_backward(ones, ones, slope=0.2)
print(dx[0, 0, 0, 0], dbias[0])
"""


def start(program: str, cache: Path, packages: Path = PACKAGE.parent) -> subprocess.Popen[str]:
    chosen = {"XDG_CACHE_HOME": str(cache), "PYTHONPATH": str(packages)}
    environment = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"} | chosen
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", program],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What the process printed, and what it said on stderr."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out, err


def run(program: str, cache: Path, packages: Path = PACKAGE.parent) -> tuple[str, str]:
    return end(start(program, cache, packages))


def test_compiling_is_said_once_loading_is_silent_and_damage_is_seen(tmp_path: Path) -> None:
    out, err = run(TOTAL, tmp_path)
    assert out == "1.0 18.0\n"
    lines = err.splitlines()
    assert "compiling kernels" in lines[0]
    assert str(tmp_path) in lines[0]
    # A line for each kernel, none for the helpers that were compiled inside them.
    kernels = [line.split()[1] for line in lines[1:]]
    assert kernels == ["activation._leaky_backward", "channelwise.channel_sums"]
    assert run(TOTAL, tmp_path) == (out, "")
    (kept,) = tmp_path.rglob("cpu.activation._leaky_backward-*.kernel")
    kept.write_bytes(kept.read_bytes()[:-1])
    assert [line.split()[1] for line in run(TOTAL, tmp_path)[1].splitlines()[1:]] == [
        "activation._leaky_backward"
    ]


def test_two_processes_may_compile_at_once(tmp_path: Path) -> None:
    both = TOTAL + "k.bias_leaky_relu_backward(*np.ones((2, 2, 3)), slope=0.2)\n"
    processes = [start(program, tmp_path) for program in (both, both)]
    for process in processes:
        end(process)
    assert run(both, tmp_path) == ("1.0 18.0\n", "")
    assert {path.suffix for path in tmp_path.rglob("*.*")} == {".kernel"}


def test_an_edit_reaches_kernels_of_other_files(tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "copy" / PACKAGE.name)
    assert run(TOTAL, tmp_path, tmp_path / "copy")[0] == "1.0 18.0\n"
    helper = tmp_path / "copy" / PACKAGE.name / "cpu" / "channelwise.py"
    text = helper.read_text()
    assert text.count("totals[c] += rows[r, c]") == 1
    helper.write_text(text.replace("totals[c] += rows[r, c]", "totals[c] += 2 * rows[r, c]"))
    out, err = run(TOTAL, tmp_path, tmp_path / "copy")
    assert out == "1.0 36.0\n"
    assert "activation._leaky_backward" in err


def test_a_folder_that_cannot_be_written_is_named_and_does_no_harm(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    out, err = run(TOTAL, blocked)
    assert out == "1.0 18.0\n"
    assert err.count("cannot be kept") == 1
    assert "NUMBA_CACHE_DIR" in err
