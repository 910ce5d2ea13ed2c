"""The cache of compiled kernels: what it says, what it trusts, and where it cannot write."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import minigan_kernels
import pytest
from minigan_kernels.cpu.compiler import disk_cache

PACKAGE = Path(minigan_kernels.__file__).parent
TOTAL = """
import numpy as np, minigan_kernels as k
ones = np.ones((2, 1, 3, 3), np.float32)
dx, dbias = k.bias_leaky_relu_backward(ones, ones, slope=0.2)
print(dx[0, 0, 0, 0], dbias[0])
"""
# At the end it names what was compiled.
NAMES = """
import atexit, sys
from minigan_kernels.compiling import COMPILING
atexit.register(lambda: [print("compiled", name, file=sys.stderr) for name in COMPILING.names])
"""


def start(
    program: str, cache: Path, packages: Path = PACKAGE.parent, **variables: str
) -> subprocess.Popen[str]:
    chosen = {"XDG_CACHE_HOME": str(cache), "PYTHONPATH": str(packages)} | variables
    environment = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"} | chosen
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", NAMES + program],
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


def run(
    program: str, cache: Path, packages: Path = PACKAGE.parent, **variables: str
) -> tuple[str, str]:
    return end(start(program, cache, packages, **variables))


def compiled(err: str) -> list[str]:
    """The last names of the functions that a process has compiled."""
    lines = (line for line in err.splitlines() if line.startswith("compiled "))
    return [line.rpartition(".")[2] for line in lines]


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A folder with a copy of the package, to edit."""
    copy = tmp_path / "copy"
    shutil.copytree(PACKAGE, copy / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def source(packages: Path, name: str, folder: str = "cpu") -> Path:
    """The source file of that name in a folder of a copy, at any depth."""
    (path,) = (packages / PACKAGE.name / folder).rglob(name)
    return path


def module(packages: Path, name: str) -> str:
    return ".".join(source(packages, name).relative_to(packages).with_suffix("").parts)


def comment(path: Path) -> None:
    with path.open("a") as file:
        file.write("\n# A word more.\n")


def test_compiling_is_said_once_loading_is_silent_and_damage_is_seen(tmp_path: Path) -> None:
    out, err = run(TOTAL, tmp_path)
    assert out == "1.0 18.0\n"
    assert "compiling kernels" in err.splitlines()[0]
    assert str(tmp_path) in err.splitlines()[0]
    assert sum(line.startswith("minigan: ") for line in err.splitlines()) == 1
    # The kernels, not the helpers that were compiled inside them.
    assert compiled(err) == ["_leaky_backward", "channel_sums"]
    assert run(TOTAL, tmp_path) == (out, "")
    (kept,) = tmp_path.rglob("*._leaky_backward-*.kernel")
    kept.write_bytes(kept.read_bytes()[:-1])
    err = run(TOTAL, tmp_path)[1]
    assert compiled(err) == ["_leaky_backward"]
    assert f"{kept.name} was damaged, and is compiled again" in err
    kept.write_bytes(kept.read_bytes()[:20])
    assert compiled(run(TOTAL, tmp_path)[1]) == ["_leaky_backward"]
    assert run(TOTAL, tmp_path) == (out, "")


def test_two_processes_may_compile_at_once(tmp_path: Path) -> None:
    both = TOTAL + "k.bias_leaky_relu_backward(*np.ones((2, 2, 3)), slope=0.2)\n"
    processes = [start(program, tmp_path) for program in (both, both)]
    for process in processes:
        end(process)
    assert run(both, tmp_path) == ("1.0 18.0\n", "")
    assert {path.suffix for path in tmp_path.rglob("*.*")} == {".kernel", ".txt"}


def test_an_edit_reaches_the_kernels_that_use_it_and_no_others(
    tmp_path: Path, packages: Path
) -> None:
    """`_leaky_backward` calls `add_sums`, which lies beside `channel_sums`."""
    assert run(TOTAL, tmp_path, packages)[0] == "1.0 18.0\n"
    helper = source(packages, "channelwise.py")
    text = helper.read_text()
    assert text.count("totals[c] += rows[r, c]") == 1
    helper.write_text(text.replace("totals[c] += rows[r, c]", "totals[c] += 2 * rows[r, c]"))
    before = set(tmp_path.rglob("*.kernel"))
    out, err = run(TOTAL, tmp_path, packages)
    assert out == "1.0 36.0\n"
    assert compiled(err) == ["_leaky_backward", "channel_sums"]
    # What was compiled from the file of before is gone, the rest is still there.
    after = set(tmp_path.rglob("*.kernel"))
    assert {path.name.split("-")[0] for path in after} == {p.name.split("-")[0] for p in before}
    assert len(after) == len(before)
    assert 0 < len(after & before) < len(before)
    comment(source(packages, "activation.py"))
    assert compiled(run(TOTAL, tmp_path, packages)[1]) == ["_leaky_backward"]


def test_what_compiled_code_does_not_use_recompiles_nothing(tmp_path: Path, packages: Path) -> None:
    """Neither the reference twin nor the threads that launch kernels, imported or not."""
    out = run(TOTAL, tmp_path, packages)[0]
    for path in (packages / PACKAGE.name / "reference").iterdir():
        if path.suffix == ".py":
            comment(path)
    comment(source(packages, "__init__.py", "reference"))
    comment(packages / PACKAGE.name / "cpu" / "__init__.py")
    for name in ("parallel.py", "allocator.py"):
        comment(source(packages, name))
    assert run(TOTAL, tmp_path, packages) == (out, "")


VECTORS = """
import numpy as np
from {jit} import jit
from {simd} import LANES, broadcast, store
@jit()
def spread_out(x, y):
    store(y.ctypes.data, broadcast(x.ctypes.data))
@jit()
def lanes():
    return LANES
def show():
    x, y = np.full(1, 3, np.float32), np.zeros(16, np.float32)
    spread_out(x, y)
    print(int((y == 3).sum()), lanes())
"""


def test_an_edit_of_an_instruction_reaches_what_it_is_used_in(
    tmp_path: Path, packages: Path
) -> None:
    names = {name: module(packages, f"{name}.py") for name in ("jit", "simd")}
    (packages / PACKAGE.name / "cpu" / "vectors.py").write_text(VECTORS.format(**names))
    show = "from minigan_kernels.cpu.vectors import show; show()"
    four = {"MINIGAN_LANES": "4", "MINIGAN_AMX": "0"}
    out, err = run(show, tmp_path, packages, **four)
    assert out == "4 4\n"
    assert compiled(err) == ["spread_out", "lanes"]
    # Code for vectors of another width lies beside it, without a word in the kernels about that.
    eight = four | {"MINIGAN_LANES": "8"}
    assert run(show, tmp_path, packages, **eight)[0] == "8 8\n"
    for variables, expected in ((four, "4 4\n"), (eight, "8 8\n")):
        assert run(show, tmp_path, packages, **variables) == (expected, "")
    comment(source(packages, "simd.py"))
    assert compiled(run(show, tmp_path, packages, **four)[1]) == ["spread_out"]


def test_functions_of_one_name_in_two_packages_keep_apart(tmp_path: Path, packages: Path) -> None:
    text = "from {jit} import jit\n@jit()\ndef number():\n    return {value}\n"
    for folder, value in (("first", 1), ("second", 2)):
        place = packages / PACKAGE.name / "cpu" / folder
        place.mkdir()
        (place / "__init__.py").touch()
        (place / "gemm.py").write_text(text.format(jit=module(packages, "jit.py"), value=value))
    program = """
from minigan_kernels.cpu.first import gemm as a
from minigan_kernels.cpu.second import gemm as b
print(a.number(), b.number())
"""
    assert run(program, tmp_path, packages)[0] == "1 2\n"
    assert run(program, tmp_path, packages) == ("1 2\n", "")
    names = sorted(path.name.rpartition("-")[0] for path in tmp_path.rglob("*.kernel"))
    assert names == ["cpu.first.gemm.number", "cpu.second.gemm.number"]


def test_a_source_that_changes_meanwhile_leaves_no_file(tmp_path: Path, packages: Path) -> None:
    program = """
import pathlib, minigan_kernels.cpu.{name} as module, numpy as np
path = pathlib.Path(module.__file__)
path.write_text(path.read_text() + "# edited while it runs")
module.channel_sums(np.ones((1, 1, 1)), np.ones((1, 1)))
"""
    name = module(packages, "channelwise.py").removeprefix("minigan_kernels.cpu.")
    for _ in range(2):
        err = run(program.format(name=name), tmp_path, packages)[1]
        assert "channel_sums is not kept on disk" in err
        assert "channelwise.py was changed while this process ran" in err
        assert not list(tmp_path.rglob("*.kernel"))


def test_a_folder_that_cannot_be_written_is_named_and_does_no_harm(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    out, err = run(TOTAL, blocked)
    assert out == "1.0 18.0\n"
    assert err.count("cannot be kept") == 1
    assert "NUMBA_CACHE_DIR" in err


# --- Sweeping --------------------------------------------------------------------------------

OLD = 40 * 86400  # seconds


def age(path: Path, seconds: float = OLD) -> None:
    os.utime(path, (time.time() - seconds,) * 2)


def test_orphans_are_swept_and_nothing_else(tmp_path: Path, packages: Path) -> None:
    run(TOTAL, tmp_path, packages)
    (folder,) = (tmp_path / "minigan").iterdir()
    kept = {path.name for path in folder.iterdir()}
    assert "package.txt" in kept
    unused = next(folder.glob("*.channel_sums-*"))
    twin = unused.with_name("cpu.gone.function-0123456789abcdef.kernel")
    shutil.copy(unused, twin)
    age(twin)
    content = unused.read_bytes()
    length = int.from_bytes(content[32:36], "little")
    note = json.loads(content[36 : 36 + length])
    assert list(note) == [
        str(source(packages, "channelwise.py").relative_to(packages / PACKAGE.name))
    ]
    gone = json.dumps({"cpu/gone.py": "0" * 32}).encode()
    files = {
        "activation._leaky-0123456789abcdef.kernel": b"\x8f" * 5000,  # as all were before
        "activation._leaky-0123456789abcdee.kernel": b"",
        "cpu.gone.other-0123456789abcdef.kernel": bytes(32)
        + len(gone).to_bytes(4, "little")
        + gone,
        "a.kernel.1-2.unfinished": b"",
        "activation._leaky-0123456789abcdef.12-345": b"",
        "choices.12345": b"",  # as unfinished choices were named before
    }
    for name, damaged in files.items():
        (folder / name).write_bytes(damaged)
    age(folder / "a.kernel.1-2.unfinished", 7200)
    age(folder / "activation._leaky-0123456789abcdef.12-345", 7200)
    age(folder / "choices.12345", 7200)
    young = {"b.kernel.1-2.unfinished", "c.12-345", "choices.json", "notes", "choices.123"}
    for name in young:
        (folder / name).touch()
    age(folder / "choices.json")
    age(folder / "notes")
    used = next(folder.glob("*._leaky_backward-*"))
    age(used, 20 * 86400)
    # Another type is compiled, so this process sweeps.
    run(TOTAL.replace("float32", "float64"), tmp_path, packages)
    now = {path.name for path in folder.iterdir()}
    assert kept | young <= now
    assert not now & (files.keys() | {twin.name})
    # What is used gets older than the limit only where it lies idle.
    assert run(TOTAL, tmp_path, packages)[1] == ""
    assert time.time() - used.stat().st_mtime < 86400


def test_folders_of_packages_that_are_gone_are_swept_when_idle(
    tmp_path: Path, packages: Path
) -> None:
    def folder_of(package: Path, idle: bool) -> Path:
        folder = tmp_path / "minigan" / disk_cache._folder_name(package)
        folder.mkdir(parents=True)
        for name in ("a-0.kernel", "choices.json"):
            (folder / name).touch()
        (folder / "package.txt").write_bytes(bytes(package))
        if idle:
            age(folder / "package.txt")
        return folder

    there = folder_of(PACKAGE, idle=True)
    in_use = folder_of(tmp_path / "elsewhere", idle=False)
    gone, empty = folder_of(tmp_path / "gone", idle=True), folder_of(tmp_path / "e", idle=True)
    (empty / "choices.json").unlink()
    foreign = tmp_path / "minigan" / "kernels-of-something-else"
    shutil.copytree(gone, foreign)
    age(foreign / "package.txt")
    run(TOTAL, tmp_path, packages)
    for stays in (there, in_use, foreign):
        assert {p.name for p in stays.iterdir()} == {"a-0.kernel", "choices.json", "package.txt"}
    assert [path.name for path in gone.iterdir()] == ["choices.json"]
    assert not empty.exists()


def test_a_file_that_another_process_replaces_meanwhile_stays(tmp_path: Path) -> None:
    path = tmp_path / "a-0.kernel"
    path.touch()

    def replaced(path: Path) -> bool:
        (tmp_path / "fresh").write_text("fresh")
        (tmp_path / "fresh").replace(path)
        return True

    disk_cache._delete_if(path, replaced)
    assert path.read_text() == "fresh"
    disk_cache._delete_if(path, lambda path: True)
    assert not path.exists()
    disk_cache._delete_if(path, lambda path: True)  # already gone
