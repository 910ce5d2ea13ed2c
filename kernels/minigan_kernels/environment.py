"""Environment variables that decide how kernels are compiled, and what is wrong with them.

Numba warns of a value that it cannot read, with a traceback, and goes on without; of others it says
nothing, or ends the process. Here each is refused in one sentence.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Mapping

LAYERS = ("default", "safe", "threadsafe", "forksafe", "tbb", "omp", "workqueue")


class SettingError(Exception):
    """An environment variable has a value that cannot be; the message is one sentence.

    >>> issubclass(SettingError, Exception)
    True
    """


def compiles() -> bool:
    """Whether Numba may compile. NUMBA_DISABLE_JIT, for debuggers and coverage, forbids it.

    >>> isinstance(compiles(), bool)
    True
    """
    try:
        return not int(os.environ.get("NUMBA_DISABLE_JIT", "0"))
    except ValueError:
        return True  # as Numba takes it; `load_numba` refuses it


def load_numba() -> None:
    """Import Numba.

    Raises:
        SettingError: if a variable that Numba reads has a value that cannot be, or forbids to
            compile.
    """
    _check(os.environ)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Environment variable 'NUMBA_", RuntimeWarning)
        try:
            import numba
        except RuntimeWarning as warning:
            name = str(warning).split("'")[1]
            raise SettingError(
                f"{name}={os.environ.get(name, '')} is nothing that Numba understands; unset it"
            ) from None
    if numba.config.DISABLE_JIT:  # type: ignore[attr-defined]
        raise SettingError(
            "the compiled kernels need Numba's compiler; unset NUMBA_DISABLE_JIT, or let the plain "
            'kernels compute: with minigan_kernels.use("reference")'
        )


def _check(environment: Mapping[str, str]) -> None:
    threads = environment.get("NUMBA_NUM_THREADS", "1")
    if not (threads.isascii() and threads.isdecimal() and int(threads) > 0):
        raise SettingError(f"NUMBA_NUM_THREADS must be an integer from 1 on, not {threads!r}")
    layer = environment.get("NUMBA_THREADING_LAYER", "default")
    if layer not in LAYERS:
        raise SettingError(f"NUMBA_THREADING_LAYER must be one of {', '.join(LAYERS)}, not {layer}")
    features = environment.get("NUMBA_CPU_FEATURES", "")
    wrong = [word for word in features.split(",") if not re.fullmatch(r"[+-]\S+", word)]
    if features and wrong:  # LLVM ends the process
        raise SettingError(
            f"NUMBA_CPU_FEATURES must be a list such as +avx2,-avx512f, but has {wrong[0]!r}"
        )
