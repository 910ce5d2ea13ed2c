"""What a PyTorch user tries first either works or says how it is done here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pytorch_tries import VERDICTS, FirstTry, pytorch_tries

_, FOUND = pytorch_tries()
REFUSAL = re.compile(r"\w+(Error|Exception): ")  # how the last line of an error begins


@pytest.mark.parametrize("tried", FOUND, ids=lambda tried: tried.title)
def test_the_answer_is_the_committed_one(
    tried: FirstTry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert tried.executed() == tried.answer


def test_hardly_any_differs() -> None:
    verdicts = [tried.verdict for tried in FOUND]
    assert set(verdicts) <= set(VERDICTS)
    assert len({tried.title for tried in FOUND}) == len(FOUND) >= 161
    assert len(FOUND) - verdicts.count("differs") >= 140


@pytest.mark.parametrize("tried", FOUND, ids=lambda tried: tried.title)
def test_the_verdict_fits_the_answer(tried: FirstTry) -> None:
    last = (tried.answer.splitlines() or [""])[-1]
    refused = REFUSAL.match(last) is not None
    if tried.verdict == "runs":
        assert not refused
    if tried.verdict == "answers":
        assert refused
        assert len(last) < 400
    assert (tried.verdict == "differs") == bool(tried.reason)
