"""What only some systems have is guarded, and its absence is survived (Windows, macOS)."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = [ROOT / "minigan", ROOT / "kernels" / "minigan_kernels"]

# By module, what Windows or macOS lacks of what a program of this kind may use.
LACKING: dict[str, list[str]] = {
    "os": [
        "O_DIRECTORY", "O_NOFOLLOW", "O_CLOEXEC", "O_TMPFILE", "O_NONBLOCK", "chown", "chroot",
        "ctermid", "fchdir", "fchmod", "fchown", "fdatasync", "fork", "forkpty", "fpathconf",
        "getegid", "geteuid", "getgid", "getgroups", "getloadavg", "getpgid", "getpgrp",
        "getpriority", "getresuid", "getsid", "getuid", "initgroups", "killpg", "lchown",
        "lockf", "major", "minor", "mkfifo", "mknod", "nice", "openpty", "pipe2",
        "posix_fadvise", "posix_fallocate", "posix_spawn", "pread", "preadv", "pwrite",
        "pwritev", "register_at_fork", "sched_getaffinity", "sched_setaffinity", "sched_yield",
        "sendfile", "setpgid", "setpriority", "setsid", "setuid", "statvfs", "sync", "sysconf",
        "tcgetpgrp", "ttyname", "uname", "wait", "wait3", "wait4", "waitid", "eventfd",
        "memfd_create", "getrandom",
    ],
    "signal": [
        "SIGALRM", "SIGCHLD", "SIGCONT", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGQUIT", "SIGSTOP",
        "SIGTSTP", "SIGUSR1", "SIGUSR2", "SIGWINCH", "alarm", "pause", "pthread_kill",
        "pthread_sigmask", "setitimer", "siginterrupt", "sigpending", "sigtimedwait", "sigwait",
    ],
    "mmap": [
        "MAP_ANONYMOUS", "MAP_PRIVATE", "MAP_SHARED", "MADV_HUGEPAGE", "MADV_DONTNEED",
        "MADV_WILLNEED", "PROT_READ", "PROT_WRITE",
    ],
    "time": ["clock_gettime", "pthread_getcpuclockid", "tzset"],
}  # fmt: skip
MODULES = ["fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty", "posix"]
# What macOS lacks; Windows lacks all of it.
LINUX_ONLY = [
    "os.sched_getaffinity",
    "os.sched_setaffinity",
    "os.O_TMPFILE",
    "os.memfd_create",
    "os.eventfd",
    "os.posix_fadvise",
    "os.posix_fallocate",
    "os.pipe2",
    "mmap.MADV_HUGEPAGE",
]

Scope = ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def used(scope: ast.AST, around: str = "") -> Iterator[tuple[int, str, str]]:
    """Line, name and surroundings of each use of what is lacking somewhere.

    The surroundings are the source of the function, or of the statement of a module or a class,
    that it stands in.
    """
    for child in ast.iter_child_nodes(scope):
        here = around
        top = isinstance(scope, ast.Module | ast.ClassDef)
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) or (top and not around):
            here = ast.unparse(child)
        if isinstance(child, ast.Attribute) and isinstance(child.value, ast.Name):
            module = child.value.id
            if child.attr in LACKING.get(module, ()):
                yield child.lineno, f"{module}.{child.attr}", here
        if isinstance(child, ast.Import):
            for alias in child.names:
                if alias.name.partition(".")[0] in MODULES:
                    yield child.lineno, alias.name, here
        if isinstance(child, ast.ImportFrom) and (child.module or "") in (*MODULES, *LACKING):
            for alias in child.names:
                if child.module in MODULES or alias.name in LACKING.get(child.module or "", ()):
                    yield child.lineno, f"{child.module}.{alias.name}", here
        yield from used(child, here)


def is_guarded(name: str, around: str) -> bool:
    module, _, attribute = name.partition(".")
    return (
        f"hasattr({module}, '{attribute}')" in around
        or "sys.platform" in around
        or "os.name" in around
        or (not attribute and "except ImportError" in around)
    )


def test_what_only_some_systems_have_is_guarded() -> None:
    wrong = []
    for folder in PRODUCT:
        for file in sorted(folder.rglob("*.py")):
            for line, name, around in used(ast.parse(file.read_text("utf-8"))):
                if not is_guarded(name, around):
                    wrong.append(f"{file.relative_to(ROOT)}:{line}: {name}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import os\ndef f():\n    return os.getuid()", ["os.getuid"]),
        ("import os\ndef f():\n    return os.getuid() if hasattr(os, 'getuid') else 0", []),
        ("import os\nif hasattr(os, 'fork'):\n    os.fork()", []),
        ("import os\nif hasattr(os, 'fork'):\n    os.fork()\nos.fork()", ["os.fork"]),
        ("class A:\n    def f(self):\n        signal.alarm(1)", ["signal.alarm"]),
        ("import fcntl", ["fcntl"]),
        ("if sys.platform != 'win32':\n    import fcntl", []),
        ("try:\n    import resource\nexcept ImportError:\n    resource = None", []),
        ("from signal import SIGHUP, SIGINT", ["signal.SIGHUP"]),
        ("os.cpu_count()", []),
    ],
)
def test_the_guard_is_seen(source: str, found: list[str]) -> None:
    assert [n for _, n, around in used(ast.parse(source)) if not is_guarded(n, around)] == found


WITHOUT = """
import builtins, io, importlib, os, pathlib, sys
import platformdirs  # which asks for the system it is on, not for what that has
absent, lacking = sys.argv[1].split(), sys.argv[2].split()
for name in absent:
    module, _, attribute = name.partition(".")
    vars(importlib.import_module(module)).pop(attribute, None)
for name in lacking:
    sys.modules[name] = None

opened = io.open
hidden = "/proc/self/cgroup", "/proc/self/mountinfo", "/proc/cpuinfo", "/sys"
def open_here(file, *args, **options):
    if isinstance(file, (str, os.PathLike)) and str(file).startswith(hidden):
        raise FileNotFoundError(2, "No such file or directory", str(file))
    return opened(file, *args, **options)
builtins.open = io.open = open_here

from minigan.cli import main

train = ["train", "dcgan", "--width", "4", "--latent-size", "5", "--batch-size", "4"]
assert main([*train, "--data", "glyphs", "--steps", "2", "--out", "run"]) == 0
assert main(["train", "--resume", "--out", "run", "--steps", "3"]) == 0
assert main(["sample", "run", "--count", "2"]) == 0

import numpy as np
import minigan_kernels as kernels
from minigan_kernels.cpu.runtime.parallel import use_threads
x, w = np.ones((8, 4, 64, 64), np.float32), np.ones((4, 4, 3, 3), np.float32)
with use_threads(3):
    y = kernels.conv2d(x, w)
assert y[0, 0, 5, 5] == 36
assert not any(hasattr(sys.modules.get(n.partition(".")[0]), n.partition(".")[2]) for n in absent)
"""


@pytest.mark.parametrize("system", ["windows", pytest.param("macos", marks=pytest.mark.slow)])
def test_a_run_on_a_system_that_lacks_it(tmp_path: Path, system: str) -> None:
    everything = [f"{module}.{name}" for module, names in LACKING.items() for name in names]
    # The standard library's own subprocess needs these, and has others on Windows.
    kept = {"os.waitid", "signal.SIGCHLD", "time.clock_gettime", "os.uname", "os.sysconf"}
    absent = LINUX_ONLY if system == "macos" else sorted({*everything} - kept)
    modules = (
        [] if system == "macos" else [name for name in MODULES if name not in ("fcntl", "posix")]
    )
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, " ".join(absent), " ".join(modules)],
        cwd=tmp_path,
        env=tiny.environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "sample.png").is_file()
