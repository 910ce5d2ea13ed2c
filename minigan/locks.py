"""Locks on files, which the system takes back when their process ends, however it ends."""

from __future__ import annotations

import errno
import importlib
import os
import time
from typing import Any

# What a file system without locks answers: NFS without its daemon, some network and user ones.
WITHOUT_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
FAR = 1 << 30  # byte that Windows locks, which it lets nobody read


def _module(name: str) -> Any:
    """A module that only some systems have, or None."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


fcntl, msvcrt = _module("fcntl"), _module("msvcrt")


def try_lock(descriptor: int) -> bool | None:
    """Lock an open file: whether it is ours now, or None if there are no locks here.

    It is ours until the file is closed. Another process, or another opening of the file in this
    one, is refused until then.
    """
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        elif msvcrt is not None:
            os.lseek(descriptor, FAR, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            return None
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:
        if error.errno in WITHOUT_LOCKS:
            return None
        raise
    return True


def wait_for_lock(descriptor: int) -> None:
    """Wait until `try_lock` does not refuse any more."""
    while try_lock(descriptor) is False:
        time.sleep(0.1)
