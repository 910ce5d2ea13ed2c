"""`bench pictures`: two starts with pictures that it makes."""

from __future__ import annotations

import pytest

from bench import __main__ as bench_main


def test_both_starts_are_in_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench_main.main(["pictures", "--counts", "64"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (row,) = [line.split() for line in lines if line.startswith("64 ")]
    first, second, ratio = map(float, row[1:4])
    assert min(first, second, ratio) > 0
    assert len(row) == 8
