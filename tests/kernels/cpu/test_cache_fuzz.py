"""A cache from anybody: changed files are compiled again, or refused in one line."""

from __future__ import annotations

from collections.abc import Callable

import cache_readers
import pytest
from fuzz import Case, fuzz

CASES: dict[Case, int] = {cache_readers.kernel_file: 1000, cache_readers.choices: 2000}


def check(case: Case, count: int, seed: int) -> str:
    report = fuzz(case, count, seed=seed)
    assert not report.findings, str(report)
    assert report.refused > 0.1 * count, str(report)
    assert report.read > 0.03 * count, str(report)
    return str(report)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_a_changed_cache(case: Case) -> None:
    check(case, CASES[case] // 10, seed=0)


@pytest.mark.long
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_a_changed_cache_at_length(
    case: Case, record_property: Callable[[str, object], None]
) -> None:
    record_property("found", check(case, CASES[case], seed=1))
