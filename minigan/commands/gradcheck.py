"""`minigan gradcheck`: gradients of recipes, and of one's own code, against finite differences."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from .. import gans
from ..errors import RunError, UserError
from ..nn import Module
from ..testing import (
    Evidence,
    GradientError,
    UndecidedError,
    checks_of,
    examine,
    examine_module,
    tested,
)
from ..training.recipe import Recipe
from .console import show, show_page

LIST = "GRADCHECK"  # the name of a file's list of what is to be checked

HELP = """\
usage: minigan gradcheck [RECIPE | FILE.py ...]

Compare gradients with difference quotients, in float64; without a name, those
of all recipes.

Of a recipe every update of a step is checked, on each kind of data that the
recipe takes (images, stacked images, points in 1-D and in 2-D), on small
networks with random weights: the gradient of the loss with respect to each
parameter of the player (order 1), and the gradient of that gradient (order 2).

Of a file of your own, which is executed, every recipe is checked that it
defines, and all that it lists under the name GRADCHECK: layers, networks,
primitives, losses, or any function of tensors, each with its inputs. An input
is an array, or a shape that is filled with normal numbers; integer arrays are
constants.

    GRADCHECK = {
        "my layer": (MyLayer(3, rng=minigan.Generator(0)), (4, 3)),
        "my primitive": (swish, (4, 3)),
        "my loss": (my_loss, (8,), (8,)),
    }

In Python, minigan.testing has the same checks: check_recipe, check_module and
check_gradients.

A line is printed for each check:

right      The largest relative error is below the threshold. "k of n directions
           crossed a kink" says how often a rectifier, say, had its kink within
           the first step (1e-6 of the parameter's size). Such a direction is
           taken with a smaller step, or replaced by another: kinks show in that
           the quotients of both sides disagree. "No influence here" names what
           the loss does not depend on, so that nothing was tested of it.
WRONG      Two quotients agree with each other, and not with the gradient. The
           line names the player, the parameter, both numbers and the steps.
UNDECIDED  No quotient could be trusted: the gradient may be right or wrong.

The exit code is 0 if all are right, else 1."""


def main(words: list[str]) -> int:
    if "-h" in words or "--help" in words:
        show_page(HELP)
        return 0
    for word in words:
        if word.startswith("-"):
            raise UserError(f"minigan gradcheck takes recipes and files, not {word}")
    named = [(word, subjects(word)) for word in words or gans.names()]  # all names before any work
    failed = count = 0
    for name, checks in named:
        for what, check in checks():
            if check is None:
                show(f"{name}: {what}")
                continue
            verdict, right = judged(check)
            show(f"{name}, {what}: {verdict}")
            failed, count = failed + (not right), count + 1
    show(f"{count - failed} of {count} right")
    return 1 if failed else 0


def judged(check: Check) -> tuple[str, bool]:
    """The verdict of a check in words, and whether the gradient is right."""
    try:
        return f"right, {check()}", True
    except GradientError as error:
        return f"WRONG, {error}", False
    except UndecidedError as error:
        return f"UNDECIDED, {error}", False


Check = Callable[[], Evidence]
Named = tuple[str, Check | None]  # what is checked, or a remark alone


def subjects(word: str) -> Callable[[], Iterator[Named]]:
    """The checks for a recipe's name or a file, which is executed at once.

    Raises:
        UserError: if there is none.
    """
    if not word.endswith(".py"):
        kind = gans.load(word)
        return lambda: recipe_checks(kind)
    module = gans.load_file(word)
    recipes, listed = gans.recipes_of(module), getattr(module, LIST, {})
    if not recipes and not listed:
        raise UserError(
            f"{word} defines no recipe and no {LIST}; minigan gradcheck --help shows what it lists"
        )
    own = own_checks(word, module)

    def all_checks() -> Iterator[Named]:
        for kind in recipes:
            for what, check in recipe_checks(kind):
                yield f"{kind.__name__}, {what}", check
        yield from own

    return all_checks


def recipe_checks(kind: type[Recipe]) -> Iterator[Named]:
    """The checks of a recipe, and a remark on the data that it refuses."""
    checks, refused = checks_of(kind)
    for check in checks:
        same = [c.update for c in checks if (c.data, c.player) == (check.data, check.player)]
        number = f" (update {same.index(check.update) + 1} of {len(same)})" if len(same) > 1 else ""
        yield f"{check.data}, {check.player}{number}", check
    if refused:
        reasons = (
            data if isinstance(error, UserError) else f"{data} ({said(error)})"
            for data, error in refused.items()
        )
        yield f"takes no {', no '.join(reasons)}", None


def own_checks(word: str, module: ModuleType) -> list[Named]:
    """The checks of what a file lists.

    Raises:
        UserError: if the list is not as the help says.
    """
    listed: Any = getattr(module, LIST, {})
    if not isinstance(listed, dict):
        raise UserError(f"{LIST} of {word} must be a dict, not a {type(listed).__name__}")
    found: list[Named] = []
    for name, entry in listed.items():
        what, *inputs = entry if isinstance(entry, tuple) and entry else (None,)
        shapes = (
            isinstance(x, tuple) and all(type(n) is int and n >= 0 for n in x) for x in inputs
        )
        arrays = (isinstance(x, np.ndarray) for x in inputs)
        if not callable(what) or not inputs or not all(map(any, zip(shapes, arrays, strict=True))):
            raise UserError(
                f"{LIST}[{name!r}] of {word} must be (layer or function, input, ...), each input "
                "an array or a shape such as (4, 3)"
            )
        rng = np.random.default_rng(0)
        filled = [rng.standard_normal(x) if isinstance(x, tuple) else x for x in inputs]
        found.append((str(name), partial(own_check, f"{LIST}[{name!r}] of {word}", what, filled)))
    return found


def own_check(place: str, what: Callable[..., Any], inputs: list[np.ndarray]) -> Evidence:
    """Check what a file lists at `place`.

    Raises:
        GradientError, UndecidedError: as `check_gradients` does.
        RunError: if it fails in any other way.
    """
    try:
        if isinstance(what, Module):
            found = examine_module(what, *inputs)
        else:
            found = examine_function(what, inputs)
        return tested(found, "it", "its inputs and parameters; give it floating-point numbers")
    except (GradientError, UndecidedError):
        raise
    except Exception as error:  # a user's function may raise anything
        raise RunError(f"{place} failed: {said(error)}") from error


def said(error: Exception) -> str:
    """An exception in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def examine_function(f: Callable[..., Any], inputs: list[np.ndarray]) -> Evidence:
    """`examine` in float64, with integer arrays as constants."""
    moving = {i: x.astype(np.float64) for i, x in enumerate(inputs) if x.dtype.kind == "f"}

    def of_moving(*tensors: Any) -> Any:
        given = dict(zip(moving, tensors, strict=True))
        return f(*(given.get(i, x) for i, x in enumerate(inputs)))

    return examine(of_moving, list(moving.values()), names=[f"input {i}" for i in moving])
