"""What is said of compiling: one line in a log, one that changes on a terminal."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from minigan_kernels.compiling import Compiling
from minigan_kernels.cpu.compiler import disk_cache


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def compile_two(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, watched: int = 0) -> str:
    """What is said while two functions are compiled, the first with a helper."""
    compiling, notice = Compiling(), disk_cache._Notice()
    compiling.watched = watched
    monkeypatch.setattr(disk_cache, "COMPILING", compiling)
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")

    def dispatcher(name: str) -> Any:
        cache = object.__new__(disk_cache.DiskCache)
        cache.name = name
        return SimpleNamespace(_cache=cache)

    first, helper, second = map(dispatcher, ("first", "helper", "second" * 20))
    for each in (first, helper):
        notice.began(each)
    for each in (helper, first):
        notice.ended(each)
    notice.began(second)
    assert compiling.status().startswith("compiling kernel 2, ")
    notice.ended(second)
    assert compiling.names == ["first", "second" * 20]
    assert compiling.status() == ""
    assert compiling.seconds() > 0
    return stream.getvalue()


def test_a_log_gets_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    text = compile_two(monkeypatch, io.StringIO())
    assert text.count("\n") == 1
    assert "compiling kernels for this CPU" in text
    assert "\x1b" not in text


def test_a_terminal_gets_one_line_that_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    first, *drawn = compile_two(monkeypatch, Terminal()).split("\r\x1b[K")
    assert first.count("\n") == 1
    shown = [text for text in drawn if text]
    assert [text.split(",")[0] for text in shown] == [
        "minigan: compiling kernel 1",
        "minigan: compiling kernel 2",
    ]
    assert all(len(text) < 60 and "\n" not in text for text in shown)
    assert drawn[-1] == ""  # the line is empty for whoever prints next


def test_beside_a_bar_nothing_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    assert compile_two(monkeypatch, Terminal(), watched=1).count("\r") == 0
