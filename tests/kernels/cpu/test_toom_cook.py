"""Winograd's matrices: exact identities, the choice of points, and the code written from them."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
from minigan_kernels.cpu.conv.winograd import codegen
from minigan_kernels.cpu.conv.winograd.toom_cook import POINTS, scheme

SCHEMES = pytest.mark.parametrize(("m", "r"), POINTS)

# Sets with zero in them that one would try, beside infinity: zero makes the transforms short.
CANDIDATES = {
    (2, 2): ["1 -1", "0 1", "0 2", "0 1/2"],
    (4, 2): ["1/2 -1/2 5/4 -5/4", "0 1 -1 2", "0 1 -1 1/2", "0 -1 1/2 2", "0 1 -1/2 2"],
    (2, 3): ["0 1 -1", "0 1 2", "0 1 -1/2", "0 1/2 -1/2", "0 1/2 -2"],
    (4, 3): [
        "0 1 -1 2 -2",
        "0 1 -1 1/2 -1/2",
        "0 1 -1 1/2 -2",
        "0 1/2 -1/2 3/2 -3/2",
        "0 3/4 -3/4 3/2 -3/2",
        "0 2/3 -2/3 3/2 -3/2",
    ],
}


def points(text: str) -> tuple[str, ...]:
    return tuple(text.split())


@pytest.mark.parametrize(
    ("m", "r", "chosen"),
    [
        *[(m, r, chosen) for (m, r), chosen in POINTS.items()],
        *[(m, r, points(text)) for (m, r), texts in CANDIDATES.items() for text in texts],
    ],
)
def test_the_products_add_up_to_the_filter(m: int, r: int, chosen: tuple[str, ...]) -> None:
    """y[i] = sum over l of g[l] d[i + l], exactly, for every g and d."""
    found = scheme(m, r, chosen)
    a = m + r - 1
    assert [np.shape(rows) for rows in found[2:]] == [(m, a), (a, r), (a, a)]
    for i in range(m):
        for l in range(r):
            for q in range(a):
                total = sum(found.at[i][j] * found.g[j][l] * found.bt[j][q] for j in range(a))
                assert total == (q == i + l)


@pytest.mark.parametrize("chosen", ["0 1 -1", "0 1 -1 2 -2", "0 1 2 2", "0 1/2 2/4 2"])
def test_too_few_too_many_or_equal_points_are_refused(chosen: str) -> None:
    with pytest.raises(ValueError, match=r"F\(4, 2\) needs 4 different points"):
        scheme(4, 2, points(chosen))


def emulated_error(m: int, r: int, chosen: tuple[str, ...]) -> float:
    """Error of float32 in the three directions, over that of the best possible: rms, relative.

    Tiles and channels as in a layer: 24 tiles, 64 channels, 16 filters.
    """
    _, _, at, g, bt = scheme(m, r, chosen)
    rng = np.random.default_rng(0)
    image = rng.standard_normal((24, 64, m + r - 1, m + r - 1), np.float32)
    taps = rng.standard_normal((64, 16, r, r), np.float32)
    gradient = rng.standard_normal((24, 16, m, m), np.float32)

    def directions(dtype: type) -> list[np.ndarray]:
        # float(): the nearest of each fraction, as in the generated code
        a, f, b = (np.array(rows, float).astype(dtype) for rows in (at, g, bt))

        def into(matrix: np.ndarray, grids: np.ndarray) -> np.ndarray:
            return (matrix @ grids.astype(dtype) @ matrix.T).transpose(2, 3, 0, 1)

        def out(matrix: np.ndarray, planes: np.ndarray) -> np.ndarray:
            return matrix @ planes.transpose(2, 3, 0, 1) @ matrix.T

        v, u, z = into(b, image), into(f, taps), into(a.T, gradient)
        return [
            out(a, v @ u),
            out(b.T, z @ u.transpose(0, 1, 3, 2)),
            out(f.T, v.transpose(0, 1, 3, 2) @ z),
        ]

    errors = [
        np.mean((ours - exact) ** 2) / np.mean(exact**2)
        for ours, exact in zip(directions(np.float32), directions(np.float64), strict=True)
    ]
    return float(np.sqrt(np.mean(errors)))


@SCHEMES
def test_the_points_lose_least(m: int, r: int) -> None:
    best = min(emulated_error(m, r, points(text)) for text in CANDIDATES[m, r])
    assert emulated_error(m, r, POINTS[m, r]) <= 1.1 * best


def test_the_classic_points_lose_more() -> None:
    assert emulated_error(4, 2, points("0 1 -1 2")) > 1.3 * emulated_error(4, 2, POINTS[4, 2])


def test_the_sources_that_are_printed_are_python_that_one_can_read() -> None:
    command = [sys.executable, "-W", "error", "-m", "minigan_kernels.cpu"]
    printed = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    sources = printed.stdout.rstrip("\n").split("\n\n")
    names = {source[4 : source.index("(")] for source in sources}
    assert len(names) == len(sources)
    assert {
        f"{part}_{m}_{r}" for part in ("image", "gradient", "output") for m, r in POINTS
    } < names
    for source in sources:
        compile(source, "generated", "exec")


def test_the_smallest_transform_reads_as_it_is_written() -> None:
    """B^T x B of F(2, 2) at 0, 1 and infinity: B^T = (1 -1 0; 0 1 0; 0 -1 1)."""
    bt = scheme(2, 2, ("0", "1")).bt
    assert bt == ((1, -1, 0), (0, 1, 0), (0, -1, 1))
    lines = codegen.transform("image", bt, "table", "planes").splitlines()
    assert lines[:11] == [
        "def image(x, x_step, y, y_plane, y_step, count):",
        "    for k in range(count):",
        "        x00 = load(x[0] + k * x_step)",
        "        x10 = load(x[3] + k * x_step)",
        "        x20 = load(x[6] + k * x_step)",
        "        t00 = x00 - x10",
        "        t10 = x10",
        "        t20 = x20 - x10",
        "        x01 = load(x[1] + k * x_step)",
        "        x11 = load(x[4] + k * x_step)",
        "        x21 = load(x[7] + k * x_step)",
    ]
    assert lines[-9:-6] == [
        "        store(y + 0 * y_plane + k * y_step, t00 - t01)",
        "        store(y + 1 * y_plane + k * y_step, t01)",
        "        store(y + 2 * y_plane + k * y_step, t02 - t01)",
    ]


def test_transforms_do_what_their_matrices_say() -> None:
    """The text itself, run by Python on plain numbers: fractions, signs, zeros and sums."""
    half = Fraction(1, 2)
    matrix = ((half, Fraction(-1), Fraction(0)), (Fraction(0), -half, Fraction(2)))
    grid = np.arange(1.0, 10.0).reshape(3, 3)
    written: dict[int, float] = {}
    names = {
        "load": lambda place: grid.flat[place] if place < 100 else 1000.0 * place,
        "store": written.__setitem__,
        "zeros": lambda: 0.0,
    }
    exec(codegen.transform("f", matrix, "planes", "table", add=True), names)
    names["f"](0, 1, 0, [100, 101, 102, 103], [0, 1, 2, 3], 0, 1)
    dense = np.array(matrix, float)
    expected = dense @ grid @ dense.T + 1000 * np.array([[100, 101], [102, 103]])
    np.testing.assert_array_equal(np.reshape([written[i] for i in range(4)], (2, 2)), expected)
