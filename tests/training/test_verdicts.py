"""What is said of a run that goes wrong: by observables, once, and never of a healthy one."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from strict import FakeGpu, strict_kernels
from tiny import Shell

from minigan import gans
from minigan.data import Dataset
from minigan.device import HOST, to_host
from minigan.errors import UserError
from minigan.gans._points import ImagesOrPoints
from minigan.training import checkpoint, verdicts
from minigan.training.graph_replay import CHECKED
from minigan.training.observables import (
    Observer,
    auc,
    coarse,
    energy_distance,
    mean_distance,
    roughness,
)
from minigan.training.run import Run
from minigan.training.snapshots import record
from minigan.training.state import State

NUMBERS = st.floats(-8, 8, width=32)

# --- Observables ------------------------------------------------------------------------------


FEW = st.lists(st.integers(-3, 3), min_size=1, max_size=6)


@given(FEW, FEW)
def test_the_auc_counts_pairs(high: list[int], low: list[int]) -> None:
    pairs = [1.0 if a > b else 0.5 if a == b else 0.0 for a in high for b in low]
    found = auc(np.array(high, np.float32), np.array(low, np.float32))
    assert found == pytest.approx(np.mean(pairs))


@given(
    arrays(np.float32, st.tuples(st.integers(1, 4), st.just(3)), elements=NUMBERS),
    arrays(np.float32, st.tuples(st.integers(1, 4), st.just(3)), elements=NUMBERS),
)
def test_distances_are_those_of_plain_loops(x: np.ndarray, y: np.ndarray) -> None:
    def mean(values: list[float]) -> float:
        return sum(values) / max(1, len(values))

    def within(a: np.ndarray) -> float:
        n = range(len(a))
        return mean([float(np.linalg.norm(a[i] - a[j])) for i in n for j in n if i != j])

    across = mean([float(np.linalg.norm(a - b)) for a in x for b in y])
    assert mean_distance(x) == pytest.approx(within(x), abs=0.02)
    expected = 2 * across - within(x) - within(y)
    assert energy_distance(x, y, mean_distance(x)) == pytest.approx(expected, abs=0.05)


def test_a_distance_far_from_the_origin_is_exact() -> None:
    x = np.random.default_rng(0).standard_normal((20, 2)).astype(np.float32)
    assert mean_distance(x + 1000) == pytest.approx(mean_distance(x), rel=1e-3)


def test_a_coarse_image_is_its_means_over_squares() -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 9, 6)).astype(np.float32)
    small = coarse(x)
    assert small.shape == (2, 3, 2, 1)
    np.testing.assert_allclose(small[1, 2, 1, 0], x[1, 2, 4:8, :4].mean(), rtol=1e-5)
    assert coarse(x[:, :, :3]).shape == (2, 3, 3, 6)
    assert coarse(x[:, 0, 0]).shape == (2, 6)


def test_the_roughness_is_a_share_of_the_variation_within_images() -> None:
    x = np.random.default_rng(0).standard_normal((16, 1, 32, 32))
    assert roughness(x) == pytest.approx(1, abs=0.1)
    assert roughness(5 * x + 3) == pytest.approx(roughness(x))
    blocks = np.kron(x[:, :, ::8, ::8], np.ones((8, 8)))
    assert roughness(blocks) == pytest.approx(1 / 8, abs=0.03)
    assert roughness(np.ones((2, 1, 4, 4))) == roughness(np.ones((2, 1, 1, 1))) == 0
    assert roughness(x[:, 0, 0]) == 0


# --- Observers --------------------------------------------------------------------------------


def everything(state: State) -> dict[str, Any]:
    held = {name: array.tobytes() for name, array in state._arrays().items()}
    return {**held, "counters": repr(state.counters), "step": state.step}


@pytest.mark.parametrize("name", gans.names())
def test_looking_changes_no_byte(name: str) -> None:
    looked, alone = tiny.state(name), tiny.state(name)
    observer = Observer(looked)
    assert everything(looked) == everything(alone)
    for _ in range(2):
        rows = looked.advance(), alone.advance()
        assert rows[0] == rows[1]
        seen = observer.look(looked)
        assert everything(looked) == everything(alone)
    assert seen is not None
    assert seen.keys() >= {"distance", "spread", "roughness"}
    assert ("auc" in seen) == ("D" in looked.players)
    assert all(map(math.isfinite, seen.values()))
    assert seen == observer.look(looked)


@pytest.mark.parametrize("name", ["wgan", "cgan", "began", "glo"])
def test_on_a_gpu_the_same_is_seen_and_changes_nothing_in_a_replayed_run(name: str) -> None:
    with strict_kernels():
        looked, alone = (tiny.state(name, device=FakeGpu()) for _ in range(2))
        here, said = tiny.state(name), []
        observer = Observer(looked)
        for state in (looked, alone):
            state.use_graphs(said.append)
        for _ in range(CHECKED + 2):
            assert looked.advance() == alone.advance() == here.advance()
            assert observer.look(looked) == pytest.approx(Observer(here).look(here))
        assert not said
        held = ({k: to_host(a).tobytes() for k, a in s._arrays().items()} for s in (looked, alone))
        assert next(held) == next(held)


def test_a_gpu_is_looked_at_less_often(tmp_path: Path) -> None:
    with strict_kernels():
        often = [
            verdicts.Watcher(
                tiny.state("gan", device=device), Run(tmp_path, {}), steps, print
            ).every
            for device in (HOST, FakeGpu())
            for steps in (100, 4000, 40000)
        ]
    assert often == [50, 100, 1000, 400, 400, 1000]


@pytest.mark.parametrize(
    "name", [n for n in gans.names() if issubclass(gans.load(n), ImagesOrPoints)]
)
def test_points_are_looked_at_too(name: str) -> None:
    state = tiny.state(name, tiny.points(2))
    seen = Observer(state).look(state)
    assert seen is not None
    assert seen.keys() == {"distance", "spread", "auc"}


def test_observables_tell_copies_of_the_data_from_one_image_and_from_noise() -> None:
    x = np.kron(np.random.default_rng(0).integers(0, 256, (64, 1, 4, 4)), np.ones((7, 7)))
    state = tiny.state("gan", Dataset("blocks", x.astype(np.uint8)))
    observer = Observer(state)
    noise = np.random.default_rng(1).uniform(-1, 1, observer.real.shape).astype(np.float32)
    one = observer.real[:1] + 0.05 * noise

    def seen(samples: np.ndarray) -> dict[str, float]:
        state.ask = lambda question, z: samples if z is observer.z else None  # type: ignore
        found = observer.look(state)
        assert found is not None
        return found

    assert seen(observer.real[::-1]) == pytest.approx(
        {"distance": 0, "spread": 1, "roughness": 1}, abs=0.05
    )
    assert seen(one)["spread"] < 0.05
    assert seen(one)["distance"] > 0.2
    assert seen(noise)["roughness"] > 5
    assert seen(noise)["distance"] > 0.2


def test_there_is_nothing_to_see_in_nan_or_in_equal_data() -> None:
    state = tiny.state("gan")
    observer = Observer(state)
    state.ask = lambda question, x: np.full_like(observer.real, np.nan)  # type: ignore
    assert observer.look(state) is None
    state.ask = lambda question, x: np.full_like(observer.real, 1e30)  # type: ignore
    assert observer.look(state) is None
    equal = tiny.state("gan", Dataset("grey", np.full((24, 1, 28, 28), 128, np.uint8)))
    assert Observer(equal).look(equal) is None


# --- Verdicts ---------------------------------------------------------------------------------

FIELDS = {"lr_d": 2e-4, "lr_g": 1e-3, "n_critic": 4}


def rows(count: int = 12, every: int = 50, **values: Any) -> list[dict[str, float]]:
    """Looks at a dead run; a value may be a function of the step."""
    values = {"distance": 0.5, "spread": 1.0, "auc": 1.0, "roughness": 1.0} | values
    steps = range(every, every * (count + 1), every)
    return [
        {"step": step}
        | {k: v(step) if callable(v) else v for k, v in values.items() if v is not None}
        for step in steps
    ]


def found(looks: list[dict[str, float]]) -> list[tuple[str, int, int]]:
    return [(verdict.name, verdict.step, verdict.since) for verdict in verdicts.verdicts(looks)]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, [("won", 400, 50)]),
        ({"distance": lambda step: 0.998 ** (step / 50)}, [("won", 400, 50)]),  # too slowly
        ({"distance": lambda step: 0.5 + step % 100 / 1000}, []),  # G moves, and may get there
        ({"spread": lambda step: 0.5 + step % 100 / 1000}, []),
        ({"distance": lambda step: 0.5 + step % 100 / 1000, "roughness": 4.0}, [("won", 400, 100)]),
        (
            {"distance": lambda step: 0.5 + step % 100 / 1000, "spread": 0.1},
            [("won", 400, 100), ("alike", 400, 100)],
        ),
        ({"distance": lambda step: 0.9 ** (step / 50)}, []),  # G gets better
        ({"distance": 0.05}, []),  # G is good
        ({"auc": 0.9}, []),
        ({"auc": None}, []),  # nobody knows
        ({"auc": lambda step: 1.0 if step % 250 else 0.9}, []),
        ({"auc": lambda step: 1.0 if step != 150 else 0.9}, [("won", 400, 200)]),
        ({"auc": None, "roughness": 4.0}, [("noise", 400, 50)]),
        ({"auc": 0.9, "roughness": 4.0}, [("noise", 400, 50)]),
        ({"roughness": 4.0}, [("won", 400, 50)]),  # one of them is enough
        ({"auc": None, "roughness": None}, []),
        ({"auc": 0.5, "spread": 0.1}, [("alike", 400, 50)]),
        ({"auc": 0.5, "spread": lambda step: step / 3000}, []),  # they grow apart
        ({"auc": 0.5, "spread": lambda step: 0.1 if step != 200 else 0.3}, [("alike", 450, 250)]),
        ({"auc": 0.5, "spread": lambda step: 1e-7 if step < 250 else 1e-5}, [("alike", 400, 50)]),
        ({"auc": 0.5, "spread": lambda step: 0.1 if step < 250 else 0.115}, [("alike", 400, 50)]),
        ({"auc": 0.5, "spread": lambda step: 0.1 if step < 250 else 0.13}, []),
        ({"auc": 0.5, "spread": 0.1, "distance": lambda step: 0.9 ** (step / 50)}, []),
        ({"spread": 0.1}, [("won", 400, 50), ("alike", 400, 50)]),
    ],
)
def test_a_verdict_needs_all_its_evidence(values: dict[str, Any], expected: list[Any]) -> None:
    assert found(rows(**values)) == expected


def test_the_later_a_run_gets_no_better_the_longer_that_must_last() -> None:
    looks = rows(40, distance=lambda step: 1 - step / 2500 if step <= 1000 else 0.8)
    assert found(looks) == [("won", 1500, 1000)]


def test_a_run_that_was_good_can_be_lost() -> None:
    looks = rows(20, distance=lambda s: 0.3 if s < 200 else 0.01 if s < 400 else 0.6)
    assert found(looks) == [("won", 600, 400)]
    (verdict,) = verdicts.verdicts(looks)
    assert (
        "no nearer to the data for 400 steps (distance 0.6, at step 200 0.01;"
        in verdict.sentence({})
    )
    assert found([row | {"auc": 0.6, "spread": 0.05} for row in looks]) == [("alike", 600, 400)]


def test_nothing_is_said_before_the_eighth_look() -> None:
    assert found(rows(every=1000)) == [("won", 8000, 1000)]
    assert found(rows(7, every=1000)) == []


def test_a_verdict_stays_that_of_its_step() -> None:
    """So that a resumed run says what an uninterrupted one says."""
    looks = rows(20, distance=lambda step: 0.5 if step < 600 else 0.01)
    assert [found(looks[:i]) for i in (7, 8, 20)] == [[], [("won", 400, 50)], [("won", 400, 50)]]


@pytest.mark.parametrize(
    ("values", "fields", "sentence"),
    [
        (
            {},
            FIELDS,
            "step 400: D has won: since step 50 it tells real from generated samples "
            "(AUC 1.00), and G's samples have come no nearer to the data for 350 steps (distance "
            "0.5, at step 50 0.5; of equal distributions 0). A new run may do better with "
            "--lr-d 5e-05 or --n-critic 2",
        ),
        (
            {"roughness": 12.0},
            {"lr": 1e-3, "k": 1},
            "step 400: D has won: since step 50 it tells real from generated samples "
            "(AUC 1.00), and G's samples have come no nearer to the data for 350 steps (distance "
            "0.5, at step 50 0.5; of equal distributions 0) and are noise: 12 times as "
            "much of their variation as in the data is from pixel to pixel. A new run may do "
            "better with --lr 0.00025",
        ),
        (
            {"auc": None, "roughness": 12.0},
            {},
            "step 400: G makes noise: G's samples have come no nearer to the data for 350 steps "
            "(distance 0.5, at step 50 0.5; of equal distributions 0), and 12 times as much of "
            "their variation as in the data is from pixel to pixel. Other "
            "hyper-parameters may help",
        ),
        (
            {"auc": 0.5, "spread": 0.07},
            FIELDS,
            "step 400: G makes one sample: since step 50 any two of its samples differ by 7% of "
            "what two real ones do. A new run may do better with --lr-g 0.00025 or --lr-d 5e-05",
        ),
        (
            {"auc": 0.5, "spread": 0.07, "roughness": lambda step: 1.0 if step < 250 else 5.0},
            {},
            "step 400: G makes one sample: since step 50 any two of its samples differ, apart from "
            "noise, by 7% of what two real ones do. Other hyper-parameters may help",
        ),
    ],
)
def test_a_verdict_is_a_sentence_with_its_evidence_and_a_way_out(
    values: dict[str, Any], fields: dict[str, Any], sentence: str
) -> None:
    (verdict,) = verdicts.verdicts(rows(8, **values))
    assert verdict.sentence(fields) == sentence


# --- In a run ---------------------------------------------------------------------------------

WORDS = ["--data", "ring", "--hidden", "8", "--batch-size", "16"]


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """D has won any run of four steps, of which every second one is looked at."""
    for name, value in {"OFTENEST": 2, "PATIENCE": 2, "EARLY": 2, "BETTER": -9.0}.items():
        monkeypatch.setattr(verdicts, name, value)
    monkeypatch.setattr(verdicts, "TOLD", -1.0)
    monkeypatch.setattr(verdicts, "FAR", -9.0)


@pytest.mark.usefixtures("strict")
def test_a_run_says_it_once_and_a_resumed_one_not_again(shell: Shell, tmp_path: Path) -> None:
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    rhythm = ["--checkpoint-every", "3"]
    said = shell.succeeds("train", "gan", *WORDS, *rhythm, "--steps", "9", "--out", whole).err
    assert said.count("step 4: D has won: since step 2 it tells") == said.count("D has won") == 1
    assert [row["step"] for row in Run.open(whole).looks()] == [2, 4, 6, 8]
    page = (whole / "report.html").read_text()
    assert "Step 4: D has won: since step 2" in page
    assert page.index("What was seen to go wrong") < page.index("Generated samples")

    first = shell.succeeds("train", "gan", *WORDS, *rhythm, "--steps", "6", "--out", halves).err
    assert "D has won" in first
    more = shell.succeeds("train", "--resume", "--out", halves, "--more", "3").err
    assert "D has won" not in more
    one, other = ((run / "verdicts.jsonl").read_bytes() for run in (whole, halves))
    assert one == other
    Run.open(halves).rewind(3)  # as of a process that was killed after it
    assert [row["step"] for row in Run.open(halves).looks()] == [2]


def test_a_run_that_is_looked_at_has_the_bytes_of_one_that_is_not(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = []
    for often in (1, 100):
        monkeypatch.setattr(verdicts, "OFTENEST", often)
        run = Run(tmp_path / str(often), {})
        words = ["train", "wgan_gp", *WORDS, "--steps", "5", "--out", run.path]
        assert "D has won" not in shell.succeeds(*words).err
        assert run.looked.exists() == (often == 1)
        assert "go wrong" not in run.report.read_text()
        path = checkpoint.newest(run.checkpoints)
        assert path is not None
        ends.append(path.read_bytes())
    assert ends[0] == ends[1]


def test_a_run_without_looks_opens_as_before(shell: Shell, tmp_path: Path) -> None:
    shell.succeeds("train", "gan", *WORDS, "--steps", "2", "--out", tmp_path / "run")
    run = Run.open(tmp_path / "run")
    assert not run.looked.exists()
    assert run.looks() == []
    assert record(run).verdicts == []
    run.rewind(1)
    assert not run.looked.exists()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"step": 50, "spread": 1.0}\n', "line 1 .* distance is missing"),
        ('{"step": 50, "distance": "a", "spread": 1.0}\n', "line 1 .* distance is"),
        ('{"step": 50, "distance": 1.0, "spread": 1.0, "auc": []}\n', "line 1 .* auc is"),
        ('{"step": 50, "distance": 1.0, "spread": 1.0}\n' * 2, "line 2 .* step 50 comes after"),
    ],
)
def test_damaged_looks_are_refused(text: str, why: str, tmp_path: Path) -> None:
    run = Run(tmp_path, {})
    run.looked.write_text(text)
    with pytest.raises(UserError, match=why + ".*; remove the line"):
        run.looks()
    run.looked.write_text('{"step": 50, "distance": 1.0, "spread": 1.0}\n{"step": 1')
    assert [row["step"] for row in run.looks()] == [50]
