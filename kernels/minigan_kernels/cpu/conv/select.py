"""Which algorithm does a convolution on the CPU: a rule over shapes, and what was measured.

The rule, for float32 (float64 is always done by im2col and BLAS):

1. Winograd, where it applies and needs at most SAVED of the multiplications of the direct sum. Its
   transforms cost as much as C + O, its GEMM as much as C O, so it needs at least FEW channels on
   both sides. Tiles have 4x4 or 2x2 outputs, whichever needs fewer multiplications: large tiles
   save more, but those at the lower and right border are partly empty.
2. Direct, for everything else.

What `remember` was told about a layer goes before the rule. It is kept on disk beside the compiled
kernels. Nothing measures by itself, or the same run could give other bits the second time. An
algorithm that somebody has registered (`minigan_kernels.register`) is remembered as the others are;
a process that does not register it goes by the rule.
"""

from __future__ import annotations

import json
from functools import cache, lru_cache
from pathlib import Path

import numpy as np

from ... import algorithms
from ...algorithms import ALGORITHMS, ChoicesError, forced
from ...checks import Pair, Window, check_conv, conv_window
from ...trust import UntrustedError
from ..compiler.disk_cache import cache_folder, make_folder, replace, trust
from ..isa.amx import AMX
from ..isa.simd import LANES
from . import winograd
from .problem import ConvProblem, Shape

SAVED = 0.75  # of the direct multiplications
FEW = 16  # channels
_FORMAT = 2  # of the file; 1 were the choices alone
_MOST_BYTES = 1 << 22  # of the file; a choice has some hundred
_UNIT = f"{LANES} lanes with AMX" if AMX else f"{LANES} lanes"


@lru_cache(1024)
def plan(
    direction: str,
    image: Shape,
    weight: Shape,
    gradient: Shape | None,
    steps: tuple[int | Pair, int | Pair, int | Pair],
    groups: int,
    dtypes: tuple[np.dtype, np.dtype],
    wanted: str | None,
    strict: bool = False,
) -> tuple[str, ConvProblem]:
    """Check the arguments of a convolution and choose its algorithm; memoized.

    `direction` is the kernel's name: "conv2d", "conv2d_dx" or "conv2d_dw". `steps` are stride,
    padding and dilation; `gradient` is the shape of an output gradient, if there is one; `dtypes`
    are the operands'. An algorithm that is `wanted` goes before all that `choose` considers. If it
    cannot do the convolution another one does, or with `strict` none.

    Raises:
        ValueError: naming what does not fit.
    """
    window = conv_window(weight, *steps)
    output = check_conv(image, weight, gradient, window, groups)
    dtype = np.result_type(*dtypes)
    if strict and wanted is not None:
        check_does(wanted, direction, image, output, window, groups, dtype)
    algorithm, tile = _choose(direction, image, output, window, groups, dtype, wanted)
    return algorithm, ConvProblem(image, weight, output, window, groups, tile)


def choose(
    direction: str, image: Shape, output: Shape, window: Window, groups: int, dtype: np.dtype
) -> tuple[str, int]:
    """The algorithm, and for Winograd the side of its tiles, for an `image` and an `output` shape.

    `direction` is the kernel's name: "conv2d", "conv2d_dx" or "conv2d_dw".
    """
    return _choose(direction, image, output, window, groups, dtype, forced.get().algorithm)


def _choose(
    direction: str,
    image: Shape,
    output: Shape,
    window: Window,
    groups: int,
    dtype: np.dtype,
    wanted: str | None,
) -> tuple[str, int]:
    if dtype != np.float32:
        return "im2col", 0
    if 0 in image + output:  # nothing to do, which direct does well
        return "direct", 0
    if wanted is None and _remembered():
        wanted = _remembered().get(_key(direction, image, output, window, groups))
    if wanted not in ALGORITHMS:
        if wanted is not None and _takes(wanted, direction, image, output, window, groups):
            return wanted, 0
        return by_rule(image, output, window, groups)
    if wanted not in ("winograd", "winograd2"):
        return wanted, 0
    if not winograd.fits(window, groups):
        return "direct", 0
    return "winograd", _tile(output, window) if wanted == "winograd" else 2


def by_rule(image: Shape, output: Shape, window: Window, groups: int) -> tuple[str, int]:
    """The same for float32 by the rule alone, whatever is wanted or remembered."""
    directly = output[2] * output[3] * window.kernel[0] * window.kernel[1]
    few = min(image[1], output[1]) < FEW
    if not few and winograd.fits(window, groups):
        tile = _tile(output, window)
        if _multiplications(output, window, tile) <= SAVED * directly:
            return "winograd", tile
    return "direct", 0


def check_does(
    algorithm: str,
    direction: str,
    image: Shape,
    output: Shape,
    window: Window,
    groups: int,
    dtype: np.dtype,
) -> None:
    """Check that there is such an algorithm, and that it does such a layer in this direction
    itself, rather than leave it to another.

    Raises:
        ValueError: naming the algorithm, and what it lacks.
    """
    if algorithm not in algorithms.names():
        raise ValueError(f"{algorithm!r} is none of {', '.join(algorithms.names())}")
    if direction not in algorithms.KERNELS:
        raise ValueError(f"{direction!r} is none of {', '.join(algorithms.KERNELS)}")
    if algorithm != "im2col" and dtype != np.float32:
        raise ValueError(f"{algorithm} does no {direction} in {dtype}, which im2col alone does")
    if algorithm.startswith("winograd") and not winograd.fits(window, groups):
        raise ValueError(
            f"{algorithm} does no {direction} with a {window.kernel} kernel, stride "
            f"{window.stride}, dilation {window.dilation} and {groups} group(s); direct and im2col "
            "do any"
        )
    if algorithm in ALGORITHMS:
        return
    if not _takes(algorithm, direction, image, output, window, groups):
        raise ValueError(
            f"{algorithm} does no {direction} of {image} to {output} with {window} in {groups} "
            "group(s): it is registered for other layers or kernels"
        )


def _takes(
    name: str, direction: str, image: Shape, output: Shape, window: Window, groups: int
) -> bool:
    """Whether a registered algorithm does such a layer in this direction.

    Raises:
        RuntimeError: if it cannot say so.
    """
    entry = algorithms.registered.get(name, {}).get(direction)
    if entry is None:
        return False
    weight = (output[1], image[1] // groups, *window.kernel)
    layer = ConvProblem(image, weight, output, window, groups, 0)
    try:
        return bool(entry.takes(layer))
    except Exception as error:
        raise RuntimeError(f"takes of {name} cannot say whether it takes {layer}") from error


def cache_clear() -> None:
    """Plan again, and read what is remembered from disk again, as another process would."""
    _remembered.cache_clear()
    plan.cache_clear()


algorithms.changed.append(cache_clear)


def remembered() -> dict[str, str]:
    """The algorithms that go before the rule, by a description of their layers."""
    return dict(_remembered())


def tuned() -> dict[str, str]:
    """Of these the algorithms of this process's vectors: no other one changes its results."""
    return {key: value for key, value in _remembered().items() if key.endswith(f", {_UNIT}")}


def remember(
    direction: str, image: Shape, output: Shape, window: Window, groups: int, algorithm: str
) -> None:
    """Choose `algorithm` for this layer from now on, also in later runs on this machine.

    Raises:
        ValueError: if there is no such algorithm or direction, or it cannot do the layer.
        OSError: if the choice cannot be kept.
    """
    check_does(algorithm, direction, image, output, window, groups, np.dtype(np.float32))
    choices = _kept() | {_key(direction, image, output, window, groups): algorithm}
    path = _file()
    try:
        make_folder(path.parent)
    except UntrustedError as error:
        raise ChoicesError(str(error)) from error
    content = {"format": _FORMAT, "choices": choices}
    replace(path, json.dumps(content, indent=1, sort_keys=True).encode(), sync=True)
    cache_clear()


def forget() -> None:
    """Go by the rule again."""
    _file().unlink(missing_ok=True)
    cache_clear()


def _tile(output: Shape, window: Window) -> int:
    """The side of Winograd's tiles that needs fewer multiplications."""
    return min((4, 2), key=lambda m: _multiplications(output, window, m))


def _multiplications(output: Shape, window: Window, m: int) -> int:
    """Multiplications of F(m x m, r x r) for one image, a channel and a filter."""
    stride = window.stride[0]
    size = m - 1 + -(-window.kernel[0] // stride)
    return -(-output[2] // m) * -(-output[3] // m) * (size * stride) ** 2


def _key(direction: str, image: Shape, output: Shape, window: Window, groups: int) -> str:
    sizes = "x".join(map(str, image))
    return f"{direction} {sizes} to {output[1]} by {tuple(window)} in {groups}, {_UNIT}"


def _file() -> Path:
    return cache_folder() / "choices.json"


@cache
def _remembered() -> dict[str, str]:
    """Of the choices on the disk those whose algorithms there are in this process."""
    known = algorithms.names()
    return {key: value for key, value in _kept().items() if value in known}


def _kept() -> dict[str, str]:
    """All choices on the disk."""
    try:
        content = trust.read(_file(), _MOST_BYTES + 1)
    except FileNotFoundError:
        return {}
    except (OSError, UntrustedError) as error:
        raise ChoicesError(f"the algorithms that were tuned cannot be read ({error})") from error
    if len(content) > _MOST_BYTES:
        raise _damaged(f"it has more than {_MOST_BYTES} bytes")
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _damaged(str(error)) from error
    if not isinstance(found, dict):
        raise _damaged("it holds no choices")
    version = found.get("format", 1)
    if type(version) is not int or version not in (1, _FORMAT):
        raise ChoicesError(
            f"{_file()} is of format {version!r:.20}, and this version of minigan reads "
            f"formats up to {_FORMAT}; delete it"
        )
    choices = found if version == 1 else found.get("choices")
    if not isinstance(choices, dict):
        raise _damaged("it holds no choices")
    for key, value in choices.items():
        if not isinstance(value, str) and (key, version) != ("format", 1):
            raise _damaged(f"{key[:100]!r} names no algorithm")
    return {key: value for key, value in choices.items() if isinstance(value, str)}


def _damaged(why: str) -> ChoicesError:
    return ChoicesError(f"{_file()} is damaged ({why}); delete it")
