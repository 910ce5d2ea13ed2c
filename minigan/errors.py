"""The two kinds of failure of a command: what was asked is wrong, or the run itself failed; and
what may have been meant by a name that is not known.
"""

from collections.abc import Iterable, Mapping


class UserError(Exception):
    """What was asked cannot be done.

    The message is one sentence that names the thing and the way out.

    The command line prints it without a traceback and exits with code 2.

    >>> try:
    ...     mg.data.load("no-such-data")
    ... except mg.UserError as error:
    ...     print(str(error).partition(";")[0])
    There is no data set or folder no-such-data
    """


class RunError(Exception):
    """A correct command has failed, as when a loss stops being finite.

    The command line prints it without a traceback and exits with code 1.

    >>> issubclass(mg.RunError, Exception)
    True
    """


class DivergedError(RunError):
    """A loss has stopped being finite; `row` is what the step has reported before."""

    def __init__(self, message: str, row: Mapping[str, float]) -> None:
        super().__init__(message)
        self.row = row


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The name that `word` was probably meant to be, or None if none is near.

    Near is what is equal but for capitals and separators; else what one edit in three letters makes
    equal, three at most (a letter added, dropped or replaced, or two swapped); else the only name
    that begins so, from three letters on.
    """
    plain = _plain(word)
    names = {name: _plain(name) for name in known}
    if not plain or not names:
        return None
    allowed = min(3, len(plain) // 3)
    near = [name for name, other in names.items() if abs(len(other) - len(plain)) <= allowed]
    edits = {name: _edits(plain, names[name]) for name in near}
    best = min(edits, key=edits.__getitem__, default=None)
    if best is not None and edits[best] <= allowed and edits[best] < len(plain):
        return best
    begun = [name for name, other in names.items() if other.startswith(plain)]
    return begun[0] if len(begun) == 1 and len(plain) >= 3 else None


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


def _edits(a: str, b: str) -> int:
    """The edits that make `a` into `b`: the distance of Damerau 1964 and Levenshtein 1966, in which
    no letter is edited twice.
    """
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, letter in enumerate(a, 1):
        older, before, row = before, row, [i]
        for j, other in enumerate(b, 1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (letter != other)))
            if i > 1 < j and letter == b[j - 2] and a[i - 2] == other:
                row[j] = min(row[j], older[j - 2] + 1)
    return row[-1]
