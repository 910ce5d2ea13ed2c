"""Run directories from anybody: 1,000 changed ones are read, or refused in one line."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import run_readers
from fuzz import Case, fuzz

CASES = [
    run_readers.config,
    run_readers.metrics,
    run_readers.facts,
    run_readers.arrays,
    run_readers.checkpoint_file,
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_a_changed_run_directory(case: Case) -> None:
    report = fuzz(case, 200)
    assert not report.findings, str(report)
    assert report.refused > 100
    if case is not run_readers.checkpoint_file:  # nearly every change of a byte is found
        assert report.read > 10


@pytest.mark.long
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_a_changed_run_directory_at_length(
    case: Case, record_property: Callable[[str, object], None]
) -> None:
    report = fuzz(case, 5000, seed=1)
    record_property("found", str(report))
    assert not report.findings, str(report)
