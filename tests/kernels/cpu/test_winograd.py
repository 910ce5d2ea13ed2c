"""Convolutions by every algorithm: on any layer, layout, batch and number of threads."""

from __future__ import annotations

import itertools
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import minigan_kernels as kernels
import numpy as np
import pytest
from calls import LAYOUTS, SETTINGS, laid
from hypothesis import given, settings
from hypothesis import strategies as st
from minigan_kernels.algorithms import ALGORITHMS
from minigan_kernels.checks import Pair, Window
from minigan_kernels.cpu import conv
from minigan_kernels.cpu.activation import apply_epilogue
from minigan_kernels.cpu.conv import winograd
from minigan_kernels.cpu.conv.select import choose
from minigan_kernels.cpu.conv.winograd import blocking
from minigan_kernels.cpu.conv.winograd.toom_cook import scheme, transposed
from minigan_kernels.cpu.runtime.allocator import is_channels_last
from minigan_kernels.cpu.runtime.parallel import use_threads
from minigan_kernels.epilogue import LINEAR, Epilogue
from spoilt import spoil_memory

Shape = tuple[int, int, int, int]
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]

PHASED = [(2, 1), (3, 1), (3, 2), (4, 2), (5, 2), (6, 2)]  # kernel and stride of Winograd's layers
EPS = float(np.finfo(np.float32).eps)
DIRECTIONS = ("conv2d", "conv2d_dx", "conv2d_dw")


class Layer(NamedTuple):
    """Shapes of a convolution."""

    image: Shape
    filters: int
    window: Window

    @property
    def weight(self) -> Shape:
        return self.filters, self.image[1], *self.window.kernel

    @property
    def output(self) -> Shape:
        return self.image[0], self.filters, *self.window.output(self.image[2:])

    def arrays(self, *layouts: str, seed: int = 0) -> Arrays:
        """x, w and an output gradient g, standard normal; channels last if nothing is said."""
        rng = np.random.default_rng(seed)
        shapes = (self.image, self.weight, self.output)
        x, w, g = (
            laid(rng.standard_normal(shape, np.float32), layout)
            for shape, layout in zip(shapes, layouts or ("channels last",) * 3, strict=True)
        )
        return x, w, g

    def terms(self) -> list[int]:
        """How many products an output, a pixel's gradient and a tap's gradient sum at most."""
        (n, channels, _, _), (_, filters, *size), window = self.image, self.output, self.window
        taps = math.prod(window.kernel)
        seen = math.prod(-(-k // s) for k, s in zip(window.kernel, window.stride, strict=True))
        return [channels * taps, filters * seen, n * math.prod(size)]


def square(
    n: int, channels: int, filters: int, size: Pair, kernel: int, stride: int, padding: int
) -> Layer:
    window = Window((kernel, kernel), (stride, stride), (padding, padding))
    return Layer((n, channels, *size), filters, window)


# With tiles that are not full, and channels that no vector divides. Where an image has few tiles,
# transformed weights are not kept.
LAYERS = {
    "2x2": square(5, 33, 20, (9, 14), 2, 1, 1),
    "3x3, few tiles": square(1, 70, 65, (5, 6), 3, 1, 1),
    "3x3": square(3, 20, 65, (19, 5), 3, 1, 1),
    "3x3, many tiles": square(10, 17, 33, (13, 14), 3, 1, 1),
    "4x4 stride 2": square(5, 17, 40, (11, 22), 4, 2, 0),  # no window sees the last row
    "4x4 stride 2, many tiles": square(9, 48, 33, (24, 26), 4, 2, 1),
    "5x5 stride 2": square(4, 40, 17, (9, 23), 5, 2, 2),
}
FULL = square(6, 32, 48, (26, 34), 4, 2, 1)  # many tiles, and channels that need no filling up
EVERY_LAYER = pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
BOTH_TILES = pytest.mark.parametrize("algorithm", ["winograd", "winograd2"])


def results(layer: Layer, arrays: Arrays) -> list[np.ndarray]:
    """What the kernels of the three directions return."""
    x, w, g = arrays
    options = layer.window._asdict()
    del options["kernel"]
    return [
        kernels.conv2d(x, w, **options),
        kernels.conv2d_dx(g, w, shape=layer.image, **options),
        kernels.conv2d_dw(x, g, shape=layer.weight, **options),
    ]


def by(algorithm: str, layer: Layer, arrays: Arrays) -> list[np.ndarray]:
    with kernels.use(algorithm):
        return results(layer, arrays)


def same_bytes(some: list[np.ndarray], others: list[np.ndarray]) -> None:
    for ours, expected, name in zip(some, others, DIRECTIONS, strict=True):
        np.testing.assert_array_equal(ours, expected, strict=True, err_msg=name)


def rms(array: np.ndarray) -> float:
    return math.sqrt(np.mean(np.square(array, dtype=np.float64)))


def loss(algorithm: str, layer: Layer) -> list[float]:
    """How much more of the rounding of products each direction leaves in its result than a plain
    sum of products does.

    A result of F(m, r) sums products, j of them a row of A times one of G g times one of B^T d.
    With independent values of unit size, product j and its error are as large as these rows are
    long. So along each axis the error's variance, against that of the result, has grown by the sum
    over j of |A_j|^2 |G_j|^2 |B_j|^2, over m r. (The directions are one trilinear form, so this is
    the mean over any one's results.) The second axis squares it, and the root is taken.
    """
    factors = []
    for direction in DIRECTIONS:
        with kernels.use(algorithm):
            name, m = choose(
                direction, layer.image, layer.output, layer.window, 1, np.dtype(np.float32)
            )
        if name != "winograd":
            factors.append(1.0)
            continue
        _, r, at, g, bt = scheme(m, -(-layer.window.kernel[0] // layer.window.stride[0]))
        a, f, b = (np.square(np.array(rows, float)).sum(1) for rows in (transposed(at), g, bt))
        factors.append(float((a * f * b).sum() / (m * r)))
    return factors


def check_twins(algorithm: str, layer: Layer, arrays: Arrays) -> None:
    """Against the reference in float64, within what rounding may do.

    A sum of n terms, one after the other, is rounded n times by about a fifth of eps of what it is
    by then: eps * sqrt(n) / 7 of the result in the end, or less where pieces are summed first. The
    size of a result is taken from the number of its terms, because a small example's may cancel.
    """
    copies = [a.copy() for a in arrays]
    ours = by(algorithm, layer, arrays)
    exact = by("reference", layer, tuple(a.astype(np.float64) for a in arrays))
    for array, copy in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(array, copy)
    factors = loss(algorithm, layer)
    checks = zip(DIRECTIONS, ours, exact, layer.terms(), factors, strict=True)
    for name, y, truth, terms, factor in checks:
        assert y.dtype == np.float32
        assert y.shape == truth.shape
        allowed = EPS * factor * (3 + math.sqrt(terms) / 5)
        assert rms(y - truth) <= allowed * math.sqrt(terms), name


@st.composite
def cases(draw: Callable[..., Any]) -> tuple[Layer, tuple[str, ...], int]:
    """A layer, how its arrays lie in memory, and a seed for them."""

    def pick(*choices: Any) -> Any:
        return draw(st.sampled_from(choices))

    def whole(low: int, high: int) -> int:
        return draw(st.integers(low, high))

    kernel, stride = ((k, k) for k in pick(*PHASED))
    if pick(True, False, False):
        kernel, stride = (whole(1, 6), whole(1, 6)), (whole(1, 3), whole(1, 3))
    padding = whole(0, 3), whole(0, 3)
    size = tuple(
        max(1, k - 2 * p) + pick(0, 0, 1, 2, 5, 8, 15, 26)
        for k, p in zip(kernel, padding, strict=True)
    )
    channels = (1, 2, 3, 5, 8, 16, 17, 31, 33, 70)
    found = Layer(
        (whole(1, 4), pick(*channels), *size), pick(*channels), Window(kernel, stride, padding)
    )
    return found, (pick(*LAYOUTS), pick(*LAYOUTS), pick(*LAYOUTS)), whole(0, 2**32)


@pytest.mark.parametrize("algorithm", ["cpu", *ALGORITHMS])
def test_every_algorithm_agrees_with_the_reference(algorithm: str) -> None:
    @settings(SETTINGS, max_examples=60)
    @given(cases())
    def check(case: tuple[Layer, tuple[str, ...], int]) -> None:
        layer, layouts, seed = case
        check_twins(algorithm, layer, layer.arrays(*layouts, seed=seed))

    check()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@EVERY_LAYER
def test_the_three_directions_are_adjoint(algorithm: str, layer: Layer) -> None:
    """<conv(x, w), g> = <x, dx(g, w)> = <w, dw(x, g)>."""
    x, w, g = layer.arrays()
    y, dx, dw = by(algorithm, layer, (x, w, g))
    products = [np.vdot(a.astype(np.float64), b) for a, b in ((y, g), (x, dx), (w, dw))]
    allowed = 8 * EPS * max(loss(algorithm, layer))
    # An error e of y moves <y, g> by at most |e| |g|, and so on; all three bounds are like this.
    longest = max(np.linalg.norm(a) * np.linalg.norm(b) for a, b in ((y, g), (x, dx), (w, dw)))
    assert np.ptp(products) <= allowed * longest


Limit = Callable[[str, int], None]


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> Iterator[Limit]:
    """Sets one of the limits of `blocking`."""

    def set_limit(name: str, size: int) -> None:
        monkeypatch.setattr(blocking, name, size)
        blocking.clear_plans()

    yield set_limit
    monkeypatch.undo()
    blocking.clear_plans()


@BOTH_TILES
@EVERY_LAYER
def test_how_the_work_is_cut_does_not_show(algorithm: str, layer: Layer, limit: Limit) -> None:
    arrays = layer.arrays()
    whole = by(algorithm, layer, arrays)
    for size in (1, 1 << 11):
        limit("TASK_ACCUMULATORS", size)
        limit("WEIGHT_TASK_ACCUMULATORS", size)
        same_bytes(by(algorithm, layer, arrays), whole)
    # Where the batch is cut, sums may be added up in another order.
    allowed = 8 * EPS * max(loss(algorithm, layer))
    tiles, slice_bytes = blocking.CHUNK_TILES, blocking.BATCH_SLICE_BYTES
    for cut in ((1, slice_bytes), (tiles, 1), (tiles, 1 << 20)):
        limit("CHUNK_TILES", cut[0])
        limit("BATCH_SLICE_BYTES", cut[1])
        parts = by(algorithm, layer, arrays)
        for part, expected, direction in zip(parts, whole, DIRECTIONS, strict=True):
            assert rms(part - expected) <= allowed * rms(expected), (cut, direction)


def test_a_batch_comes_in_slices_and_chunks(limit: Limit) -> None:
    """The cuts of the test above are cuts."""

    def cuts() -> tuple[int, int]:
        slices = blocking.batch_slices(FULL.image, FULL.output, FULL.window, 4)
        return len(slices), slices[0][1].chunks

    assert cuts()[0] == 1
    limit("CHUNK_TILES", 1)
    assert cuts() == (1, 6)
    limit("BATCH_SLICE_BYTES", 1)
    assert cuts() == (6, 1)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@EVERY_LAYER
def test_any_number_of_threads_gives_the_same_bytes(algorithm: str, layer: Layer) -> None:
    arrays = layer.arrays()
    found = []
    for count in (1, 2, 3):
        with use_threads(count):
            found.append(by(algorithm, layer, arrays))
    same_bytes(found[1], found[0])
    same_bytes(found[2], found[0])


@pytest.mark.parametrize("layouts", list(itertools.product(["plain", "channels last"], repeat=3)))
def test_results_are_channels_last_and_gradients_of_weights_lie_as_weights(
    layouts: tuple[str, str, str],
) -> None:
    with kernels.use("winograd"):
        y, dx, dw = results(FULL, FULL.arrays(*layouts))
    assert is_channels_last(y)
    assert is_channels_last(dx)
    assert dw.transpose(2, 3, 1, 0).flags.c_contiguous  # (kH, kW, I, O)


@BOTH_TILES
@EVERY_LAYER
def test_memory_that_held_anything_is_never_seen(
    algorithm: str, layer: Layer, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = layer.arrays()
    clean = by(algorithm, layer, arrays)
    spoil_memory(monkeypatch, winograd)
    same_bytes(by(algorithm, layer, arrays), clean)


@BOTH_TILES
@EVERY_LAYER
def test_zeros_give_zero(algorithm: str, layer: Layer) -> None:
    x, w, g = layer.arrays()
    nothing = [np.zeros_like(a) for a in (x, w, g)]
    for arrays in ((nothing[0], w, nothing[2]), (x, nothing[1], nothing[2])):
        for result in by(algorithm, layer, arrays):
            assert not result.any()


@pytest.mark.parametrize("value", [np.nan, np.inf])
@BOTH_TILES
@EVERY_LAYER
def test_nan_and_infinity_stay_in_their_image(algorithm: str, layer: Layer, value: float) -> None:
    x, w, g = layer.arrays()
    before = by(algorithm, layer, (x, w, g))
    spoilt = len(x) // 2
    x[spoilt, :, 3, 2] = g[spoilt, :, 1, 2] = value
    y, dx, _ = by(algorithm, layer, (x, w, g))
    others = np.arange(len(x)) != spoilt
    for found, expected in ((y, before[0]), (dx, before[1])):
        np.testing.assert_array_equal(found[others], expected[others])
        assert not np.isfinite(found[spoilt]).all()


EPILOGUES = {
    "linear": LINEAR,
    "ReLU": Epilogue("leaky_relu", 0.0),
    "leaky ReLU": Epilogue("leaky_relu", 0.2),
    "tanh": Epilogue("tanh"),
    "sigmoid": Epilogue("sigmoid"),
}


def check_epilogues(layer: Layer, arrays: Arrays) -> None:
    """Every epilogue gives the bytes of a pass of its own over the same sums."""
    x, w, g = arrays
    rng = np.random.default_rng(1)
    bias, image_bias = (rng.standard_normal(n, np.float32) for n in (layer.filters, x.shape[1]))
    bias[:3], image_bias[:3] = (-0.0, np.nan, -np.inf), (np.inf, -0.0, np.nan)
    options = layer.window._asdict()
    del options["kernel"]
    with np.errstate(all="ignore"):
        y, dx, _ = results(layer, arrays)
        for name, epilogue in EPILOGUES.items():
            found = [
                kernels.conv2d_activated(x, w, bias, epilogue=epilogue, **options),
                kernels.conv2d_dx_activated(
                    g, w, image_bias, shape=layer.image, epilogue=epilogue, **options
                ),
            ]
            expected = [
                apply_epilogue(y.copy("K"), bias, epilogue),
                apply_epilogue(dx.copy("K"), image_bias, epilogue),
            ]
            for ours, theirs, direction in zip(found, expected, DIRECTIONS, strict=False):
                assert ours.dtype == theirs.dtype == np.float32
                # Of a NaN plus a NaN either may be the result.
                both = [np.where(np.isnan(a), np.float32(np.nan), a) for a in (ours, theirs)]
                assert both[0].tobytes() == both[1].tobytes(), (name, direction)


@BOTH_TILES
@EVERY_LAYER
def test_a_fused_epilogue_gives_the_bytes_of_a_second_pass(algorithm: str, layer: Layer) -> None:
    with kernels.use(algorithm):
        check_epilogues(layer, layer.arrays())


@BOTH_TILES
@EVERY_LAYER
def test_a_fused_epilogue_treats_special_values_as_a_second_pass_does(
    algorithm: str, layer: Layer
) -> None:
    x, w, g = layer.arrays()
    for array in (x, g):
        array[0, :, 1, 1], array[-1, :, 3, 2] = np.nan, -np.inf
        array[0, :, 3:] = -0.0
    with kernels.use(algorithm):
        check_epilogues(layer, (x, w, g))


@BOTH_TILES
def test_the_epilogue_is_applied_once_however_the_work_is_cut(algorithm: str, limit: Limit) -> None:
    """Also where a batch comes in several slices, chunks and tasks."""
    layer = LAYERS["4x4 stride 2, many tiles"]
    for name in ("TASK_ACCUMULATORS", "CHUNK_TILES", "BATCH_SLICE_BYTES"):
        limit(name, 1)
        with kernels.use(algorithm):
            check_epilogues(layer, layer.arrays())


@pytest.mark.parametrize("epilogue", EPILOGUES.values(), ids=EPILOGUES)
def test_a_bias_of_another_length_is_refused(epilogue: Epilogue) -> None:
    x, w, g = FULL.arrays()
    with kernels.use("winograd"):
        with pytest.raises(ValueError, match=r"needs a bias \(48,\), not \(47,\)"):
            kernels.conv2d_activated(
                x, w, np.zeros(47, np.float32), stride=2, padding=1, epilogue=epilogue
            )
        with pytest.raises(ValueError, match=r"needs a bias \(32,\), not \(1,\)"):
            kernels.conv2d_dx_activated(
                g, w, np.zeros(1, np.float32), shape=x.shape, stride=2, padding=1, epilogue=epilogue
            )


def test_a_leaky_relu_takes_no_second_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[str] = []

    def counted(y: np.ndarray, bias: np.ndarray, epilogue: Epilogue) -> np.ndarray:
        passes.append(epilogue.activation)
        return apply_epilogue(y, bias, epilogue)

    monkeypatch.setattr(winograd, "apply_epilogue", counted)
    monkeypatch.setattr(conv, "apply_epilogue", counted)
    with kernels.use("winograd"):
        check_epilogues(FULL, FULL.arrays())
    assert passes == ["tanh", "tanh", "sigmoid", "sigmoid"]


@pytest.mark.parametrize("threads", [1, 2, 16, 64])
def test_tasks_are_as_many_as_threads_where_blocks_can_be_so_small(threads: int) -> None:
    for units, ordered in itertools.product([(1, 1), (3, 1), (16, 4), (7, 16)], [False, True]):
        rows, columns = blocking.task_blocks(units, (32, 32), 1 << 15, 2, threads, ordered=ordered)
        down, across = -(-units[0] // rows), -(-units[1] // columns)
        most = 2 * units[1] * (1 if ordered else units[0])
        assert 2 * across * (1 if ordered else down) >= min(most, threads)


def check_all() -> None:
    """All layers, directions and epilogues by both tiles, for whatever vectors were chosen."""
    for algorithm, found in itertools.product(("winograd", "winograd2"), LAYERS.values()):
        check_twins(algorithm, found, found.arrays())
        with kernels.use(algorithm):
            check_epilogues(found, found.arrays())


@pytest.mark.slow
@pytest.mark.parametrize(("lanes", "amx"), [(4, "0"), (8, "0"), (16, "0"), (16, "1")])
def test_vectors_of_any_width(lanes: int, amx: str, tmp_path: Path) -> None:
    """Also those that this CPU would not choose: its compiler splits what is too wide."""
    program = (
        "import test_winograd as t; from minigan_kernels.cpu.isa import amx, simd; "
        f"assert simd.LANES == {lanes} and amx.AMX <= {amx}; t.check_all()"
    )
    chosen = {"MINIGAN_LANES": str(lanes), "MINIGAN_AMX": amx, "NUMBA_CACHE_DIR": str(tmp_path)}
    subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parent,
        env=os.environ | chosen,
        timeout=600,
        check=True,
    )


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("MINIGAN_LANES", "5", "MINIGAN_LANES must be 4, 8 or 16, not 5"),
        ("MINIGAN_AMX", "off", "MINIGAN_AMX must be 0, 1 or emulate, not off"),
    ],
)
def test_a_choice_that_does_not_exist_is_refused(name: str, value: str, complaint: str) -> None:
    finished = subprocess.run(
        [sys.executable, "-c", "import minigan_kernels.cpu.isa.amx"],
        env=os.environ | {name: value},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert finished.returncode
    assert complaint in finished.stderr
