"""Commands that are killed or signalled, each in a process forked from one that is warm.

A process that has imported everything and loaded every kernel forks for each command, which so
costs a fraction of a second. The command is killed before its nth change of a file, after some
seconds, or not at all.

    python tests/support/warm.py     reads jobs as lines of JSON, and answers each with one
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from minigan_kernels.cpu.compiler.disk_cache import cache_folder

CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "os.truncate", "os.link"}


@dataclass(frozen=True)
class Job:
    """A command, and what ends it."""

    words: list[str]
    place: str  # folder whose changes are counted
    before: int | None = None  # kill it before this change, from 0
    after: float | None = None  # send the signals after so many seconds
    signals: tuple[int, ...] = (signal.SIGKILL,)
    environment: dict[str, str] | None = None
    target: str = "minigan.cli:main"  # what takes the words and gives the exit code


@dataclass(frozen=True)
class End:
    """How a command ended."""

    code: int  # negative: the signal that killed it
    said: str  # on either stream
    changes: int  # of files, until it ended or was killed
    seconds: float


class Warm:
    """The warm process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def __call__(self, *words: str | Path, place: Path, **how: Any) -> End:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        job = Job([str(word) for word in words], str(place), **how)
        self._process.stdin.write(json.dumps(asdict(job)) + "\n")
        self._process.stdin.flush()
        return End(**json.loads(self._process.stdout.readline()))


@contextmanager
def warm(folder: Path, *commands: list[str]) -> Iterator[Warm]:
    """A process that has gone through these commands once; it works in `folder`.

    Its cache is there, but for kernels. It trains classifiers for a single step.
    """
    own = {"NUMBA_CACHE_DIR": str(cache_folder().parent), "XDG_CACHE_HOME": str(folder / "cache")}
    with subprocess.Popen(
        [sys.executable, __file__, json.dumps(commands)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, "NO_COLOR": "1", **own},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield Warm(process)
        process.stdin.close()


def fetch(words: list[str]) -> int:
    """Fetch a file, given the folder's address, a copy of the file, and where to put it."""
    from minigan.data.download import File, Source
    from minigan.data.download import fetch as fetch_source

    address, copy, folder = words
    content = Path(copy).read_bytes()
    file = File(Path(copy).name, len(content), f"sha256:{hashlib.sha256(content).hexdigest()}")
    fetch_source(Source("numbers", (address,), (file,), (), "none"), Path(folder))
    return 0


def _serve(commands: list[list[str]]) -> None:
    from minigan.cli import main
    from minigan.metrics import classifier

    classifier.STEPS = 1
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which nohup would have ignored
    answers = os.fdopen(os.dup(1), "w")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    for words in commands:
        assert main(words) == 0, words
    answers.write("ready\n")
    answers.flush()
    for line in sys.stdin:
        job = Job(**json.loads(line))
        answers.write(json.dumps(asdict(_run(job))) + "\n")
        answers.flush()


def _run(job: Job) -> End:
    reading, writing = os.pipe()
    counted, count = os.pipe()
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        _child(job, writing, count)
    os.close(writing)
    os.close(count)
    if job.after is not None:
        time.sleep(job.after)
        for number in job.signals:
            os.kill(child, number)
    with os.fdopen(reading, "rb") as said, os.fdopen(counted, "rb") as changes:
        text = said.read().decode(errors="replace")
        number = len(changes.read())
    _, status = os.waitpid(child, 0)
    seconds = time.monotonic() - began
    return End(os.waitstatus_to_exitcode(status), text, number, seconds)


def _child(job: Job, output: int, count: int) -> None:
    """Never returns."""
    from minigan import files

    code = 70
    try:
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.environ.update(job.environment or {})
        files._swept.clear()  # as in a new process
        sys.addaudithook(_counter(job, count))
        module, name = job.target.split(":")
        code = getattr(importlib.import_module(module), name)(job.words)
        sys.stdout.flush()
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


def _counter(job: Job, count: int) -> Any:
    """Notes each change of a file in the job's place, and kills this process before one."""
    made = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal made
        if event == "open":
            path, _, flags = arguments
            if not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                return
        elif event in CHANGES:
            path = arguments[0]
        else:
            return
        if not isinstance(path, str | os.PathLike) or not str(path).startswith(job.place):
            return
        if made == job.before:
            os.kill(os.getpid(), signal.SIGKILL)
        made += 1
        os.write(count, b".")

    return hook


if __name__ == "__main__":
    _serve(json.loads(sys.argv[1]))
