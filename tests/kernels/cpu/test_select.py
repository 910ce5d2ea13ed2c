"""Which algorithm a convolution gets: by the rule, by request, by what was remembered."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import minigan_kernels as kernels
import numpy as np
import pytest
from minigan_kernels import reference
from minigan_kernels.algorithms import ALGORITHMS, ChoicesError
from minigan_kernels.checks import Pair, Window
from minigan_kernels.cpu.conv import select

DIRECTIONS = ("conv2d", "conv2d_dx", "conv2d_dw")
Choice = tuple[str, int]


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where choices are kept: a folder of their own, in which there are none."""
    monkeypatch.setattr(select, "cache_folder", lambda: tmp_path / "kernels")
    select.cache_clear()
    yield tmp_path / "kernels" / "choices.json"
    select.cache_clear()


def choice(
    channels: Pair,
    size: Pair,
    kernel: Pair,
    stride: int = 1,
    padding: int = 0,
    *,
    dilation: int = 1,
    groups: int = 1,
    dtype: type = np.float32,
    batch: int = 64,
    direction: str = "conv2d",
) -> Choice:
    window = Window(kernel, (stride, stride), (padding, padding), (dilation, dilation))
    image = (batch, channels[0], *size)
    output = (batch, channels[1], *window.output(size))
    return select.choose(direction, image, output, window, groups, np.dtype(dtype))


BIG_TILES, SMALL_TILES, DIRECT = ("winograd", 4), ("winograd", 2), ("direct", 0)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        # The middle of a DCGAN
        (((64, 128), (32, 32), (4, 4), 2, 1), BIG_TILES),
        (((128, 256), (16, 16), (4, 4), 2, 1), BIG_TILES),
        (((256, 512), (8, 8), (4, 4), 2, 1), BIG_TILES),
        # Its ends
        (((3, 64), (64, 64), (4, 4), 2, 1), DIRECT),
        (((1, 64), (32, 32), (4, 4), 2, 1), DIRECT),
        (((512, 1), (4, 4), (4, 4), 1, 0), DIRECT),
        (((512, 100), (4, 4), (4, 4), 1, 0), DIRECT),
        # Other kernels that Winograd knows
        (((64, 64), (32, 32), (3, 3), 1, 1), BIG_TILES),
        (((64, 64), (32, 32), (2, 2), 1, 0), BIG_TILES),
        (((64, 64), (32, 32), (3, 3), 2, 1), BIG_TILES),
        (((64, 64), (32, 32), (5, 5), 2, 2), BIG_TILES),
        (((64, 64), (32, 32), (6, 6), 2, 2), BIG_TILES),
        # Tiles of 4x4 would be empty for the most part
        (((64, 64), (2, 2), (3, 3), 1, 1), SMALL_TILES),
        (((64, 64), (12, 12), (4, 4), 2, 1), SMALL_TILES),
        (((64, 64), (1, 1), (3, 3), 1, 1), DIRECT),
        # One product a pair of channels: there is nothing to save
        (((64, 64), (32, 32), (1, 1), 1, 0), DIRECT),
        (((64, 64), (32, 32), (1, 1), 2, 0), DIRECT),
        # Kernels and strides that Winograd does not know
        (((64, 64), (32, 32), (5, 5), 1, 2), DIRECT),
        (((64, 64), (32, 32), (7, 7), 2, 3), DIRECT),
        (((64, 64), (32, 32), (4, 4), 4, 0), DIRECT),
        (((64, 64), (32, 32), (3, 4), 1, 0), DIRECT),
    ],
)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_rule(layer: tuple, expected: Choice, direction: str) -> None:
    assert choice(*layer, direction=direction) == expected
    assert choice(*layer, direction=direction, batch=1) == expected


def test_the_rule_for_groups_dilation_and_float64() -> None:
    middle = ((64, 128), (32, 32), (4, 4), 2, 1)
    assert choice(*middle, groups=2) == DIRECT
    assert choice(*middle, dilation=2) == DIRECT
    assert choice(*middle, dtype=np.float64) == ("im2col", 0)
    assert choice(*middle, groups=2, dtype=np.float64) == ("im2col", 0)


def test_few_channels_on_either_side_are_done_directly() -> None:
    assert choice((select.FEW - 1, 64), (32, 32), (3, 3)) == DIRECT
    assert choice((64, select.FEW - 1), (32, 32), (3, 3)) == DIRECT
    assert choice((select.FEW, select.FEW), (32, 32), (3, 3)) == BIG_TILES


def test_a_request_goes_before_the_rule() -> None:
    middle, end, point = (
        ((64, 128), (32, 32), (4, 4), 2, 1),
        ((3, 64), (32, 32), (4, 4), 2, 1),
        ((64, 64), (32, 32), (1, 1)),
    )
    expected = {
        "im2col": [("im2col", 0)] * 3,
        "direct": [DIRECT] * 3,
        "winograd": [BIG_TILES, BIG_TILES, DIRECT],  # where it applies
        "winograd2": [SMALL_TILES, SMALL_TILES, DIRECT],
    }
    assert set(expected) == set(ALGORITHMS)
    for name, choices in expected.items():
        with kernels.use(name):
            assert [choice(*layer) for layer in (middle, end, point)] == choices
            assert choice(*middle, dtype=np.float64) == ("im2col", 0)


def test_requests_nest_and_end_with_their_block() -> None:
    layer = ((64, 64), (32, 32), (3, 3))
    with kernels.use("direct"):
        with kernels.use("winograd2"):
            assert choice(*layer) == SMALL_TILES
        assert choice(*layer) == DIRECT
        with kernels.use("cpu"):
            assert choice(*layer) == BIG_TILES
        with contextlib.suppress(ArithmeticError), kernels.use("im2col"):
            assert choice(*layer) == ("im2col", 0)
            raise ArithmeticError
        assert choice(*layer) == DIRECT
    assert choice(*layer) == BIG_TILES


def test_a_request_holds_in_its_thread_alone() -> None:
    found: list[Choice] = []
    with kernels.use("direct"):
        other = threading.Thread(target=lambda: found.append(choice((64, 64), (32, 32), (3, 3))))
        other.start()
        other.join()
    assert found == [BIG_TILES]


def test_the_reference_and_the_algorithms_take_turns() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 16, 9, 9)), rng.standard_normal((16, 16, 3, 3))
    x, w = x.astype(np.float32), w.astype(np.float32)
    plain = reference.conv.conv2d(x, w)
    with kernels.use("winograd"):
        fast = kernels.conv2d(x, w)
        with kernels.use("reference"):
            np.testing.assert_array_equal(kernels.conv2d(x, w), plain)
        np.testing.assert_array_equal(kernels.conv2d(x, w), fast)
    with kernels.use("reference"):
        np.testing.assert_array_equal(kernels.conv2d(x, w), plain)
        with kernels.use("winograd"):
            np.testing.assert_array_equal(kernels.conv2d(x, w), fast)
    assert (fast != plain).any()  # or nothing was compared


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'fft'") as refusal, kernels.use("fft"):
        pass
    for name in ("reference", "cpu", *ALGORITHMS):
        assert repr(name) in str(refusal.value)


WINDOW = Window((3, 3), padding=(1, 1))
LAYER = ((64, 64, 32, 32), (64, 64, 32, 32), WINDOW, 1)


def chosen(direction: str = "conv2d", batch: int = 64) -> Choice:
    return choice((64, 64), (32, 32), (3, 3), padding=1, batch=batch, direction=direction)


def test_what_was_measured_goes_before_the_rule_for_that_layer_alone(file: Path) -> None:
    select.remember("conv2d", *LAYER, "direct")
    select.remember("conv2d_dw", *LAYER, "winograd2")
    for _ in range(2):
        assert chosen() == DIRECT
        assert chosen("conv2d_dw") == SMALL_TILES
        assert chosen("conv2d_dx") == BIG_TILES
        assert chosen(batch=32) == BIG_TILES
        assert choice((64, 64), (32, 32), (3, 3), padding=1, dtype=np.float64) == ("im2col", 0)
        select.cache_clear()  # as a later run begins
    with kernels.use("im2col"):
        assert chosen() == ("im2col", 0)
    kept = json.loads(file.read_text())
    assert kept["format"] == 2
    assert sorted(kept["choices"].values()) == ["direct", "winograd2"]
    assert list(file.parent.iterdir()) == [file]  # nothing unfinished


def test_choices_that_cannot_be_kept_leave_those_of_before(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    select.remember("conv2d", *LAYER, "direct")
    before = file.read_bytes()

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        select.remember("conv2d_dw", *LAYER, "winograd2")
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


def test_a_later_measurement_replaces_the_earlier_and_forgetting_goes_by_the_rule(
    file: Path,
) -> None:
    select.remember("conv2d", *LAYER, "direct")
    select.remember("conv2d", *LAYER, "im2col")
    assert chosen() == ("im2col", 0)
    select.forget()
    assert chosen() == BIG_TILES
    assert not file.exists()
    select.forget()  # nothing to forget


@pytest.mark.parametrize("variable", ["XDG_CACHE_HOME", "NUMBA_CACHE_DIR"])
def test_choices_lie_beside_the_compiled_kernels_for_later_runs(
    variable: str, tmp_path: Path
) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"}

    names = "import test_select as t"

    def run(*calls: str) -> list[str]:
        return subprocess.run(
            [sys.executable, "-c", f"{names}; print({', '.join(calls)}, sep='\\n')"],
            cwd=Path(__file__).parent,
            env=environment | {variable: str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        ).stdout.splitlines()

    (folder, _) = run("t.select.cache_folder()", "t.select.remember('conv2d', *t.LAYER, 'direct')")
    assert list(tmp_path.rglob("*.*")) == [Path(folder) / "choices.json"]
    later = run("t.chosen()", "t.select.forget()", "t.chosen()")
    assert later == [str(DIRECT), "None", str(BIG_TILES)]


def test_what_is_remembered_where_winograd_does_not_apply_is_done_directly(file: Path) -> None:
    """Not by `remember`, which refuses it; but another version's Winograd may have done more."""
    layer = ((64, 64, 32, 32), (64, 64, 32, 32), Window((1, 1)), 1)
    with pytest.raises(ValueError, match=r"winograd does no conv2d with a \(1, 1\) kernel"):
        select.remember("conv2d", *layer, "winograd")
    select.remember("conv2d", *layer, "im2col")
    file.write_text(file.read_text().replace("im2col", "winograd"))
    select.cache_clear()
    assert choice((64, 64), (32, 32), (1, 1)) == DIRECT


@pytest.mark.parametrize(
    "damage", ["{", "", "[1, 2]", '"direct"', "null", "\xff\xfe", '{"format": 2}']
)
def test_a_damaged_file_is_named_with_the_way_out(damage: str, file: Path) -> None:
    file.parent.mkdir()
    file.write_text(damage, "latin-1")
    for call in (chosen, lambda: select.remember("conv2d", *LAYER, "direct")):
        with pytest.raises(ValueError, match=r"choices\.json is damaged .*; delete it$"):
            call()
    select.forget()
    assert chosen() == BIG_TILES


def test_a_choice_that_this_version_does_not_know_is_passed_over(file: Path) -> None:
    select.remember("conv2d", *LAYER, "direct")
    file.write_text(file.read_text().replace("direct", "fft"))
    select.cache_clear()
    assert chosen() == BIG_TILES


def test_choices_of_before_the_file_named_its_format_hold_and_are_written_anew(file: Path) -> None:
    select.remember("conv2d", *LAYER, "direct")
    file.write_text(json.dumps(json.loads(file.read_text())["choices"]))
    select._remembered.cache_clear()
    assert chosen() == DIRECT
    select.remember("conv2d_dw", *LAYER, "winograd2")
    select._remembered.cache_clear()
    assert json.loads(file.read_text())["format"] == 2
    assert (chosen(), chosen("conv2d_dw")) == (DIRECT, SMALL_TILES)


def test_choices_of_a_later_format_are_refused_and_stay(file: Path) -> None:
    select.remember("conv2d", *LAYER, "direct")
    later = file.read_text().replace('"format": 2', '"format": 3')
    file.write_text(later)
    select._remembered.cache_clear()
    for call in (chosen, lambda: select.remember("conv2d", *LAYER, "im2col")):
        with pytest.raises(ValueError, match=r"choices\.json is of format 3, .*; delete it$"):
            call()
    assert file.read_text() == later


HOSTILE = {
    "empty": "",
    "nested": "[" * 100_000,
    "nested object": '{"a":' * 50_000,
    "no dict": '"direct"',
    "NaN": "NaN",
    "format NaN": '{"format": NaN, "choices": {}}',
    "format true": '{"format": true, "choices": {}}',
    "format huge": '{"format": 1e999, "choices": {}}',
    "format of digits": '{"format": ' + "9" * 5000 + "}",
    "format list": '{"format": [2], "choices": {}}',
    "choices null": '{"format": 2, "choices": null}',
    "choices list": '{"format": 2, "choices": ["direct"]}',
    "choice NaN": '{"format": 2, "choices": {"a": NaN}}',
    "choice list": '{"format": 2, "choices": {"a": ["direct"]}}',
    "choice dict": '{"format": 2, "choices": {"a": {}}}',
    "choice number": '{"a": 3}',
    "cut": '{"format": 2, "choices": {"a": "dir',
    "zeros": "\0" * 4096,
    "huge": '{"format": 2, "choices": {"a": "' + "x" * (1 << 22) + '"}}',
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_file_of_choices_is_named_with_the_way_out(content: str, file: Path) -> None:
    file.parent.mkdir()
    file.write_text(content)
    for call in (chosen, kernels.choices, lambda: select.remember("conv2d", *LAYER, "direct")):
        with pytest.raises(ChoicesError, match=r"choices\.json is .*; delete it$") as refusal:
            call()
        assert len(str(refusal.value)) < 400
    select.forget()
    assert chosen() == BIG_TILES


def test_a_folder_in_place_of_the_choices_is_named(file: Path) -> None:
    file.mkdir(parents=True)
    with pytest.raises(ChoicesError, match=r"cannot be read .*choices\.json"):
        chosen()


def test_choices_are_on_the_disk_before_they_take_the_place_of_others(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append("file" if not file.exists() else "folder")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    select.remember("conv2d", *LAYER, "direct")
    assert synced == ["file", "folder"]


@pytest.mark.parametrize(
    ("algorithm", "options", "message"),
    [
        ("winograd", {"dtype": np.float64}, "winograd does no {} in float64"),
        ("direct", {"dtype": np.float64}, "direct does no {} in float64"),
        ("winograd2", {"dilation": 2}, "winograd2 does no {} with a (3, 3) kernel"),
        ("winograd", {"groups": 2}, "winograd does no {} with a (3, 3) kernel"),
    ],
)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_an_algorithm_that_is_to_be_measured_leaves_nothing_to_another(
    direction: str, algorithm: str, options: dict, message: str
) -> None:
    dtype, options = (
        options.get("dtype", np.float32),
        {k: v for k, v in options.items() if k != "dtype"},
    )
    x = np.ones((1, 16, 12, 12), dtype)
    w = np.ones((16, 16 // options.get("groups", 1), 3, 3), dtype)
    g = kernels.conv2d(x, w, **options)
    calls = {
        "conv2d": lambda: kernels.conv2d(x, w, **options),
        "conv2d_dx": lambda: kernels.conv2d_dx(g, w, shape=x.shape, **options),
        "conv2d_dw": lambda: kernels.conv2d_dw(x, g, shape=w.shape, **options),
    }
    with kernels.use(algorithm):
        calls[direction]()  # a wish
    with (
        kernels.use(algorithm, strict=True),
        pytest.raises(ValueError, match=re.escape(message.format(direction))),
    ):
        calls[direction]()


def test_a_direction_that_there_is_not_is_not_remembered(file: Path) -> None:
    with pytest.raises(ValueError, match="'forward' is none of conv2d, conv2d_dx, conv2d_dw"):
        select.remember("forward", *LAYER, "direct")
    assert not file.exists()


def test_an_unknown_algorithm_is_not_remembered(file: Path) -> None:
    with pytest.raises(ValueError, match="'fft' is none of im2col, direct, winograd, winograd2"):
        select.remember("conv2d", *LAYER, "fft")
    assert not file.exists()


def planned(direction: str = "conv2d", wanted: str | None = None) -> Choice:
    shapes = (64, 64, 32, 32), (64, 64, 3, 3), None if direction == "conv2d" else (64, 64, 32, 32)
    float32 = np.dtype(np.float32)
    algorithm, p = select.plan(direction, *shapes, (1, 1, 1), 1, (float32, float32), wanted)
    assert p.output == (64, 64, 32, 32)
    return algorithm, p.tile


def test_a_plan_is_kept_until_another_choice_is_remembered() -> None:
    assert planned() == planned("conv2d_dx") == BIG_TILES
    assert planned(wanted="direct") == DIRECT
    select.remember("conv2d", *LAYER, "direct")
    assert planned() == DIRECT
    assert planned("conv2d_dx") == BIG_TILES
    select.forget()
    assert planned() == BIG_TILES


@pytest.mark.parametrize(
    "wrong", [{"stride": 1.0}, {"padding": (1, 1.0)}, {"dilation": (1.0, 1)}, {"stride": 1 + 0j}]
)
def test_what_equals_a_planned_argument_is_refused_nevertheless(wrong: dict) -> None:
    x, w = np.ones((1, 2, 5, 5), np.float32), np.ones((3, 2, 3, 3), np.float32)
    right = {"stride": 1, "padding": (1, 1), "dilation": (1, 1)}
    y = kernels.conv2d(x, w, **right)
    for _ in range(2):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be an integer"):
            kernels.conv2d(x, w, **(right | wrong))
    np.testing.assert_array_equal(kernels.conv2d(x, w, **(right | {"stride": [1, 1]})), y)
