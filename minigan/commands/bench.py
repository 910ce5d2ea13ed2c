"""`minigan bench`: measure minigan beside its peers; the benchmarks live in the repository."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

from ..errors import UserError
from ..signals import Stopped

GRACE = 5  # seconds in which a benchmark ends when it is told to
CHECKOUT = Path(__file__).resolve().parents[2]


def _repository() -> str | None:
    """The address of the repository, as the installed package has it."""
    try:
        found = metadata("minigan").get_all("Project-URL", [])
    except PackageNotFoundError:
        return None
    addresses = {name.lower(): url for name, _, url in (line.partition(", ") for line in found)}
    known = (addresses.get(name) for name in ("repository", "source", "homepage"))
    return next(filter(None, known), None)


def main(words: list[str]) -> int:
    """Run the checkout's `bench` package in a process of its own, which sets its own threads.

    Raises:
        UserError: if minigan is installed without its checkout.
    """
    if not (CHECKOUT / "bench" / "__main__.py").is_file():
        address = _repository()
        clone = f"git clone {address}" if address else "clone its repository"
        raise UserError(
            f"the benchmarks are not part of an installed minigan; {clone}, go there, say "
            "pip install -e '.[bench]', and minigan bench again"
        )
    before = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([str(CHECKOUT), *([before] if before else [])])
    # -P, or a folder called bench where the user happens to be would come first.
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "bench", *words], env={**os.environ, "PYTHONPATH": path}
    ) as process:
        try:
            return process.wait()
        except KeyboardInterrupt as error:
            if isinstance(error, Stopped):  # Ctrl-C reaches it without us
                process.send_signal(error.number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(GRACE)
            process.kill()
            raise
