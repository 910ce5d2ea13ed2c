"""What every message to a user must be."""

from __future__ import annotations


def one_sentence(error: BaseException) -> str:
    """The message of an error, which is on one line, and not long."""
    text = str(error)
    assert "\n" not in text
    assert len(text) < 300, text
    return text
