"""The command line."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Callable, Sequence

from . import GraphError, __version__
from .errors import RunError, UserError

DONE, FAILED, WRONG, INTERRUPTED = 0, 1, 2, 130
# What to do when memory is exhausted, by verb; a resumed run keeps its batch size.
REMEDIES = {
    "train": "train again with a smaller --batch-size",
    "sample": "try a smaller --count",
    "evaluate": "try a smaller --count",
}


def _verbs() -> dict[str, tuple[Callable[[list[str]], int], str]]:
    from .commands import bench, data, doctor, evaluate, gradcheck, recipes, sample, train

    return {
        "train": (train.main, "train a GAN; with nothing more, a DCGAN on built-in digits"),
        "sample": (sample.main, "draw samples from a run: a grid, single images, a walk"),
        "evaluate": (evaluate.main, "score a run against the truth: modes, likelihood, classes"),
        "recipes": (recipes.main, "list the GANs that can be trained"),
        "data": (data.main, "list the data sets, or fetch one"),
        "gradcheck": (gradcheck.main, "check a recipe's gradients against finite differences"),
        "bench": (bench.main, "measure minigan beside its peers"),
        "doctor": (doctor.main, "say what this machine offers and whether the kernels work"),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the answer is its exit code.

    0: done; 1: the run failed; 2: what was asked is wrong; 130: interrupted, with the checkpoint
    written. An error is one sentence; `--debug` adds the traceback.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        code = _dispatch(words)
        sys.stdout.flush()
        return code
    except (UserError, RunError, GraphError) as error:  # the last of a recipe's own networks
        if debug:
            raise
        print(f"minigan: {error}", file=sys.stderr)
        return WRONG if isinstance(error, UserError) else FAILED
    except MemoryError as error:
        if debug:
            raise
        remedy = REMEDIES.get(words[0] if words else "", "end what else takes memory here")
        print(f"minigan: out of memory ({error}); {remedy}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("minigan: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output, such as head, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except OSError as error:
        if debug:
            raise
        print(f"minigan: {_place(error)}{error.strerror or error}", file=sys.stderr)
        return FAILED


def _place(error: OSError) -> str:
    return f"{error.filename}: " if error.filename else ""


def _dispatch(words: list[str]) -> int:
    verbs = _verbs()
    if not words or words[0] in ("-h", "--help"):
        print("usage: minigan VERB [flags]; minigan VERB --help lists the flags\n")
        for name, (_, text) in verbs.items():
            print(f"  {name:10} {text}")
        print("\n  --version  print the version\n  --debug    show the traceback of an error")
        return DONE
    if words[0] == "--version":
        print(f"minigan {__version__}")
        return DONE
    if words[0] not in verbs:
        near = difflib.get_close_matches(words[0], verbs, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(verbs)}"
        raise UserError(f"there is no command {words[0]}; {hint}")
    return verbs[words[0]][0](words[1:])
