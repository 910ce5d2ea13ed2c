"""The command line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from minigan_kernels import SettingError

from . import GraphError, __version__, signals
from .commands.console import lasting_log, say, show, show_page, silence
from .errors import RunError, UserError, nearest
from .terminal import standard_streams

DONE, FAILED, WRONG, SIGNALLED = 0, 1, 2, 128
# What to do when memory is exhausted, by verb; a resumed run keeps its batch size.
REMEDIES = {
    "train": "train again with a smaller --batch-size",
    "sample": "try a smaller --count",
    "evaluate": "try a smaller --count",
}


def _verbs() -> dict[str, tuple[Callable[[list[str]], int], str]]:
    from .commands import (
        bench,
        data,
        doctor,
        evaluate,
        export,
        gradcheck,
        recipes,
        report,
        sample,
        train,
    )  # fmt: skip

    return {
        "train": (train.main, "train a GAN; with nothing more, a DCGAN on built-in digits"),
        "sample": (sample.main, "draw samples from a run: a grid, single images, a walk"),
        "evaluate": (evaluate.main, "score a run against the truth: modes, likelihood, classes"),
        "export": (export.main, "write the generator of a run as a file of its own"),
        "report": (report.main, "write a run's report again, or whenever the run changes"),
        "recipes": (recipes.main, "list the GANs that can be trained"),
        "data": (data.main, "list the data sets, fetch one, or empty the caches"),
        "gradcheck": (gradcheck.main, "check a recipe's gradients against finite differences"),
        "bench": (bench.main, "measure minigan beside its peers"),
        "doctor": (doctor.main, "say what this machine offers and whether the kernels work"),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the answer is its exit code.

    0: done; 1: the run failed; 2: what was asked is wrong; 130: interrupted, with the checkpoint
    written, 143 by SIGTERM, 129 by SIGHUP. An error is one sentence; `--debug` adds the traceback.
    """
    with standard_streams(), lasting_log(), signals.raised():
        return _answer(list(sys.argv[1:] if arguments is None else arguments))


def _answer(words: list[str]) -> int:
    """The exit code of a command; what ended it is said on standard error."""
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        code = _dispatch(words)
        sys.stdout.flush()
        return code
    except (UserError, RunError, GraphError, SettingError) as error:  # GraphError: of own networks
        if debug:
            raise
        say(f"minigan: {error}")
        return WRONG if isinstance(error, UserError | SettingError) else FAILED
    except MemoryError as error:
        if debug:
            raise
        remedy = REMEDIES.get(words[0] if words else "", "end what else takes memory here")
        say(f"minigan: out of memory ({error}); {remedy}")
        return FAILED
    except KeyboardInterrupt as error:
        number = signals.number_of(error)
        say(f"minigan: {signals.interrupted(number)}")
        return SIGNALLED + number
    except BrokenPipeError:  # the reader of our output, such as head, has gone
        silence(sys.stdout)
        return DONE
    except OSError as error:
        if debug:
            raise
        say(f"minigan: {_place(error)}{error.strerror or error}")
        return FAILED


def _place(error: OSError) -> str:
    return f"{error.filename}: " if error.filename else ""


def _dispatch(words: list[str]) -> int:
    verbs = _verbs()
    if not words or words[0] in ("-h", "--help"):
        lines = [f"  {name:10} {text}" for name, (_, text) in verbs.items()]
        show_page(
            "\n".join(
                [
                    "usage: minigan VERB [flags]; minigan VERB --help lists the flags\n",
                    *lines,
                    "\n  --version  print the version",
                    "  --debug    show the traceback of an error",
                ]
            )
        )
        return DONE
    if words[0] == "--version":
        show(f"minigan {__version__}")
        return DONE
    if words[0] not in verbs:
        later = [word for word in words if word in verbs]
        if words[0].startswith("-") and later:
            raise UserError(f"the command comes first, before its flags: minigan {later[0]}")
        near = nearest(words[0], verbs)
        hint = f"did you mean {near}?" if near else f"there are {', '.join(verbs)}"
        raise UserError(f"there is no command {words[0]}; {hint}")
    return verbs[words[0]][0](words[1:])
