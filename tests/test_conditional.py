"""CGAN, InfoGAN and SGAN: what is asked for, what the codes tell, and which labels are seen."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from PIL import Image
from tiny import Shell

from minigan import Tensor, codes, gans, grad, losses, nn, no_grad
from minigan.data import Batches, Dataset
from minigan.data.stacked import stack
from minigan.errors import UserError
from minigan.feed import TensorFeed
from minigan.random import Generator
from minigan.testing import check_gradients
from minigan.train import State


def rng() -> Generator:
    return Generator(0, "conditional")


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


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


def updates(state: State, feed: Any = None) -> Iterator[tuple[str, Tensor, dict[str, float]]]:
    """The updates of one round, none of them applied."""
    feed = feed or TensorFeed(state.batches)
    for name, loss, extras in state.recipe.round(state.players, feed, state.rng, state.step):
        yield name, loss, {key: float(value) for key, value in extras.items()}


def test_both_losses_hold_the_bound_with_its_weight() -> None:
    found = {}
    for weight in (0.0, 3.0):
        state = tiny.state("infogan", weight=weight)
        found[weight] = list(updates(state))
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
    (_, d, _), (_, g, _) = updates(state)
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
        rows.append([state.round() for _ in range(2)])
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
    row = state.round()
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


# --- CGAN ------------------------------------------------------------------------------------


DENSE = {"dense": True, "width": 32, "hidden": 256}  # the last two are what --dense does without


def note(inputs: dict[nn.Module, int], module: nn.Module, given: tuple[Any, ...], _: Any) -> None:
    """Keep how many channels a module was given."""
    inputs[module] = given[0].shape[1]


def test_every_layer_sees_y() -> None:
    state = tiny.state("cgan")
    x = Tensor(next(state.batches))
    y = Tensor(state.recipe.vectors(np.zeros(4, np.int64)))
    for player, first in (("G", Tensor(normal(4, 5).astype(np.float32))), ("D", x)):
        network = state.players[player]
        assert isinstance(network, nn.Conditional)
        inputs: dict[nn.Module, int] = {}
        with nn.watching(functools.partial(note, inputs)), no_grad():
            network(first, y)
        assert len(network.blocks) == 4
        for block in network.blocks:
            layer = block[0] if isinstance(block, nn.Sequential) else block
            axis = 0 if isinstance(layer, nn.ConvTranspose2d) else 1
            assert layer.weight.shape[axis] == inputs[block]
        assert inputs[network.blocks[0]] == first.shape[1] + 10


def test_cgans_dense_networks_are_the_papers() -> None:
    state = tiny.state("cgan", **DENSE)
    G, D = state.players["G"], state.players["D"]
    sizes = [
        [layer.weight.shape for layer in network.modules().values() if isinstance(layer, nn.Linear)]
        for network in (G, D)
    ]
    assert sizes[0] == [(200, 5), (1000, 10), (1200, 1200), (784, 1200)]
    assert sizes[1] == [(240 * 5, 784), (50 * 5, 10), (240 * 4, 290), (1, 240)]
    assert state.recipe.output_range((1, 28, 28)) == (0.0, 1.0)
    assert all(math.isfinite(value) for value in state.round().values())


@pytest.mark.parametrize("name", ["width", "hidden", "lr_d", "lr_g", "beta1"])
def test_what_dense_networks_do_without_is_refused_beside_them(name: str) -> None:
    given = {"width": 16, "hidden": 16, "lr_d": 0.1, "lr_g": 0.1, "beta1": 0.1}[name]
    flag = name.replace("_", "-")
    with pytest.raises(UserError, match=f"--{flag} must be left out beside --dense, not {given}"):
        gans.load("cgan")(**{"dense": True, name: given})
    gans.load("cgan")(**{name: given})
    gans.load("cgan")(dense=True, batch_size=100, ema=0.0)


@pytest.mark.parametrize("dense", [False, True])
def test_samples_depend_on_z_and_on_y(dense: bool) -> None:
    state = tiny.state("cgan", **DENSE if dense else {})
    z = state.recipe.latent(rng(), 6)
    of_two, of_three = (state.recipe.with_labels(z, np.full(6, label)) for label in (2, 3))
    np.testing.assert_array_equal(of_two[:, :5], z[:, :5])
    np.testing.assert_array_equal(of_two[:, 5:], np.eye(10)[[2] * 6])
    a, b = state.samples(of_two), state.samples(of_three)
    assert np.abs(a - b).max() > 0
    assert np.abs(a[0] - a[1]).max() > 0


@pytest.mark.parametrize("dense", [False, True])
def test_several_labels_may_hold_at_once(dense: bool) -> None:
    fields = DENSE if dense else {}
    state = tiny.state("cgan", stack(tiny.images(), 2), classes=2, tags=2, **fields)
    before = {name: player.copy().state() for name, player in state.players.items()}
    state.round()
    for name, player in state.players.items():
        assert any((before[name][n] != p.data).any() for n, p in player.parameters().items())
    z = state.recipe.latent(rng(), 50)
    np.testing.assert_array_equal(z[:, 5:].reshape(50, 2, 2).sum(axis=2), 1)
    assert len(np.unique(z[:, 5:], axis=0)) == 4
    z = state.recipe.with_labels(z[:4], np.array([0, 1, 2, 3]))
    y = [[1, 0, 1, 0], [1, 0, 0, 1], [0, 1, 1, 0], [0, 1, 0, 1]]
    np.testing.assert_array_equal(z[:, 5:], y)
    z[:, :5] = z[0, :5]
    assert np.abs(np.diff(state.samples(z), axis=0)).max(axis=(1, 2, 3)).min() > 0


def test_gradients_through_both_networks_with_two_labels() -> None:
    state = tiny.state("cgan", tiny.images((1, 8, 8)), classes=3, width=2, hidden=3)
    G, D = (state.players[name].astype(np.float64) for name in ("G", "D"))
    for seed, p in enumerate([*G.parameters().values(), *D.parameters().values()]):
        p.data = p.data + 0.5 * normal(*p.shape, seed=seed)
    names, y = list(G.parameters()), np.array([[1, 1, 0], [0, 1, 1], [1, 0, 1.0]])

    def f(z: Tensor, *values: Tensor) -> Tensor:
        with G.replaced(dict(zip(names, values, strict=True))):
            return losses.non_saturating_loss(D(G(z, Tensor(y)), Tensor(y)))

    check_gradients(f, [normal(3, 5), *(p.data for p in G.parameters().values())], order=1)


def test_cgan_says_what_it_needs() -> None:
    with pytest.raises(UserError, match="labels"):
        gans.load("cgan").defaults((1, 28, 28), classes=0, samples=100)
    with pytest.raises(UserError, match="4 divides"):
        tiny.state("cgan", tiny.images((1, 30, 30)))
    with pytest.raises(UserError, match="--classes must be more than the label 1"):
        tiny.state("cgan", classes=1).round()
    with pytest.raises(UserError, match="--classes must be more than the label 3"):
        tiny.state("cgan", stack(tiny.images(), 2), classes=1, tags=2, batch_size=24).round()
    asked = {"classes": 1000, "samples": 100}
    assert gans.load("cgan").defaults((3, 28, 28), **asked, tags=3) == {"classes": 10, "tags": 3}
    assert gans.load("cgan").defaults((3, 28, 28), **asked) == {"classes": 1000, "tags": 1}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["cgan", "--classes", "20"], "10 classes, not those of --classes 20; leave it out"),
        (["cgan", "--tags", "2"], "10 classes, not those of --classes 10 and --tags 2, 100 in all"),
        (["cgan", "--stack", "2", "--classes", "5"], "100 classes, not those of --classes 5 and"),
        (["cgan", "--stack", "2", "--classes", "100"], "--tags 2, 10000 in all; leave both out"),
        (["sgan", "--classes", "5"], "10 classes, not those of --classes 5; leave it out"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_other_classes_than_the_datas_are_refused(
    shell: Shell, tmp_path: Path, words: list[str], says: str
) -> None:
    data = tiny.write_idx(tmp_path / "digits", count=24)
    run = tmp_path / "run"
    shell.refuses("train", *words, "--data", data, "--batch-size", "4", "--out", run, says=(says,))
    assert not run.exists()


def test_a_tuple_of_classes_may_be_one_label(shell: Shell, tmp_path: Path) -> None:
    data = tiny.write_idx(tmp_path / "digits", count=24)
    words = ["--stack", "2", "--tags", "1", "--classes", "100", "--width", "4", "--hidden", "8"]
    words += ["--batch-size", "4", "--steps", "1"]
    shell.succeeds("train", "cgan", "--data", data, *words, "--out", tmp_path / "run")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Shell], Path]:
    """Runs of two rounds by recipe, each trained once."""
    folder = tmp_path_factory.mktemp("runs")

    def run(name: str, shell: Shell) -> Path:
        if not (folder / name).exists():
            data = tiny.write_idx(folder / "digits", count=24)
            flags = ["--hidden", "8", "--width", "4", "--latent-size", "5", "--batch-size", "4"]
            shell.succeeds(
                "train", name, *flags, "--data", data, "--steps", "2", "--out", folder / name
            )
        return folder / name

    return run


def test_samples_of_one_class(runs: Any, shell: Shell, tmp_path: Path) -> None:
    run = runs("cgan", shell)
    files = [tmp_path / f"{i}.png" for i in range(3)]
    for file, words in zip(files, (["--class", "7"], ["--class", "8"], []), strict=True):
        shell.succeeds("sample", run, "--count", "4", "--out", file, *words)
    assert len({file.read_bytes() for file in files}) == 3
    shell.refuses("sample", run, "--class", "cat", says=("no class cat", "0, 1, 2"))
    shell.refuses("sample", run, "--class", "10", says=("no class 10",))
    shell.refuses("sample", run, "--sweep", "1", says=("cgan has no codes", "--sweep"))


def test_pictures_of_a_run_have_a_column_for_each_class(runs: Any, shell: Shell) -> None:
    with Image.open(runs("cgan", shell) / "samples" / "step-000002.png") as picture:
        assert picture.width / picture.height == pytest.approx(10 / 8, rel=0.02)


def test_a_sweep_from_the_command_line(runs: Any, shell: Shell, tmp_path: Path) -> None:
    run = runs("infogan", shell)
    for code in ("1", "2", "3"):
        out = tmp_path / f"{code}.png"
        shell.succeeds("sample", run, "--sweep", code, "--count", "20", "--out", out)
        with Image.open(out) as picture:
            assert picture.width / picture.height == pytest.approx(10 / 2, rel=0.05)
    shell.refuses("sample", run, "--sweep", "4", says=("no code 4", "1 to 3"))
    shell.refuses("sample", run, "--class", "1", says=("infogan", "--class"))
    shell.refuses("sample", run, "--sweep", "1", "--walk", "3", says=("--walk", "--sweep"))


# --- SGAN ------------------------------------------------------------------------------------


def batches(seed: int = 0, dataset: Dataset | None = None) -> Batches:
    return Batches(dataset or tiny.images(), 4, seed=seed, output_range=(0, 1))


def test_few_labels_are_balanced_and_the_same_at_every_call() -> None:
    data = batches()
    x, y = data.few(10)
    assert x.shape == (10, 1, 28, 28)
    np.testing.assert_array_equal(np.bincount(y), [5, 5])
    assert len({image.tobytes() for image in x}) == 10
    next(data)
    np.testing.assert_array_equal(data.few(10)[0], x)
    np.testing.assert_array_equal(batches().few(10)[0], x)
    assert (batches(seed=1).few(10)[0] != x).any()
    np.testing.assert_array_equal(np.bincount(data.few(11)[1]), [6, 5])
    assert data.position == 1  # asking moves nothing


@pytest.mark.parametrize("count", [1, 25, 100])
def test_few_labels_that_cannot_be_had(count: int) -> None:
    with pytest.raises(UserError, match=f"{count} labelled samples.*24 of noise"):
        batches().few(count)


def test_few_labels_of_data_without_any() -> None:
    bare = dataclasses.replace(tiny.images(), y=None, classes=())
    with pytest.raises(UserError, match="no labels"):
        batches(dataset=bare).few(10)


def test_sgan_sees_few_labels_and_no_other() -> None:
    data = tiny.images()
    assert data.y is not None
    rows = []
    for flip in (False, True):
        state = tiny.state("sgan", data)
        state.batches.few(10)
        seen = np.isin(np.arange(len(data)), state.batches._few[10])
        assert seen.sum() == 10
        y = np.where(seen, data.y, 1 - data.y) if flip else data.y
        state.batches.dataset = dataclasses.replace(data, y=y)
        rows.append([state.round() for _ in range(2)])
    assert rows[0] == rows[1]


@pytest.mark.parametrize("fake_class", [False, True])
def test_realness_is_the_share_of_the_classes(fake_class: bool) -> None:
    """Z / (Z + 1), or the softmax's share of all but the last of K + 1 logits."""
    state = tiny.state("sgan", fake_class=fake_class)
    x = next(state.batches)
    with no_grad(), state.players["D"].evaluating():
        logits = state.players["D"](Tensor(x)).numpy().astype(np.float64)
    assert logits.shape == (4, 10 + fake_class)
    e = np.exp(logits)
    real = e[:, :10].sum(axis=1)
    false = e[:, 10] if fake_class else 1.0
    np.testing.assert_allclose(state.realness(x), real / (real + false), rtol=1e-5)
    read = state.ask(state.recipe.classify, x)
    assert read is not None
    assert read.shape == (4, 10)


def test_the_average_follows_d_and_answers() -> None:
    state = tiny.state("sgan", ema=0.15)
    slow, D = (state.players[name].parameters() for name in ("average", "D"))
    for decay in (0.1, 0.15, 0.15):  # first 1/10, then 2/11 and on, but not above ema
        before = {name: p.data.copy() for name, p in slow.items()}
        state.round()
        for name, p in slow.items():
            expected = decay * before[name] + (1 - decay) * D[name].data
            np.testing.assert_allclose(p.data, expected, rtol=1e-4, atol=1e-6)
    x = next(state.batches)
    with no_grad(), state.players["average"].evaluating():
        expected = state.players["average"](Tensor(x)).numpy()[:, :10]
    np.testing.assert_allclose(state.ask(state.recipe.classify, x), expected, rtol=1e-5)


@pytest.mark.parametrize("feature_matching", [False, True])
def test_what_g_minimises(feature_matching: bool) -> None:
    fields = {"feature_matching": feature_matching, "noise_input": 0.0, "noise_hidden": 0.0}
    state = tiny.state("sgan", **fields)
    real = Tensor(state.batches.at(0)[0])
    *_, (name, loss, _) = updates(state)
    again = tiny.state("sgan", **fields)
    with no_grad():  # the same draws: z for D, then z for G
        again.rng.integers(4, 10)
        again.recipe.latent(again.rng, 4)
        G, D = again.players["G"], again.players["D"]
        fake = G(Tensor(again.recipe.latent(again.rng, 4)))
        apart = D.features(fake).numpy().mean(axis=0) - D.features(real).numpy().mean(axis=0)
        logits = D(fake).numpy().astype(np.float64)
    expected = (apart**2).mean()
    if not feature_matching:  # -log Z / (Z + 1)
        expected = np.log1p(1 / np.exp(logits).sum(axis=1)).mean()
    assert name == "G"
    assert loss.item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("fields", "says"),
    [({"ema": 1.0}, "--ema"), ({"noise_hidden": -1.0}, "--noise-hidden must be 0 or more")],
)
def test_what_sgan_cannot_be_told(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        tiny.recipe("sgan", **fields)


def test_a_variant_of_sgan_is_another_computation() -> None:
    plain = tiny.state("sgan").round()
    for fields in ({"fake_class": True}, {"feature_matching": False}, {"noise_input": 0.0}):
        assert tiny.state("sgan", **fields).round() != plain


# --- Its layers ------------------------------------------------------------------------------


def test_weight_norm_parts_length_and_direction() -> None:
    layer = nn.WeightNormLinear(5, 3, rng=rng())
    assert isinstance(layer.g, Tensor)
    layer.g.data[...] = [1, 2, 0.5]
    x = normal(4, 5).astype(np.float32)
    v = layer.v.data
    w = layer.g.data[:, None] * v / np.linalg.norm(v, axis=1, keepdims=True)
    np.testing.assert_allclose(layer(Tensor(x)).numpy(), x @ w.T, rtol=1e-4, atol=1e-6)
    layer.v = Tensor(3 * v)  # the length of v says nothing
    np.testing.assert_allclose(layer(Tensor(x)).numpy(), x @ w.T, rtol=1e-4, atol=1e-6)


def test_sgan_starts_with_standardised_layers() -> None:
    """Before each activation, mean 0 and variance 1 over the data (Salimans & Kingma 2016)."""
    state = tiny.state("sgan", noise_input=0.0, noise_hidden=0.0)
    x = np.concatenate([state.batches.at(i)[0] for i in range(6)])
    found: list[np.ndarray] = []

    def watch(module: nn.Module, given: tuple[Any, ...], output: Tensor) -> None:
        if isinstance(module, nn.WeightNormLinear):
            w = module.v.data / np.linalg.norm(module.v.data, axis=1, keepdims=True)
            g = module.g.data if isinstance(module.g, Tensor) else module.g
            found.append(given[0].data @ w.T * g + module.bias.data)

    with nn.watching(watch), no_grad():
        state.players["D"](Tensor(x))
    assert [y.shape[1] for y in found] == [1000, 500, 250, 250, 250, 10]
    for y in found:
        np.testing.assert_allclose(y.mean(axis=0), 0, atol=0.03)
        np.testing.assert_allclose(y.std(axis=0), 1, atol=0.03)


def test_noise_is_added_in_training_alone() -> None:
    layer = nn.GaussianNoise(0.5, rng=rng())
    x = Tensor(np.ones((100, 50), np.float32))
    y = layer(x).numpy()
    assert y.mean() == pytest.approx(1, abs=0.05)
    assert y.std() == pytest.approx(0.5, abs=0.05)
    assert (layer(x).numpy() != y).any()
    with layer.evaluating():
        np.testing.assert_array_equal(layer(x).numpy(), 1)
    with pytest.raises(ValueError, match="0 or more, not -1"):
        nn.GaussianNoise(-1, rng=rng())
