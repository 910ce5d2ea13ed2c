"""Which algorithm does a convolution on the CPU: a rule over shapes, and what was measured.

The rule, for float32 (float64 is always packed for BLAS, see `packed`):

1. Winograd, where it applies and its products are at most SAVED of the direct ones. Transforms are
   paid for each channel and products for each pair of channels, so there must be FEW of neither.
   Tiles have 4x4 or 2x2 outputs, whichever leaves fewer products: big tiles save more, but at the
   lower and right border a part of them is empty.
2. Direct, for everything else.

What `remember` was told about a layer goes before the rule. It is kept on disk beside the compiled
kernels; nothing measures by itself, or the same run could give other bits the second time.
"""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path

import numpy as np

from ...algorithms import ALGORITHMS, forced
from ...checks import Window
from ..compiler.disk_cache import cache_folder
from ..isa.amx import AMX
from ..isa.simd import LANES
from . import winograd

SAVED = 0.75
FEW = 16  # channels
_FORMAT = 2  # of the file; 1 were the choices alone

Shape = tuple[int, int, int, int]


def choose(
    direction: str, image: Shape, output: Shape, window: Window, groups: int, dtype: np.dtype
) -> tuple[str, int]:
    """The algorithm, and for Winograd the side of its tiles, for an `image` and an `output` shape.

    `direction` is the kernel's name: "conv2d", "conv2d_dx" or "conv2d_dw".
    """
    if dtype != np.float32:
        return "im2col", 0
    if 0 in image + output:  # nothing to do, which direct does well
        return "direct", 0
    wish = forced.get()
    if wish is None and _remembered():
        wish = _remembered().get(_key(direction, image, output, window, groups))
    if wish is None:
        return by_rule(image, output, window, groups)
    if wish not in ("winograd", "winograd2"):
        return wish, 0
    if not winograd.fits(window, groups):
        return "direct", 0
    return "winograd", _tile(output, window) if wish == "winograd" else 2


def by_rule(image: Shape, output: Shape, window: Window, groups: int) -> tuple[str, int]:
    """The same for float32 by the rule alone, whatever was asked for or remembered."""
    plain = output[2] * output[3] * window.kernel[0] * window.kernel[1]
    few = min(image[1], output[1]) < FEW
    if not few and winograd.fits(window, groups):
        tile = _tile(output, window)
        if _products(output, window, tile) <= SAVED * plain:
            return "winograd", tile
    return "direct", 0


def remembered() -> dict[str, str]:
    """The algorithms that go before the rule, by a description of their layers."""
    return dict(_remembered())


def remember(
    direction: str, image: Shape, output: Shape, window: Window, groups: int, algorithm: str
) -> None:
    """Choose `algorithm` for this layer from now on, also in later runs on this machine.

    Raises:
        ValueError: if there is no such algorithm.
        OSError: if the choice cannot be kept.
    """
    if algorithm not in ALGORITHMS:
        raise ValueError(f"{algorithm!r} is none of {', '.join(ALGORITHMS)}")
    choices = _remembered() | {_key(direction, image, output, window, groups): algorithm}
    path = _file()
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}")
    content = {"format": _FORMAT, "choices": choices}
    unfinished.write_text(json.dumps(content, indent=1, sort_keys=True))
    unfinished.replace(path)
    _remembered.cache_clear()


def forget() -> None:
    """Go by the rule again."""
    _file().unlink(missing_ok=True)
    _remembered.cache_clear()


def _tile(output: Shape, window: Window) -> int:
    """The side of Winograd's tiles that leaves fewer products."""
    return min((4, 2), key=lambda m: _products(output, window, m))


def _products(output: Shape, window: Window, m: int) -> int:
    """Multiplications of F(m, r) for one image, a channel and a filter."""
    stride = window.stride[0]
    size = m - 1 + -(-window.kernel[0] // stride)
    return -(-output[2] // m) * -(-output[3] // m) * (size * stride) ** 2


def _key(direction: str, image: Shape, output: Shape, window: Window, groups: int) -> str:
    sizes = "x".join(map(str, image))
    unit = f"{LANES} lanes with AMX" if AMX else f"{LANES} lanes"
    return f"{direction} {sizes} to {output[1]} by {tuple(window)} in {groups}, {unit}"


def _file() -> Path:
    return cache_folder() / "choices.json"


@cache
def _remembered() -> dict[str, str]:
    try:
        found = json.loads(_file().read_text())
    except OSError:  # nothing there
        return {}
    except ValueError as error:
        raise ValueError(f"{_file()} is damaged ({error}); delete it") from error
    if not isinstance(found, dict):
        raise ValueError(f"{_file()} is damaged (it holds no choices); delete it")
    version = found.get("format", 1)
    if version not in (1, _FORMAT):
        raise ValueError(
            f"{_file()} is of format {version!r}, and this version of minigan reads formats up to "
            f"{_FORMAT}; delete it"
        )
    choices = found if version == 1 else found.get("choices")
    if not isinstance(choices, dict):
        raise ValueError(f"{_file()} is damaged (it holds no choices); delete it")
    return {key: value for key, value in choices.items() if value in ALGORITHMS}
