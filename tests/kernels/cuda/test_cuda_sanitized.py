"""The CUDA kernels under the sanitizers of addresses and of undefined behaviour."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cuda_tools import needs_gxx
from minigan_kernels.cuda.cache import SOURCES
from test_cuda_conv_mutations import faults

pytestmark = [needs_gxx, pytest.mark.slow]

HERE = Path(__file__).parent
PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from minigan_kernels.cuda import tiling
from minigan_kernels.cuda.emu import emulation
from test_cuda_conv import CASES, calls, check, exact, on_gpu
from test_cuda_epilogue import TANH, calls as activated
from test_cuda_moments import left_by
precision = sys.argv[2]
with emulation(1, sanitize=True), tiling.precision(precision):
    for tile in (0, -1):  # the largest and the smallest
        left_by("transposed", precision, tile)
        left_by("forward", precision, tile, 3)
    for case in ("DCGAN's", "odd"):
        for call in activated(CASES[case], precision, TANH):
            for split_k in (1, 2):
                with tiling.force(-1, split_k):
                    check(on_gpu(*call), exact(*call))
    for case in CASES.values():
        for call in calls(case, precision):
            truth = exact(*call)
            check(on_gpu(*call), truth)
            for tile in (0, -1):
                with tiling.force(tile, 2):
                    check(on_gpu(*call), truth)
print("clean")
"""
SPOILT = f"""
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from {faults.__module__} import {faults.__name__}
activated = bool(sys.argv[3])
folder = Path(sys.argv[2])
print(faults(folder, "conv_5_pipelined", "float32", tail=0, sanitize=True, activated=activated))
"""


def sanitized(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    runtime = subprocess.run(
        ["g++", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    return subprocess.run(
        [sys.executable, "-c", program, str(HERE), *arguments],
        env={
            **os.environ,
            "LD_PRELOAD": runtime,
            "ASAN_OPTIONS": "detect_leaks=0",  # Python's own
            "PYTHONMALLOC": "malloc",  # so that arrays have a redzone
        },
        capture_output=True, text=True, check=False, timeout=1200,
    )  # fmt: skip


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_the_largest_and_the_smallest_tile_are_clean(precision: str) -> None:
    done = sanitized(PROGRAM, precision)
    assert done.stdout.endswith("clean\n"), done.stderr


@pytest.mark.parametrize(
    ("right", "wrong", "finding"),
    [
        ("if (m >= pixels) continue;", "", "heap-buffer-overflow"),
        ("inside(row, p.h.in) && ", "", "heap-buffer-overflow"),
        ("p.filters - first_column, slope", "TILE_N, slope", "heap-buffer-overflow"),
        ("const int tiles = ceil_div(depth, TILE_K);",
         "const int tiles = ceil_div(depth, TILE_K) << (blockIdx.x + 31);", "left shift of"),
    ],
)  # fmt: skip
def test_a_planted_bug_is_found(right: str, wrong: str, finding: str, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(SOURCES, tmp_path / "src"))
    file = folder / "conv_5_pipelined.cu"
    assert file.read_text().count(right) == 1
    file.write_text(file.read_text().replace(right, wrong))
    done = sanitized(SPOILT, str(folder), "activated" if "slope" in right else "")
    assert done.returncode != 0
    assert finding in done.stderr


TWINS = """
import sys
sys.path.insert(0, sys.argv[1])
from hypothesis import given, settings
from minigan_kernels.cuda.emu import emulation
from test_cuda_twins import NAMES
from calls import SETTINGS, a_call, check_twins
with emulation(1, sanitize=True):
    for name in NAMES:
        settings(SETTINGS, max_examples=5)(
            given(a_call(name))(lambda call: check_twins(name, call, "cuda"))
        )()
print("clean")
"""


def test_every_other_kernel_is_clean() -> None:
    done = sanitized(TWINS)
    assert done.stdout.endswith("clean\n"), done.stderr
