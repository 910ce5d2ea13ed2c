"""Fixtures that several test files share."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import tiny
from tiny import Shell

pytest.register_assert_rewrite("calls")


@pytest.fixture
def shell(capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(capsys)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_idx(tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, digits: Path) -> Path:
    """A run of two rounds; tests only read it."""
    from minigan.cli import main

    out = tmp_path_factory.mktemp("finished") / "run"
    words = ["train", "gan", *tiny.FLAGS, "--data", str(digits), "--steps", "2", "--init-g", "1"]
    assert main([*words, "--out", str(out)]) == 0
    return out


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run, to be spoilt."""
    return Path(shutil.copytree(finished, tmp_path / "run"))
