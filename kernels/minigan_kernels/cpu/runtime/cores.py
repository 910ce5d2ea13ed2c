"""How many cores this process may use: those of its affinity, as far as its CPU quota fills them.

A container sees all cores of its host. What it may use of them is in its control group: so much
time in each period (`docker run --cpus`, `limits.cpu` of Kubernetes), as in that of each group
above. More threads than that are stopped together in the midst of a kernel once the time is used.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

_ROOT, _MOUNT_POINT = 3, 4  # fields of a line of mountinfo


@cache
def available_cores() -> int:
    """The smaller of affinity and CPU quota, a begun core counted as a core; at least 1."""
    return max(1, math.ceil(min(_affinity(), cpu_quota(Path("/proc/self")))))


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_quota(process: Path) -> float:
    """The cores whose time the control groups of a process leave it, infinite without a limit.

    `process` is its folder in /proc. Both versions of control groups are read, and what cannot be
    read limits nothing.
    """
    least = math.inf
    for mount, group, version in _hierarchies(process):
        for folder in (group, *group.parents):
            if folder != mount and mount not in folder.parents:
                break
            with suppress(OSError, ValueError, ZeroDivisionError):
                least = min(least, _limit(folder, version))
    return least


def _limit(folder: Path, version: int) -> float:
    if version == 2:
        quota, period = (folder / "cpu.max").read_text().split()
        return math.inf if quota == "max" else int(quota) / int(period)
    time = int((folder / "cpu.cfs_quota_us").read_text())
    period_us = int((folder / "cpu.cfs_period_us").read_text())
    return time / period_us if time > 0 else math.inf


def _hierarchies(process: Path) -> Iterator[tuple[Path, Path, int]]:
    """Mount point, the process's own group below it, and version, of what may limit the CPU."""
    groups: dict[int, str] = {}
    with suppress(OSError):
        for line in (process / "cgroup").read_text().splitlines():
            number, _, rest = line.partition(":")
            controllers, _, path = rest.partition(":")
            if number == "0" and not controllers:
                groups[2] = path
            elif "cpu" in controllers.split(","):
                groups[1] = path
    with suppress(OSError):
        for line in (process / "mountinfo").read_text().splitlines():
            fields, _, kind = line.partition(" - ")
            system, _, options = kind.partition(" ")
            version = {"cgroup2": 2, "cgroup": 1}.get(system)
            cpu = version == 2 or "cpu" in options.rpartition(" ")[2].split(",")
            if version in groups and cpu:
                root, mount = fields.split()[_ROOT], Path(_unescaped(fields.split()[_MOUNT_POINT]))
                own = groups[version]
                inside = own.startswith(root) and ".." not in own  # else of another namespace
                below = own.removeprefix(root).lstrip("/") if inside else ""
                yield mount, mount / below, version


def _unescaped(path: str) -> str:
    r"""A path of mountinfo, where a space is \040."""
    return path.encode("ascii", "backslashreplace").decode("unicode_escape")
