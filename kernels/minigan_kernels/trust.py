"""Whether a folder of machine code can be trusted: nobody but its user may write there.

Who can write a file of a cache can have its code run by whoever loads it. So a cache is used only
if this user or root owns its folder and nobody else may write it. The same holds for every folder
above it, by its own name and behind links; there the sticky bit will do, as of /tmp, with which
nobody moves another's files. The group may write if it is the user's own, without other members.

Where the system has no POSIX owners (Windows), its own rules for a user's folders have to do.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path


class UntrustedError(Exception):
    """Others may write a cache; the text says which folder, and the way out."""


class Trust:
    """The folders of a cache that turned out to be trusted, each checked once.

    `variable` is the environment variable that names another place for the cache.
    """

    def __init__(self, variable: str) -> None:
        self.variable = variable
        self.folders: set[Path] = set()

    def check(self, folder: Path) -> None:
        """Check that nobody else may write a folder of the cache.

        Raises:
            UntrustedError: if somebody may.
        """
        if folder not in self.folders:
            check_folder(folder, self.variable)
            if folder.exists():
                self.folders.add(folder)

    def read(self, path: Path, most: int) -> bytes:
        """The first bytes of a file of the cache, which may hold machine code.

        Raises:
            OSError: if it is not there.
            UntrustedError: if somebody else could have written it.
        """
        with path.open("rb") as file:
            self.check(path.parent)
            if not is_ours(file.fileno()):
                raise UntrustedError(
                    f"{path} is not used, because others could have written it; delete it"
                )
            return file.read(most)


def check_folder(folder: Path, variable: str) -> None:
    """Check that nobody else may write `folder`, or put another in its place.

    It need not exist; what exists of the path to it is checked. `variable` is the environment
    variable that names another folder.

    Raises:
        UntrustedError: if others may.
    """
    if not hasattr(os, "getuid"):
        return
    places = dict.fromkeys((folder.absolute(), folder.resolve()))
    for place in places:
        for each in (place, *place.parents):
            try:
                status = each.stat()
            except OSError:  # not there yet, or not to be seen: then nothing in it can be read
                continue
            if not stat.S_ISDIR(status.st_mode):  # whoever makes the folder will say so
                continue
            way_out = f"set {variable} to a folder of your own"
            if status.st_uid not in (0, os.getuid()):
                raise UntrustedError(
                    f"compiled kernels are not kept in {folder}, because {each} belongs to another "
                    f"user, who could change them; {way_out}"
                )
            if _others_write(status) and (each == place or not status.st_mode & stat.S_ISVTX):
                raise UntrustedError(
                    f"compiled kernels are not kept in {folder}, because others may write {each} "
                    f"and so change them; run chmod go-w {each}, or {way_out}"
                )


def is_ours(file: int) -> bool:
    """Whether an open file (its descriptor) belongs to this user or to root, and nobody else may
    write it.
    """
    if not hasattr(os, "getuid"):
        return True
    status = os.fstat(file)
    return status.st_uid in (0, os.getuid()) and not _others_write(status)


def _others_write(status: os.stat_result) -> bool:
    if status.st_mode & stat.S_IWOTH:
        return True
    return bool(status.st_mode & stat.S_IWGRP) and not _is_owners(status.st_gid, status.st_uid)


def _is_owners(group: int, owner: int) -> bool:
    """Whether a group is root's, or has the owner's name and lists no other member."""
    if group == 0:
        return True
    try:
        import grp
        import pwd
    except ImportError:  # files have no groups here
        return False
    try:
        name, found = pwd.getpwuid(owner).pw_name, grp.getgrgid(group)
    except KeyError:
        return False
    return found.gr_name == name and set(found.gr_mem) <= {name}
