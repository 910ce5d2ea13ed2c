"""The two kinds of failure of a command: what was asked is wrong, or the run itself failed."""

from collections.abc import Mapping


class UserError(Exception):
    """What was asked cannot be done.

    The message is one sentence that names the thing and the way out.

    The command line prints it without a traceback and exits with code 2.
    """


class RunError(Exception):
    """A correct command has failed, as when a loss stops being finite.

    The command line prints it without a traceback and exits with code 1.
    """


class DivergedError(RunError):
    """A loss has stopped being finite; `row` is what the step has reported before."""

    def __init__(self, message: str, row: Mapping[str, float]) -> None:
        super().__init__(message)
        self.row = row
