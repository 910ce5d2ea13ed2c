"""Picture files decoded by several threads, in their order, into a file or into memory."""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np

from ..errors import UserError
from ..progress import Progress
from .memory import check_memory
from .picture import BrokenPictureError, listening, read_picture
from .reading import Colour
from .zipped import File

AT_ONCE = 8  # pictures of one task: small, as each may have a hundred megabytes while it is decoded
NAMED = 20  # broken pictures that one sentence names
_MOVED = 1 << 24  # bytes that are rewritten at once

# What Linux says where a file system cannot promise room.
_CANNOT = {errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.ENOTSUP}

Look = Callable[[int], object]  # is told how many pictures have been read


@dataclass(frozen=True)
class Job:
    """Which picture files are decoded, and how: each to (channels, size, size) uint8.

    With `channels` None all of them have one channel if every picture is grey, and otherwise three.
    `name` says in a sentence where they are from.
    """

    paths: Sequence[File]
    name: str
    size: int
    background: Colour
    whole: bool = False
    channels: int | None = None
    skip_broken: bool = False

    def largest(self) -> int:
        """The bytes that the pictures take if they are in colour."""
        return len(self.paths) * (self.channels or 3) * self.size**2


@dataclass
class Found:
    """What was found beside the pixels: broken pictures by their place, and damaged ones."""

    broken: dict[int, str] = field(default_factory=dict)  # why they cannot be read
    damaged: int = 0
    example: str = ""  # of a damaged one: its name and what is wrong
    grey: bool = True

    def take(self, place: int, read: _Read) -> np.ndarray | None:
        """The pixels of a picture, if it has been read, once it is counted in."""
        if isinstance(read, BrokenPictureError):
            self.broken[place] = read.why
            return None
        self.grey &= read.grey
        if read.damage is not None:
            self.damaged += 1
            self.example = self.example or read.damage
        return read.pixels


@dataclass(frozen=True)
class _Picture:
    pixels: np.ndarray  # (C, H, W)
    grey: bool
    damage: str | None


_Read = _Picture | BrokenPictureError


def into_memory(job: Job, *, progress: bool) -> tuple[np.ndarray, Found]:
    """The pictures (N, C, H, W) that can be read, in memory.

    Raises:
        UserError: if the memory does not suffice; if pictures are broken, unless those are skipped.
    """
    count, found = len(job.paths), Found()
    check_memory(job.largest(), f"{count:,} images of {job.size}x{job.size} pixels")
    x = np.empty((count, job.channels or 3, job.size, job.size), np.uint8)
    filled = 0
    for pixels in _pixels(job, found, progress):
        x[filled] = pixels
        filled += 1
    check_broken(job, found)
    x = x[:filled] if filled < count else x
    if found.grey and job.channels is None:
        x = np.ascontiguousarray(x[:, :1])
    return x, found


def into_file(job: Job, file: BinaryIO, *, progress: bool) -> tuple[tuple[int, ...], Found]:
    """Write the pictures that can be read from here on, one after the other; give their shape.

    No more than a few of them are in memory at any time. The file ends after them.

    Raises:
        UserError: if pictures are broken, unless those are skipped.
        OSError: if they cannot be written, a full disk before the first one is decoded.
    """
    found, start = Found(), file.tell()
    _promise(file, start + job.largest())
    filled = 0
    for pixels in _pixels(job, found, progress):
        file.write(pixels.data)
        filled += 1
    check_broken(job, found)
    channels = job.channels or 3
    if found.grey and job.channels is None:
        _one_channel(file, start, filled, job.size**2)
        channels = 1
    file.seek(start + filled * channels * job.size**2)
    file.truncate()
    return (filled, channels, job.size, job.size), found


def check_broken(job: Job, found: Found) -> None:
    """Make sure that no picture is broken, or that those are to be skipped and some are left.

    Raises:
        UserError: naming them.
    """
    broken = found.broken
    if not broken or (job.skip_broken and len(broken) < len(job.paths)):
        return
    if len(broken) == 1:
        ((place, why),) = broken.items()
        raise BrokenPictureError.of(job.paths[place], why)
    way = "give other data"
    if not job.skip_broken:
        way = "repair them, take them out of the folder, or leave them out by --skip-broken"
    raise UserError(
        f"{len(broken):,} of the {len(job.paths):,} images in {job.name} cannot be read: "
        f"{named(job, broken, NAMED)}; {way}."
    )


def named(job: Job, broken: dict[int, str], most: int) -> str:
    """The first ones of these pictures by their names below the folder, with what is wrong."""
    before = f"{job.name}{os.sep}"
    texts = [
        f"{str(job.paths[place]).removeprefix(before)} ({why})"
        for place, why in list(broken.items())[:most]
    ]
    more = len(broken) - len(texts)
    return ", ".join(texts) + (f", and {more:,} more" if more else "")


def to_grey(x: np.ndarray) -> np.ndarray:
    """The luma (1, H, W) of x (3, H, W), of ITU-R BT.601, as in Pillow; equal channels keep their
    exact values.
    """
    weights = np.array([19595, 38470, 7471], np.uint32)  # of 65536
    return ((np.tensordot(weights, x, axes=1) + 0x8000) >> 16).astype(np.uint8)[None]


def is_grey(x: np.ndarray) -> bool:
    """Whether the three channels of x (3, H, W) are equal."""
    return bool(np.array_equal(x[0], x[1]) and np.array_equal(x[0], x[2]))


def _pixels(job: Job, found: Found, progress: bool) -> Iterator[np.ndarray]:
    """The pictures that can be read, in order; `found` has learned of all up to the newest one."""
    count = len(job.paths)
    bar = Progress(0, count, name="reading pictures", unit="pictures") if progress else None
    with listening(), bar or nullcontext(), closing(_read_all(job)) as pictures:
        for place, read in enumerate(pictures):
            pixels = found.take(place, read)
            if bar is not None and ((place + 1) % AT_ONCE == 0 or place + 1 == count):
                bar.update(place + 1, {})
            if pixels is not None:
                yield pixels


def _read_all(job: Job) -> Generator[_Read, None, None]:
    """All pictures in order, decoded by as many threads as there are processors: Pillow lets others
    run while it decodes. Few are kept that nobody has asked for yet.
    """

    def read(paths: Iterable[File]) -> list[_Read]:
        return [_read(job, path) for path in paths]

    workers = _processors()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="pictures")
    pending: deque[Future[list[_Read]]] = deque()
    try:
        for start in range(0, len(job.paths), AT_ONCE):
            pending.append(pool.submit(read, job.paths[start : start + AT_ONCE]))
            if len(pending) > 2 * workers:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _read(job: Job, path: File) -> _Read:
    try:
        pixels, damage = read_picture(path, job.size, job.background, whole=job.whole)
    except BrokenPictureError as error:
        return error
    x = np.ascontiguousarray(pixels.transpose(2, 0, 1))  # (H, W, C) to (C, H, W)
    grey = is_grey(x)
    if job.channels == 1:
        x = to_grey(x)
    return _Picture(x, grey, None if damage is None else f"{path}: {damage}")


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _promise(file: BinaryIO, size: int) -> None:
    """Have the system keep room for a file of `size` bytes.

    Raises:
        OSError: if there is not as much.
    """
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if error.errno not in _CANNOT:
                raise


def _one_channel(file: BinaryIO, start: int, count: int, plane: int) -> None:
    """Keep the first of three equal channels of `count` pictures in a file, each of `plane` bytes.

    A picture moves towards the beginning, onto bytes that have been read already.
    """
    rows = max(1, _MOVED // (3 * plane))
    for first in range(0, count, rows):
        some = min(rows, count - first)
        file.seek(start + first * 3 * plane)
        x = np.frombuffer(file.read(some * 3 * plane), np.uint8).reshape(some, 3, plane)
        file.seek(start + first * plane)
        file.write(np.ascontiguousarray(x[:, 0]).data)
