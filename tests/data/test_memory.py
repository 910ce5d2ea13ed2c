"""How much memory is left, by what the system tells."""

from __future__ import annotations

from pathlib import Path

import pytest

from minigan.data import memory

GB = 1 << 30


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of one's own: its /proc and /sys/fs/cgroup."""
    for name, folder in (("_PROC", "proc"), ("_CGROUPS", "cgroup")):
        monkeypatch.setattr(memory, name, tmp_path / folder)
    return tmp_path


def write(file: Path, text: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{text}\n")


def group(folder: Path, limit: object, used: int, files: int = 0, *, old: bool = False) -> None:
    names = ("limit_in_bytes", "usage_in_bytes") if old else ("max", "current")
    for name, value in zip(names, (limit, used), strict=True):
        write(folder / f"memory.{name}", value)
    write(folder / "memory.stat", f"{'total_' if old else ''}inactive_file {files}")


def test_what_a_group_uses_is_not_there_any_more(system: Path) -> None:
    write(system / "proc/self/cgroup", "0::/a/b")
    group(system / "cgroup/a/b", 8 * GB, 5 * GB, files=GB)
    assert memory._group() == 4 * GB
    group(system / "cgroup/a", 20 * GB, 18 * GB)  # shared with other groups
    assert memory._group() == 2 * GB
    group(system / "cgroup/a", "max", 18 * GB)
    assert memory._group() == 4 * GB
    group(system / "cgroup/a/b", 8 * GB, 9 * GB)
    assert memory._group() == 0


def test_a_container_may_see_its_group_as_the_root(system: Path) -> None:
    write(system / "proc/self/cgroup", "0::/docker/1234")
    group(system / "cgroup", 8 * GB, 5 * GB)
    assert memory._group() == 3 * GB


def test_groups_of_the_older_kind_count_too(system: Path) -> None:
    write(system / "proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/a\n0::/")
    group(system / "cgroup/memory/a", 8 * GB, 5 * GB, files=GB, old=True)
    assert memory._group() == 4 * GB


def test_a_system_that_does_not_tell_sets_no_limit(system: Path) -> None:
    assert memory._group() is None
    assert memory._free() is None


def test_what_the_process_has_taken_counts_against_its_limit(
    system: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda which: (8 * GB, 8 * GB))
    monkeypatch.setattr(resource, "getpagesize", lambda: 4096)
    assert memory._process() == 8 * GB
    write(system / "proc/self/statm", f"{5 * GB // 4096} 1 1 1 0 1 0")
    assert memory._process() == 3 * GB


def test_the_free_memory_is_that_of_the_kernel_and_of_the_swap(system: Path) -> None:
    write(system / "proc/meminfo", "MemTotal: 99 kB\nMemAvailable:  10 kB\nSwapFree: 5 kB")
    assert memory._free() == 15 * 1024
