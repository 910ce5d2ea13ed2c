"""The peers, one file each: a function that builds the network and gives the step to be timed."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from minigan.errors import RunError

from ..timing import Step


class UnavailableError(Exception):
    """Why a peer cannot take part, in a few words."""


@dataclass(frozen=True)
class Peer:
    """Somebody to compare with: `build` gives a function that takes one step."""

    name: str
    build: Callable[[], Step]


def peer(name: str, path: str, *args: Any, **options: Any) -> Peer:
    """The peer whose step the function at `path` gives, as "torch_dcgan.eager".

    The file is imported when the step is built: what it compares with may not be installed.
    """
    file, _, function = path.partition(".")

    def build() -> Step:
        step: Step = getattr(importlib.import_module(f"{__name__}.{file}"), function)(
            *args, **options
        )
        return step

    return Peer(name, build)


@dataclass(frozen=True)
class Size:
    """What a network is built for: images (C, H, W), channels next to the image, a batch."""

    image: tuple[int, int, int]
    width: int = 64
    batch: int = 64

    def __str__(self) -> str:
        channels, side, _ = self.image
        return f"{side}x{side}x{channels}, batch {self.batch}, width {self.width}"


def module(name: str) -> ModuleType | None:
    """The file of that name in this folder; None if what it compares with is not installed."""
    try:
        return importlib.import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith((__name__, "minigan")):
            raise
        return None


def ready(peers: Sequence[Peer]) -> tuple[dict[str, Step], dict[str, str]]:
    """The steps of those peers that can take one, and why the others cannot.

    Raises:
        RunError: if the first one cannot: it is minigan.
    """
    steps: dict[str, Step] = {}
    absent: dict[str, str] = {}
    for peer in peers:
        try:
            step = peer.build()
            step()
        except ImportError as error:
            absent[peer.name] = f"{error.name} is not installed"
        except UnavailableError as error:
            absent[peer.name] = str(error)
        except Exception as error:  # a compiler that is not there, a kernel that is not: say so
            line = (str(error).strip().splitlines() or [""])[0]
            absent[peer.name] = f"{type(error).__name__}: {line}"[:120]
        else:
            steps[peer.name] = step
    if peers[0].name in absent:
        raise RunError(f"{peers[0].name} cannot take its step: {absent[peers[0].name]}")
    return steps, absent
