"""Whether data will fit into memory, asked before any is taken."""

from __future__ import annotations

from pathlib import Path

from ..errors import UserError

_CGROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


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
    """The bytes that the system can give this process; None if it does not tell."""
    found = [limit for limit in (_free(), _group(), _process()) if limit is not None]
    return min(found, default=None)


def _free() -> int | None:
    """What Linux can give without taking it from others, and free swap."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    sizes = {name: rest.split()[0] for name, _, rest in (line.partition(":") for line in lines)}
    return sum(1024 * int(sizes.get(name, 0)) for name in ("MemAvailable", "SwapFree")) or None


def _group() -> int | None:
    """The limit of a container."""
    for path in _CGROUPS:
        try:
            text = Path(path).read_text().strip()
        except OSError:
            continue
        return int(text) if text.isdigit() else None
    return None


def _process() -> int | None:
    """The limit of `ulimit -v`."""
    try:
        import resource
    except ImportError:  # on Windows
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit
