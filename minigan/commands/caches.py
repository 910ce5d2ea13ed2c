"""The caches that minigan keeps on this machine: how large they are, and emptying them.

Whatever is in them can be had again. Only files that minigan writes are removed, by their names,
and only from folders of this user: no link is followed, and nothing else is touched. What was tuned
on this machine stays, since the last bits of a run depend on it.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from minigan_kernels import compiles

from ..data import cache as pictures
from ..data import download
from ..errors import UserError
from ..files import open_regular, sweep
from ..locks import try_lock

_DIRECTORY = getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)
# Names end in a digest of what the file depends on.
_CODE = r"[\w.<>]+-[0-9a-f]{16}\.kernel"
_BUILT = r"(\w+-sm_\w+-[0-9a-f]{32}\.cubin|\w+-[0-9a-f]{32}\.so|emu-\w+-[0-9a-f]{32}\.o)(\.json)?"
_JUDGE = r".+-[0-9a-f]{16}\.safetensors"
_BY_DESCRIPTOR = os.scandir in os.supports_fd and {os.stat, os.unlink} <= os.supports_dir_fd


@dataclass(frozen=True)
class Cache:
    """Files whose whole names match `pattern`, in one folder; who writes there holds `lock`."""

    name: str
    what: str
    folder: Path
    pattern: str
    lock: str = ""

    def size(self) -> tuple[int, int]:
        """The number of its files, and their bytes; of a folder that is none of ours it is 0."""
        try:
            with _opened(self) as files:
                sizes = [size for _, size, _ in files]
        except (OSError, UserError):
            return 0, 0
        return len(sizes), sum(sizes)

    def empty(self) -> tuple[int, int]:
        """Remove its files; how many they were, and their bytes.

        Raises:
            UserError: if the folder is a link or of another user, or somebody writes there now.
            OSError: if a file cannot be removed.
        """
        count = total = 0
        try:
            with _opened(self) as files, _unused(self):
                sweep(self.folder)  # of what killed processes left
                for name, size, folder in files:
                    with suppress(FileNotFoundError):  # another process was faster
                        _unlink(name, folder)
                        count, total = count + 1, total + size
        except (FileNotFoundError, NotADirectoryError):
            if self.folder.is_symlink():
                raise _link(self.folder) from None
        return count, total


def caches() -> list[Cache]:
    """All that there may be; their folders need not exist."""
    from minigan_kernels.cuda import cache as cuda

    user = download.user_cache()
    found = []
    if compiles():
        from minigan_kernels.cpu.compiler import disk_cache

        kept = disk_cache.cache_folder()
        found.append(Cache("kernels", "kernels compiled for this CPU", kept, _CODE))
    found.append(Cache("cuda", "kernels compiled for GPUs", cuda.folder(), _BUILT))
    for source in download.SOURCES.values():
        names = "|".join(re.escape(file.name) for file in source.files)
        folder, what = download.cache_folder(source), f"the download {source.name}"
        found.append(Cache("downloads", what, folder, rf"({names})(\.part)?", ".lock"))
    judges = user / "classifiers"
    found.append(Cache("classifiers", "classifiers, which score images", judges, _JUDGE))
    found.append(Cache("pictures", "pictures, decoded", pictures.folder(), pictures.NAME))
    return found


def size_text(total: int) -> str:
    """A number of bytes as it is read best: 812 bytes, 3.4 kB, 51.2 MB."""
    if total < 1000:
        return f"{total} byte{'s' * (total != 1)}"
    size, units = total / 1000, ["kB", "MB", "GB"]
    while size >= 1000 and len(units) > 1:
        size, units = size / 1000, units[1:]
    return f"{size:.1f} {units[0]}"


@contextmanager
def _opened(cache: Cache) -> Iterator[Iterator[tuple[str, int, int | Path]]]:
    """The cache's files: the name, the bytes, and the folder as `_unlink` takes it.

    Raises:
        UserError: if the folder or the one above it is a link, or it is another user's.
        OSError: if there is none.
    """
    for place in (cache.folder, cache.folder.parent):
        if place.is_symlink():
            raise _link(place)
    if not _BY_DESCRIPTOR:
        yield _files(cache, cache.folder)
        return
    descriptor = os.open(cache.folder, os.O_RDONLY | _DIRECTORY)
    try:
        if hasattr(os, "getuid") and os.fstat(descriptor).st_uid != os.getuid():
            raise UserError(f"{cache.folder} belongs to another user, who alone may empty it")
        yield _files(cache, descriptor)
    finally:
        os.close(descriptor)


def _files(cache: Cache, folder: int | Path) -> Iterator[tuple[str, int, int | Path]]:
    for name in sorted(os.listdir(folder)):
        if re.fullmatch(cache.pattern, name):
            with suppress(FileNotFoundError):
                found = _status(name, folder)
                if stat.S_ISREG(found.st_mode):
                    yield name, found.st_size, folder


def _status(name: str, folder: int | Path) -> os.stat_result:
    if isinstance(folder, int):  # whatever its path leads to meanwhile
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    return (folder / name).lstat()


def _unlink(name: str, folder: int | Path) -> None:
    if isinstance(folder, int):
        os.unlink(name, dir_fd=folder)
    else:
        (folder / name).unlink()


@contextmanager
def _unused(cache: Cache) -> Iterator[None]:
    """Within the block nobody else writes into the cache.

    Raises:
        UserError: if somebody does.
    """
    try:
        descriptor = open_regular(cache.folder / cache.lock) if cache.lock else None
    except OSError:  # never locked, or not a file: then nobody holds it
        descriptor = None
    if descriptor is None:
        yield
        return
    try:
        if try_lock(descriptor) is False:
            raise UserError(
                f"another process writes into {cache.folder}; wait until it ends, and clean again"
            )
        yield
    finally:
        os.close(descriptor)


def _link(place: Path) -> UserError:
    return UserError(
        f"{place} is a symbolic link, which is not followed; empty its target yourself"
    )
