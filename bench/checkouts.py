"""Two checkouts beside each other: the flags and the environment that both comparisons share."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from .threads import VARIABLES


def environment(checkout: Path, threads: int, more: Mapping[str, str]) -> dict[str, str]:
    """The variables of a process that computes with the packages of `checkout`."""
    path = os.pathsep.join(map(str, (checkout, checkout / "kernels")))
    counts = dict.fromkeys(VARIABLES, str(threads))
    return {**os.environ, **more, **counts, "PYTHONPATH": path, "PYTHONSAFEPATH": "1"}


def parser(name: str, description: str, threads: Sequence[int]) -> argparse.ArgumentParser:
    """A parser of the flags that both comparisons have; `threads` are those if none are given."""
    from minigan import gans

    made = argparse.ArgumentParser(prog=f"minigan bench {name}", description=description)
    made.add_argument("checkout", type=Path, metavar="CHECKOUT", help="the other one")
    made.add_argument("--threads", type=numbers, default=list(threads), help="such as 1,2")
    made.add_argument(
        "--recipes",
        type=lambda text: text.split(","),
        default=gans.names(),
        help="all if not given",
    )
    return made


def parse(made: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    """The options, with the checkout in full; ends the program if one of the shared cannot be."""
    from minigan import gans

    options = made.parse_args(words)
    options.checkout = options.checkout.resolve()
    for folder in ("minigan", "kernels/minigan_kernels"):
        if not (options.checkout / folder / "__init__.py").is_file():
            made.error(f"{options.checkout} is no checkout: it has no {folder}")
    if unknown := {*options.recipes} - {*gans.names()}:
        made.error(f"there is no recipe {min(unknown)}")
    if min(options.threads) < 1:
        made.error("--threads must be at least 1")
    return options


def numbers(text: str) -> list[int]:
    """The integers of a list such as 1,2."""
    return [int(word) for word in text.split(",")]
