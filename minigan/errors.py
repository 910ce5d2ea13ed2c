"""The two ways in which a command can fail: what was asked is wrong, or the run itself failed."""

from collections.abc import Mapping


class UserError(Exception):
    """What was asked cannot be done; the message is one sentence that names the thing and the way
    out.

    The command line prints it without a traceback and exits with code 2.
    """


class RunError(Exception):
    """A run that was asked for correctly has failed, as when a loss stops being finite.

    The command line prints it without a traceback and exits with code 1.
    """


class DivergedError(RunError):
    """A loss has stopped being finite; `row` is what the round reported up to then."""

    def __init__(self, message: str, row: Mapping[str, float]) -> None:
        super().__init__(message)
        self.row = row
