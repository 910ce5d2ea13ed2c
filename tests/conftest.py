"""Fixtures that several test files share, and the record of the long tests."""

from __future__ import annotations

import datetime
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny
from minigan_kernels import compiles
from tiny import Shell

pytest.register_assert_rewrite("calls")


def pytest_configure() -> None:
    if not compiles():
        raise pytest.UsageError("most tests are of compiled kernels: unset NUMBA_DISABLE_JIT")


# A Python that a test starts finds the modules of support/ as well.
SUPPORT = str(Path(__file__).parent / "support")
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [SUPPORT, os.environ.get("PYTHONPATH")]))


LONG = Path(__file__).with_name("long.txt")


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    """After all of `pytest -m long` write into long.txt what each test recorded as found.

    Raises:
        OSError: if it cannot be written.
    """
    option = config.option
    last_failed = getattr(option, "lf", False)  # unknown where pytest's cache is switched off
    part = option.keyword or option.deselect or option.maxfail or last_failed
    everything = config.args_source is pytest.Config.ArgsSource.TESTPATHS and not part
    ended = exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
    if option.markexpr != "long" or not everything or not ended:
        return
    lines = [f"pytest -m long, {datetime.date.today()}"]
    for outcome in ("passed", "failed", "error"):
        for report in terminalreporter.stats.get(outcome, []):
            found = dict(report.user_properties).get("found", "")
            lines.append(f"{outcome}  {report.nodeid}  {report.duration:.0f} s  {found}".rstrip())
    LONG.write_text("\n".join([lines[0], *sorted(lines[1:])]) + "\n")


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_idx(tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, digits: Path) -> Path:
    """A run of two steps; tests only read it."""
    from minigan.cli import main

    out = tmp_path_factory.mktemp("finished") / "run"
    words = ["train", "gan", *tiny.FLAGS, "--data", str(digits), "--steps", "2", "--init-g", "1"]
    assert main([*words, "--out", str(out)]) == 0
    return out


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, to be spoilt."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own but for kernels; a classifier in it is hardly trained."""
    import numba
    from minigan_kernels.cpu.compiler.disk_cache import cache_folder

    from minigan.metrics import classifier

    monkeypatch.setattr(numba.config, "CACHE_DIR", str(cache_folder().parent))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(classifier, "STEPS", 1)
    return tmp_path / "cache"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Shell], Path]:
    """Runs of two steps by recipe, each trained once."""
    folder = tmp_path_factory.mktemp("runs")

    def run(name: str, shell: Shell) -> Path:
        if not (folder / name).exists():
            data = tiny.write_idx(folder / "digits", count=24)
            flags = ["--hidden", "8", "--width", "4", "--latent-size", "5", "--batch-size", "4"]
            shell.succeeds(
                "train", name, *flags, "--data", data, "--steps", "2", "--out", folder / name
            )
        return folder / name

    return run
