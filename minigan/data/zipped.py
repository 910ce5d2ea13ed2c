"""Zip archives of pictures, read in place: nothing is unpacked, and no entry is trusted."""

from __future__ import annotations

import io
import os
import re
import stat
import struct
import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..content import one_line
from ..errors import UserError

MAGIC = b"PK\3\4"
_DEFLATE_LIMIT = 1032  # largest growth of a deflate stream (zlib's technical notes)
_LOCAL = struct.Struct("<4s22xHH")  # the header before an entry's bytes: lengths of name and extra
_METHODS = {0: "stored", 8: "deflated"}
_LARGEST = 256 << 20  # bytes of an entry
_WAY = "pack it again, or unpack it and give the folder"


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a zip archive: what is asked of a path of a picture, without unpacking it.

    Each reading opens the archive again, so that threads and processes may share it.
    """

    archive: Path
    entry: str  # its name in the archive, with / between folders
    offset: int  # of its local header
    packed: int  # bytes in the archive
    size: int  # bytes, as declared
    method: int
    crc: int
    modified_ns: int  # of the archive

    @property
    def name(self) -> str:
        return self.entry.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        return os.path.splitext(self.name)[1]

    @property
    def parts(self) -> tuple[str, ...]:
        """The folders in the archive, and the name."""
        return tuple(self.entry.split("/"))

    def __str__(self) -> str:
        return f"{self.archive}{os.sep}{self.entry}"

    def stat(self) -> os.stat_result:
        """What tells whether it has changed: its declared size, and the time of the archive."""
        seconds = self.modified_ns // 10**9
        mode, times = stat.S_IFREG | 0o444, (seconds,) * 3
        ns = {f"st_{kind}time_ns": self.modified_ns for kind in "amc"}
        return os.stat_result((mode, 0, 0, 1, 0, 0, self.size, *times), ns)

    def open(self, mode: str = "rb") -> BinaryIO:
        """Its bytes, which are as many as declared.

        Raises:
            OSError: if the archive cannot be read.
            ValueError: if the entry is damaged, or another mode than "rb" is asked for.
        """
        if mode != "rb":
            raise ValueError(f"entries of an archive are opened for reading, not {mode!r}")
        with open(self.archive, "rb") as file:
            file.seek(self.offset)
            head = file.read(_LOCAL.size)
            if len(head) < _LOCAL.size or not head.startswith(MAGIC):
                raise ValueError("the archive is damaged: the entry is not where it should be")
            _, name, extra = _LOCAL.unpack(head)
            file.seek(name + extra, os.SEEK_CUR)
            packed = file.read(self.packed)
        if self.method == 0:
            content = packed
        else:
            try:
                content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, self.size + 1)
            except zlib.error as error:
                raise ValueError(f"the archive is damaged: {one_line(error)}") from error
        if len(content) != self.size:
            raise ValueError(f"the archive is damaged: the entry has not its {self.size:,} bytes")
        if zlib.crc32(content) != self.crc:
            raise ValueError("the archive is damaged: the entry's checksum is wrong")
        return io.BytesIO(content)


File = Path | Member  # of a picture


def is_zip(path: Path) -> bool:
    """Whether a file begins as a zip archive that is not one of NumPy's."""
    with open(path, "rb") as file:
        head = file.read(30)
        if not head.startswith(MAGIC) or len(head) < 30:
            return False
        name = file.read(int.from_bytes(head[26:28], "little"))
    return not name.endswith(b".npy")


def members(path: Path) -> tuple[list[Member], Counter[str]]:
    """The visible files of an archive in the order of their names, and the links, counted.

    Raises:
        UserError: if it is damaged, encrypted, or has a name that leads out of it; if entries
            overlap, or promise more than their bytes can hold.
    """
    try:
        itself = path.stat()
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (
        zipfile.BadZipFile, ArithmeticError, EOFError, LookupError, NotImplementedError,
        ValueError, struct.error,
    ) as error:  # fmt: skip
        raise UserError(
            f"{path} is a damaged zip archive ({one_line(error)}); fetch it again, or {_WAY}."
        ) from error
    _check_places(path, entries, itself.st_size)
    found, rest, names = [], Counter[str](), set[str]()
    for info in entries:
        entry = _inside(path, info)
        parts = entry.split("/")
        if info.is_dir() or info.filename.endswith("\\"):
            continue
        if any(part.startswith(".") for part in parts) or "__MACOSX" in parts:
            continue
        if stat.S_ISLNK(info.external_attr >> 16):
            rest["link"] += 1
            continue
        if entry in names:
            raise UserError(f"{path} holds two files of the name {entry}; {_WAY}.")
        names.add(entry)
        _check_entry(path, info)
        found.append(
            Member(
                *(path, entry, info.header_offset, info.compress_size, info.file_size),
                *(info.compress_type, info.CRC, itself.st_mtime_ns),
            )
        )
    return sorted(found, key=lambda member: member.parts), rest


def _inside(path: Path, info: zipfile.ZipInfo) -> str:
    """The name of an entry, with / between folders, however the archive was written.

    Raises:
        UserError: if it is absolute, or goes up.
    """
    name = info.filename.replace("\\", "/")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or re.match("[A-Za-z]:", name) or ".." in parts or not parts:
        raise UserError(
            f"{path} holds an entry of the name {name[:80]!a}, which leads out of the archive; "
            f"{_WAY} if you trust it."
        )
    return "/".join(parts)


def _check_entry(path: Path, info: zipfile.ZipInfo) -> None:
    if info.flag_bits & 0x1:
        raise UserError(f"{path} is encrypted; unpack it with its password, and give the folder.")
    if info.compress_type not in _METHODS:
        raise UserError(
            f"{path} is compressed by method {info.compress_type}, and only stored and deflated "
            f"entries are read; {_WAY}."
        )
    growth = 1 if info.compress_type == 0 else _DEFLATE_LIMIT
    if info.file_size > min(_LARGEST, growth * info.compress_size):
        raise UserError(
            f"{path} holds {info.filename[:80]!a}, which promises {info.file_size:,} bytes of "
            f"{info.compress_size:,} packed ones, more than is read; {_WAY} if you trust it."
        )


def _check_places(path: Path, entries: list[zipfile.ZipInfo], size: int) -> None:
    """Make sure that no bytes are in two entries, as in archives that unpack to petabytes, and all
    of them are in the archive.

    Raises:
        UserError: if they are not.
    """
    ends = [info.header_offset + _LOCAL.size + info.compress_size for info in entries]
    starts = sorted(info.header_offset for info in entries)
    overlap = any(end > start for end, start in zip(sorted(ends), starts[1:], strict=False))
    if overlap or max(ends, default=0) > size:
        raise UserError(
            f"{path} is a damaged zip archive: its entries overlap, or go on after its end; fetch "
            f"it again, or {_WAY}."
        )
