"""How many cores a process may use, in the control groups of containers."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
from minigan_kernels.cpu.runtime import cores
from minigan_kernels.cpu.runtime.cores import available_cores, cpu_quota


class System:
    """The files of /proc/self and of control groups, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.process = folder / "proc"
        self.mounts = folder / "sys fs"  # mountinfo escapes the space
        self.process.mkdir()
        self.lines = ["21 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw"]

    def groups(self, text: str) -> None:
        (self.process / "cgroup").write_text(text)

    def mount(self, name: str, kind: str, options: str, root: str = "/") -> Path:
        place = self.mounts / name
        place.mkdir(parents=True, exist_ok=True)
        escaped = str(place).replace(" ", "\\040")
        more = "shared:9 master:1 " if kind == "cgroup" else ""
        self.lines.append(f"30 24 0:26 {root} {escaped} rw,nosuid {more}- {kind} {kind} {options}")
        (self.process / "mountinfo").write_text("\n".join(self.lines) + "\n")
        return place


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


@pytest.fixture
def system(tmp_path: Path) -> System:
    return System(tmp_path)


@pytest.mark.parametrize(
    ("limits", "quota"),
    [
        ({"": "max 100000\n"}, math.inf),
        ({"": "200000 100000\n"}, 2),
        ({"a/b": "150000 100000\n"}, 1.5),
        ({"a/b": "max 100000\n", "a": "50000 100000\n"}, 0.5),  # of the group above
        ({"a/b": "400000 100000\n", "a": "max 100000\n", "": "300000 100000\n"}, 3),
        ({"a/b": "nonsense\n"}, math.inf),
        ({"a/b": "100000 0\n"}, math.inf),
        ({"a/b/c": "100000 100000\n", "x": "100000 100000\n"}, math.inf),  # of others
        ({}, math.inf),
    ],
)
def test_version_2(system: System, limits: dict[str, str], quota: float) -> None:
    system.groups("0::/a/b\n")
    place = system.mount("cgroup", "cgroup2", "rw,nsdelegate")
    for group, text in limits.items():
        write(place / group, cpu__max=text)
    assert cpu_quota(system.process) == quota


@pytest.mark.parametrize("root", ["/", "/docker/abc"])
@pytest.mark.parametrize(
    ("time", "period", "quota"),
    [("-1", "100000", math.inf), ("250000", "100000", 2.5), ("5000", "50000", 0.1)],
)
def test_version_1(system: System, root: str, time: str, period: str, quota: float) -> None:
    """A container's own group is at the mount point, or at its path below."""
    system.groups("9:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n0::/docker/abc\n")
    system.mount("memory", "cgroup", "rw,memory", root)
    place = system.mount("cpu,cpuacct", "cgroup", "rw,cpu,cpuacct", root)
    group = place if root != "/" else place / "docker/abc"
    write(group, cpu__cfs_quota_us=f"{time}\n", cpu__cfs_period_us=f"{period}\n")
    assert cpu_quota(system.process) == quota


def test_a_group_outside_of_what_is_mounted_reads_the_mount_point(system: System) -> None:
    system.groups("0::/../../other\n")
    place = system.mount("cgroup", "cgroup2", "rw")
    write(place, cpu__max="100000 100000\n")
    write(place.parent.parent / "other", cpu__max="1 100000\n")
    assert cpu_quota(system.process) == 1


def test_cpuset_is_another_controller(system: System) -> None:
    system.groups("3:cpuset:/a\n2:cpuacct:/a\n")
    place = system.mount("cpuset", "cgroup", "rw,cpuset")
    write(place / "a", cpu__cfs_quota_us="1000\n", cpu__cfs_period_us="100000\n")
    assert cpu_quota(system.process) == math.inf


def test_a_system_without_control_groups_limits_nothing(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path / "missing") == math.inf
    (tmp_path / "cgroup").write_text("nonsense\n\n1:cpu\n")
    (tmp_path / "mountinfo").write_text("nonsense\n - cgroup2\n")
    assert cpu_quota(tmp_path) == math.inf


@pytest.mark.parametrize(
    ("affinity", "quota", "count"),
    [(8, math.inf, 8), (8, 2.0, 2), (8, 1.5, 2), (8, 0.1, 1), (2, 6.0, 2), (1, 0.5, 1)],
)
def test_the_smaller_of_affinity_and_quota(
    monkeypatch: pytest.MonkeyPatch, affinity: int, quota: float, count: int
) -> None:
    monkeypatch.setattr(cores, "cpu_quota", lambda process: quota)
    monkeypatch.setattr(cores, "_affinity", lambda: affinity)
    available_cores.cache_clear()
    try:
        assert available_cores() == count
    finally:
        available_cores.cache_clear()


def test_a_system_without_affinity_has_all_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert cores._affinity() == 3
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores._affinity() == 1
