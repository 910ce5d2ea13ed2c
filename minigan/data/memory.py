"""Whether data will fit into memory, asked before any is taken."""

from __future__ import annotations

from pathlib import Path

from ..errors import UserError

_PROC, _CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")
# Where either version of control groups has them: the folder, and the files in a group's folder.
_V2 = ("", "memory.max", "memory.current", "inactive_file")
_V1 = ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def check_memory(needed: int, what: str) -> None:
    """Make sure that `needed` bytes can be had for `what`, as far as the system tells.

    Raises:
        UserError: if the system has less, or allows this process less.
    """
    there = _available()
    if there is not None and needed > there:
        raise UserError(
            f"{what} would take {needed / 1e9:.1f} GB of memory, but there are "
            f"{there / 1e9:.1f} GB; give a smaller --size, or fewer images."
        )


def _available() -> int | None:
    """The bytes that the system can still give this process; None if it does not tell."""
    found = [limit for limit in (_free(), _group(), _process()) if limit is not None]
    return min(found, default=None)


def _free() -> int | None:
    """What Linux can give without taking it from others, and free swap."""
    sizes = _numbers(_PROC / "meminfo")
    return sum(1024 * sizes.get(name, 0) for name in ("MemAvailable:", "SwapFree:")) or None


def _group() -> int | None:
    """What is left to the control group of this process, a container's say, and to those around it.

    Files that were read count as used until somebody wants the memory, so they count as free here.
    """
    try:
        lines = (_PROC / "self/cgroup").read_text().splitlines()
    except OSError:
        return None
    left = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        folder, limit, used, files = _V1 if controllers else _V2
        root = _CGROUPS / folder
        here = root / path.lstrip("/")  # which a container may see as its root
        for group in (here, *here.parents):
            if group.is_relative_to(root):
                most, now = (_number(group / name) for name in (limit, used))
                if most is not None and now is not None:
                    reclaimable = _numbers(group / "memory.stat").get(files, 0)
                    left.append(max(0, most - now + reclaimable))
    return min(left, default=None)


def _process() -> int | None:
    """What is left of the limit of `ulimit -v`."""
    try:
        import resource
    except ImportError:  # on Windows
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return None
    try:
        pages = int((_PROC / "self/statm").read_text().split()[0])
    except (OSError, ValueError):  # not on Linux
        return limit
    return max(0, limit - pages * resource.getpagesize())


def _number(path: Path) -> int | None:
    """The number in a file; None if there is another word, or no file."""
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None


def _numbers(path: Path) -> dict[str, int]:
    """The numbers in a file that has a name and a number in each line."""
    try:
        lines = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return {}
    return {words[0]: int(words[1]) for words in lines if len(words) > 1 and words[1].isdecimal()}
