"""The emulated matrix unit: with it, code for AMX runs on any CPU, in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from minigan_kernels.cpu.isa import amx

ROOT = Path(__file__).resolve().parents[3]
EMULATED = {"MINIGAN_AMX": "emulate", "MINIGAN_LANES": "16"}

# Enough for all of the code; test_all_tests_of_convolutions_pass has the rest.
CHOSEN = (
    "test_winograd.py::test_every_algorithm_agrees_with_the_reference[winograd]",
    "test_winograd.py::test_every_algorithm_agrees_with_the_reference[winograd2]",
    "test_winograd.py::test_any_number_of_threads_gives_the_same_bytes",
    "test_winograd_memo.py::test_frozen_arrays_are_transformed_once",
)


def python(*words: str, **chosen: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env=os.environ | EMULATED | chosen,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1800,
        check=False,
    )


def passes(*words: str) -> None:
    """These tests pass with the emulated unit, and none is skipped."""
    finished = python("-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *words)
    assert finished.returncode == 0, finished.stdout
    assert "skipped" not in finished.stdout.splitlines()[-1]


once = pytest.mark.skipif(amx.EMULATED, reason="this session runs them all with the emulated unit")


@once
def test_the_units_own_tests_pass() -> None:
    passes("tests/kernels/cpu/test_amx.py")


@once
@pytest.mark.slow
def test_convolutions_pass() -> None:
    passes(*(f"tests/kernels/cpu/{name}" for name in CHOSEN))


@once
@pytest.mark.slow
def test_all_tests_of_convolutions_pass() -> None:
    passes("tests/kernels/cpu/test_winograd.py", "tests/kernels/cpu/test_winograd_memo.py")


MISUSE = """
import os, numba
from minigan_kernels.cpu.isa.amx import tile_config, tile_dpbf16, tile_release, tile_zero

@numba.njit
def never_configured():
    tile_zero(0)

@numba.njit
def released():
    tile_config(), tile_release(), tile_zero(0)

@numba.njit
def twice():
    tile_config(), tile_dpbf16(0, 1, 1)

@numba.njit
def no_such_tile():
    tile_config(), tile_zero(8)

@numba.njit
def right():
    tile_config(), tile_dpbf16(0, 1, 2), tile_release()

for function in never_configured, released, twice, no_such_tile, right:
    child = os.fork()
    if not child:
        function()
        os._exit(0)
    print(function.__name__, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def test_what_is_undefined_ends_the_process_as_the_unit_does() -> None:
    ended = -signal.SIGABRT
    expected = {"never_configured": ended, "released": ended, "twice": ended, "no_such_tile": ended}
    found = dict(line.split() for line in python("-c", MISUSE).stdout.splitlines())
    assert found == {name: str(code) for name, code in (expected | {"right": 0}).items()}


def test_only_vectors_of_a_tiles_row_will_do() -> None:
    finished = python("-c", "import minigan_kernels.cpu.isa.amx", MINIGAN_LANES="8")
    assert finished.returncode
    assert "MINIGAN_AMX=emulate needs MINIGAN_LANES=16, not 8" in finished.stdout


DIGESTS = """
import hashlib, test_winograd as t
from minigan_kernels.cpu.isa import amx
print(amx.AMX, amx.EMULATED)
for layer in t.LAYERS.values():
    for algorithm in "winograd", "winograd2":
        for result in t.by(algorithm, layer, layer.arrays()):
            print(hashlib.sha256(result.tobytes()).hexdigest())
"""


@pytest.mark.slow
@pytest.mark.skipif(not amx.AMX or amx.EMULATED, reason="this CPU has no matrix unit")
def test_the_real_unit_gives_the_same_bytes(tmp_path: Path) -> None:
    """Both keep their kernels in one folder, and must not load each other's."""
    both = [
        python(
            "-c", DIGESTS, MINIGAN_AMX=choice, PYTHONPATH=os.pathsep.join([str(ROOT), *sys.path]),
            NUMBA_CACHE_DIR=str(tmp_path),
        ).stdout.splitlines()
        for choice in ("1", "emulate")
    ]  # fmt: skip
    found = [[line for line in lines if not line.startswith("minigan:")] for lines in both]
    assert [lines[0] for lines in found] == ["True False", "True True"]
    assert len(found[0]) == 1 + 2 * 3 * 7
    assert found[0][1:] == found[1][1:]
