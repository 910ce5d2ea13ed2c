"""InfoGAN: what its codes tell, and that no label is seen."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from draw import normal
from PIL import Image
from tiny import Shell

from minigan import Tensor, grad, no_grad
from minigan.errors import UserError
from minigan.gans import _latent_codes as codes
from minigan.random import Generator
from minigan.testing import check_gradients
from minigan.viz.grid import CAPTION_HEIGHT


def rng() -> Generator:
    return Generator(0, "conditional")


# --- Codes -----------------------------------------------------------------------------------

ALL_CODES = [
    codes.Categorical(4), codes.Gaussian(), codes.Gaussian(None), codes.Uniform(0.5),
    codes.Uniform(None),
]  # fmt: skip


def channel() -> tuple[np.ndarray, np.ndarray, float]:
    """All 100 equally likely pairs of a code c of 5 values and what is seen of it, the logarithm
    of p(c|x) for each, and I(c; x).
    """
    seen = np.array(
        [
            [16, 2, 1, 1, 0],
            [0, 10, 0, 10, 0],
            [4, 4, 4, 4, 4],
            [0, 0, 20, 0, 0],
            [0, 10, 0, 0, 10],
        ]
    )  # how often each x follows each c
    c, x = (np.repeat(i.ravel(), seen.ravel()) for i in np.indices(seen.shape))
    joint = seen / seen.sum()
    independent = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    where = joint > 0
    information = (joint[where] * np.log(joint[where] / independent[where])).sum()
    with np.errstate(divide="ignore"):
        posterior = np.maximum(np.log(seen / seen.sum(axis=0)), -100).T  # (x, c)
    return np.eye(5, dtype=np.float32)[c], posterior[x].astype(np.float32), float(information)


def test_the_bound_is_the_information_where_q_is_the_posterior() -> None:
    c, posterior, information = channel()
    found = codes.information([codes.Categorical(5)], Tensor(posterior), c)
    assert 0.5 < information < math.log(5)
    assert found.item() == pytest.approx(information, abs=1e-5)


def test_the_bound_lies_below_the_information_where_q_is_another_distribution() -> None:
    c, posterior, information = channel()
    for seed in range(5):
        q = posterior + normal(*posterior.shape, seed=seed).astype(np.float32)
        assert codes.information([codes.Categorical(5)], Tensor(q), c).item() < information


def test_the_bound_of_a_code_that_is_read_without_error_is_its_entropy() -> None:
    code = codes.Categorical(10)
    c = code.sample(rng(), 50)
    assert codes.information([code], Tensor(50 * c), c).item() == pytest.approx(math.log(10))
    nothing = Tensor(np.zeros_like(c))
    assert codes.information([code], nothing, c).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("noise", [0.3, 2.0])
def test_the_bound_of_a_gaussian_code_is_the_information_of_its_channel(noise: float) -> None:
    """x = c + noise n has I(c; x) = ln(1 + 1 / noise^2) / 2, and a Gaussian posterior."""
    code = codes.Gaussian(None)
    c = code.sample(rng(), 100_000)
    x = c + np.float32(noise) * Generator(1, "conditional").normal(c.shape)
    variance = noise**2 / (1 + noise**2)
    q = np.concatenate([x / (1 + noise**2), np.full_like(x, 0.5 * math.log(variance))], axis=1)
    found = codes.information([code], Tensor(q), c).item()
    assert found == pytest.approx(0.5 * math.log(1 + 1 / noise**2), abs=0.01)


def test_a_fixed_deviation_of_one_bounds_the_bound() -> None:
    """So that L_I of a uniform code in InfoGAN's own setting is negative, and -0.23 is perfect."""
    code = codes.Uniform()
    c = code.sample(rng(), 100)
    found = codes.information([code], Tensor(c), c).item()
    assert found == pytest.approx(math.log(2) - 0.5 * math.log(2 * math.pi), abs=1e-6)


@pytest.mark.parametrize("code", ALL_CODES, ids=lambda code: type(code).__name__)
def test_q_is_a_distribution(code: codes.Code) -> None:
    """exp(log Q) sums or integrates to 1 over all values of the code."""
    q = normal(1, code.parameters).astype(np.float32)
    if isinstance(code, codes.Categorical):
        values, cell = code.sweep(0), 1.0
    else:
        values, cell = np.linspace(-30, 30, 60_001, dtype=np.float32)[:, None], 1e-3
    likelihood = code.log_likelihood(Tensor(q.repeat(len(values), axis=0)), values).numpy()
    assert np.exp(likelihood.astype(np.float64)).sum() * cell == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("code", ALL_CODES, ids=lambda code: type(code).__name__)
def test_a_code_is_read_where_its_likelihood_is_greatest(code: codes.Code) -> None:
    c = code.sample(rng(), 6)
    assert c.shape == (6, code.width)
    assert c.dtype == np.float32
    q = np.zeros((6, code.parameters), np.float32)
    q[:, : code.width] = c
    value = c.argmax(axis=1) if isinstance(code, codes.Categorical) else c[:, 0]
    np.testing.assert_array_equal(code.read(q), value)
    here = code.log_likelihood(Tensor(q), c).numpy()
    away = code.log_likelihood(Tensor(q), code.sample(rng(), 7)[1:]).numpy()
    assert (here >= away).all()


def test_codes_are_drawn_from_their_priors() -> None:
    drawn = codes.Categorical(4).sample(rng(), 4000)
    np.testing.assert_array_equal(drawn.sum(axis=1), 1)
    np.testing.assert_allclose(drawn.mean(axis=0), 0.25, atol=0.03)
    flat = codes.Uniform().sample(rng(), 4000)
    assert -1 <= flat.min() < -0.99
    assert 0.99 < flat.max() < 1
    assert codes.Gaussian().sample(rng(), 4000).std() == pytest.approx(1, abs=0.05)


def test_gradients_of_the_bound() -> None:
    some = [codes.Categorical(3), codes.Uniform(0.5), codes.Gaussian(None)]
    c = np.concatenate([code.sample(rng(), 4) for code in some], axis=1).astype(np.float64)
    q = normal(4, sum(code.parameters for code in some))
    for order in (1, 2):
        check_gradients(lambda q: codes.information(some, q, c), [q], order=order)


def test_a_sweep_changes_one_code_along_a_row_and_the_category_down_the_rows() -> None:
    some = [codes.Categorical(3), codes.Uniform(), codes.Gaussian()]
    c = np.concatenate([code.sample(rng(), 4) for code in some], axis=1)
    swept = codes.sweep(some, c, 1, steps=5).reshape(4, 5, 5)
    np.testing.assert_array_equal(swept[:, :, 3], np.tile(np.linspace(-2, 2, 5), (4, 1)))
    np.testing.assert_array_equal(swept[:, :, 4], c[:, 4:].repeat(5, axis=1))
    np.testing.assert_array_equal(swept[:, 0, :3].argmax(axis=1), [0, 1, 2, 0])
    across = codes.sweep(some, c, 0).reshape(4, 3, 5)  # a category has its own values
    np.testing.assert_array_equal(across[:, :, :3], np.tile(np.eye(3), (4, 1, 1)))
    np.testing.assert_array_equal(across[:, :, 3:], c[:, None, 3:].repeat(3, axis=1))


# --- InfoGAN ---------------------------------------------------------------------------------


def test_both_losses_hold_the_bound_with_its_weight() -> None:
    found = {}
    for weight in (0.0, 3.0):
        state = tiny.state("infogan", weight=weight)
        found[weight] = list(tiny.updates(state))
    (_, d_alone, _), (_, g_alone, _) = found[0.0]
    (first, d, extras), (second, g, _) = found[3.0]
    assert (first, second) == ("D", "G")
    bound = sum(value for key, value in extras.items() if key.startswith("L_I"))
    assert d.item() == pytest.approx(d_alone.item() - 3 * bound, abs=1e-4)
    # Nothing has been applied, so that G's fakes are read by the same Q.
    assert g.item() == pytest.approx(g_alone.item() - 3 * bound, abs=1e-4)


def test_every_update_of_q_and_of_g_can_raise_the_bound() -> None:
    """D's update moves Q's own layers, which nothing else in its loss can; G's moves G alone."""
    state = tiny.state("infogan")
    (_, d, _), (_, g, _) = tiny.updates(state)
    Q = {n: p for n, p in state.players["D"].parameters().items() if n.startswith("q.")}
    assert Q
    assert all(np.abs(slope.numpy()).max() > 0 for slope in grad(d, Q).values())
    mine = {id(p) for p in state.optimizers["D"].parameters.values()}
    assert mine >= {id(p) for p in Q.values()}
    its = {id(p) for p in state.optimizers["G"].parameters.values()}
    assert its == {id(p) for p in state.players["G"].parameters().values()}
    assert all(
        np.abs(s.numpy()).max() > 0 for s in grad(g, state.players["G"].parameters()).values()
    )


def test_infogan_sees_no_label() -> None:
    labelled = tiny.images()
    bare = dataclasses.replace(labelled, y=None, classes=())
    rows = []
    for dataset in (labelled, bare):
        state = tiny.state("infogan", dataset)
        rows.append([state.advance() for _ in range(2)])
    assert rows[0] == rows[1]


@pytest.mark.parametrize(
    ("fields", "width", "parameters"),
    [
        ({}, 12, 12),
        ({"learn_std": True}, 12, 14),
        ({"categorical": 0, "gaussian": 1}, 3, 3),
        ({"categorical": 2, "values": 3, "uniform": 0}, 6, 6),
    ],
    ids=str,
)
def test_any_codes(fields: dict[str, Any], width: int, parameters: int) -> None:
    state = tiny.state("infogan", **fields)
    z = state.recipe.latent(rng(), 3)
    assert z.shape == (3, 5 + width)
    row = state.advance()
    assert all(math.isfinite(value) for value in row.values())
    x = next(state.batches)
    assert state.players["D"](Tensor(x))[1].shape == (4, parameters)
    read = state.ask(state.recipe.codes, x)
    assert read is not None
    assert read.shape == (4, len(state.recipe.specs))


def test_infogan_wants_a_code() -> None:
    with pytest.raises(UserError, match="--categorical"):
        tiny.recipe("infogan", categorical=0, uniform=0)
    with pytest.raises(UserError, match="--gaussian must be 0 or more"):
        tiny.recipe("infogan", gaussian=-1)


def test_codes_are_what_q_reads() -> None:
    state = tiny.state("infogan")
    x = next(state.batches)
    read = state.ask(state.recipe.codes, x)
    with no_grad(), state.players["D"].evaluating():
        q = state.players["D"](Tensor(x))[1].numpy()
    np.testing.assert_allclose(read, np.column_stack([q[:, :10].argmax(1), q[:, 10:]]), rtol=1e-5)


def test_a_sweep_from_the_command_line(runs: Any, shell: Shell, tmp_path: Path) -> None:
    run = runs("infogan", shell)
    for code in ("1", "2", "3"):
        out = tmp_path / f"{code}.png"
        shell.succeeds("sample", run, "--sweep", code, "--count", "20", "--out", out)
        with Image.open(out) as picture:
            height = picture.height - CAPTION_HEIGHT  # the values stand above the columns
            assert picture.width / height == pytest.approx(10 / 2, rel=0.05)
    shell.refuses("sample", run, "--sweep", "4", says=("no code 4", "1 to 3"))
    shell.refuses("sample", run, "--class", "1", says=("infogan", "--class"))
    shell.refuses("sample", run, "--sweep", "1", "--walk", "3", says=("--walk", "--sweep"))
