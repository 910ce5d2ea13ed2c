"""The recipes that encode or reconstruct images: BiGAN, BEGAN, GLO, GON, VAE."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import tiny

import minigan as mg
from minigan.data import Batches
from minigan.errors import UserError
from minigan.gans.glo import on_sphere
from minigan.losses import laplacian_pyramid_loss
from minigan.optim import SGD
from minigan.tensor import Tensor, no_grad
from minigan.training.device_batches import DeviceBatches
from minigan.training.state import State

ENCODING = ["bigan", "glo", "gon", "vae"]
RECONSTRUCTING = [*ENCODING, "began"]


# Untrained networks with weights large enough to tell images apart, and a short search.
FIELDS = {
    "bigan": {"init_std": 0.3},
    "glo": {"encoding_steps": 10},
    "vae": {"init_std": 0.3},
}


def everything(state: State) -> bytes:
    return b"".join(a.tobytes() for p in state.players.values() for a in p.state().values())


# --- What they share -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ENCODING)
def test_an_encoding_is_a_latent_vector_of_each_image_and_changes_nothing(name: str) -> None:
    state = tiny.state(name, **FIELDS.get(name, {}))
    state.advance()
    before, offset = everything(state), state.rng.offset
    x = next(state.batches)
    z = state.ask(state.recipe.encode, x)
    assert z is not None
    assert (z.dtype, z.shape) == (
        np.float32,
        (len(x), *state.recipe.latent(state.rng, 1).shape[1:]),
    )
    state.rng.offset = offset
    np.testing.assert_array_equal(state.ask(state.recipe.encode, x), z)
    assert (everything(state), state.rng.offset) == (before, offset)


@pytest.mark.parametrize("name", ENCODING)
def test_an_encoding_depends_on_no_other_image(name: str) -> None:
    state = tiny.state(name, **FIELDS.get(name, {}))
    for _ in range(2):
        state.advance()
    x = next(state.batches)
    whole = state.ask(state.recipe.encode, x)
    parts = state.ask(state.recipe.encode, x, batch=1)
    np.testing.assert_allclose(parts, whole, rtol=1e-2, atol=1e-2)
    assert np.abs(whole - whole[:1]).max() > 0.05  # and yet on its own


@pytest.mark.parametrize("name", RECONSTRUCTING)
def test_a_reconstruction_is_an_image(name: str) -> None:
    state = tiny.state(name, **FIELDS.get(name, {}))
    state.advance()
    x = next(state.batches)
    found = state.ask(state.recipe.reconstruct, x)
    assert found is not None
    assert found.shape == x.shape
    low, high = state.recipe.output_range(x.shape[1:])
    assert low <= found.min() <= found.max() <= high


@pytest.mark.parametrize("name", ["glo", "gon", "vae"])
@pytest.mark.parametrize("shape", [(1, 30, 30), (1, 28, 32), (2,)])
def test_the_shapes_that_cannot_be_made_are_refused(name: str, shape: tuple[int, ...]) -> None:
    data = tiny.images(shape) if len(shape) == 3 else tiny.points(*shape)
    with pytest.raises(UserError, match=rf"{name} makes square images.*--data"):
        tiny.state(name, data)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("began", (3, 32, 32)),
        ("glo", (3, 32, 32)),
        ("gon", (3, 32, 32)),
        ("vae", (3, 32, 32)),
        ("vae", (3, 64, 64)),
    ],
)
def test_they_learn_colours_too(name: str, shape: tuple[int, ...]) -> None:
    state = tiny.state(name, tiny.images(shape))
    assert all(math.isfinite(value) for value in state.advance().values())
    assert state.samples(state.recipe.latent(state.rng, 2)).shape == (2, *shape)


# --- The feed with places --------------------------------------------------------------------


def test_a_feed_tells_where_each_sample_lies() -> None:
    dataset = tiny.images(count=10)
    batches = Batches(dataset, 4, seed=3, output_range=(-1, 1))
    again = Batches(dataset, 4, seed=3, output_range=(-1, 1))
    feed, places = DeviceBatches(batches), []
    for _ in range(2):  # an epoch of ten has two batches of four
        x, index = feed.indexed()
        np.testing.assert_allclose(x.data, dataset.x[index] / 127.5 - 1, atol=1e-6)
        np.testing.assert_array_equal(x.data, next(again))
        places += list(index)
    assert len(set(places)) == 8
    assert batches.position == 2


# --- BiGAN -----------------------------------------------------------------------------------


def test_the_discriminator_judges_pairs() -> None:
    """Exchanging the encodings of two images changes what D says of them."""
    state = tiny.state("bigan", init_std=0.3)
    state.advance()
    D, E = state.players["D"].eval(), state.players["E"].eval()
    x = Tensor(next(state.batches))
    with no_grad():
        z = E(x)
        right, wrong = D(x, z), D(x, z[::-1])
    assert right.shape == (len(x),)
    assert np.abs(right.data - wrong.data).max() > 1e-3


def test_generator_and_encoder_have_the_exchanged_labels() -> None:
    """Each learns what raises D where its own pair is to pass for the other kind."""
    state = tiny.state("bigan")
    D = state.players["D"]
    D.forward = lambda x, z: z.sum(axis=1) * 0 + 2.0  # D believes everything, (N,)
    losses = {}
    feed = DeviceBatches(state.batches)
    for name, loss, _ in state.recipe.round(state.players, feed, state.rng, 0):
        losses[name] = loss.item()
    believed, doubted = math.log1p(math.exp(-2)), math.log1p(math.exp(2))
    assert losses["G"] == pytest.approx(believed)  # -log D(G(z), z)
    assert losses["E"] == pytest.approx(doubted)  # -log(1 - D(x, E(x)))
    assert losses["D"] == pytest.approx(believed + doubted)


def test_bigan_refuses_points() -> None:
    with pytest.raises(UserError, match=r"bigan makes images.*--data"):
        tiny.state("bigan", tiny.points(2))


# --- BEGAN -----------------------------------------------------------------------------------


def test_the_equilibrium_moves_k_and_m_says_how_far_it_is() -> None:
    state = tiny.state("began", gamma=0.7, lambda_k=0.5)
    k = 0.0
    D = state.players["D"]
    D.k[...] = k = 0.25
    feed = DeviceBatches(state.batches)
    updates = state.recipe.round(state.players, feed, state.rng, 0)
    _, loss_d, found = next(updates)
    position = state.batches.position
    with no_grad():
        x = state.batches.at(position - 1)[0]
        on_real = np.abs(x - D(Tensor(x)).data).mean()  # L(x), before D's update
    assert found["k"] == k
    _, loss_g, measures = next(updates)
    balance = 0.7 * on_real - loss_g.item()
    assert measures["M"] == pytest.approx(on_real + abs(balance), rel=1e-5)
    assert float(D.k) == pytest.approx(np.clip(k + 0.5 * balance, 0, 1), rel=1e-5)
    assert loss_d.item() < on_real  # k_t L(G(z)) is taken away


def test_k_stays_in_its_range_and_in_the_checkpoint(tmp_path: Path) -> None:
    state = tiny.state("began", gamma=1.0, lambda_k=1e6)
    seen = [state.advance()["k"] for _ in range(4)]
    assert seen[0] == 0
    assert set(seen) <= {0.0, 1.0}
    state = tiny.state("began", gamma=1.0, lambda_k=10.0)
    for _ in range(3):
        state.advance()
    other = tiny.state("began", gamma=1.0, lambda_k=10.0)
    other.restore(state.save(tmp_path, "began"), "began")
    assert other.players["D"].k == state.players["D"].k
    assert other.advance() == state.advance()


# --- GLO -------------------------------------------------------------------------------------


def test_the_pyramid_loss_is_the_sum_over_its_levels() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 3, 2, 7, 6))
    row = np.array([1, 4, 6, 4, 1]) / 16

    def blurred(image: np.ndarray) -> np.ndarray:
        padded = np.pad(image, ((0, 0), (0, 0), (2, 2), (2, 2)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5), axis=(2, 3))
        return np.einsum("ncijkl,k,l->ncij", windows, row, row)

    expected, levels = 0.0, [x, y]
    for _ in range(2):
        soft = [blurred(image) for image in levels]
        expected += np.abs((levels[0] - soft[0]) - (levels[1] - soft[1])).mean()
        levels = [image[:, :, ::2, ::2] for image in soft]
    expected += np.abs(levels[0] - levels[1]).mean()
    found = laplacian_pyramid_loss(Tensor(x), Tensor(y), levels=2)
    assert found.item() == pytest.approx(expected, rel=1e-12)
    assert laplacian_pyramid_loss(Tensor(x), Tensor(x)).item() == 0


def test_a_batch_moves_its_own_rows_along_the_sphere() -> None:
    state = tiny.state("glo", tiny.images(count=24))
    table = state.players["Z"].weight
    before = table.data.copy()
    _, index = state.batches.indexed()
    state.batches.position = 0
    state.advance()
    moved = np.flatnonzero((table.data != before).any(axis=1))
    assert sorted(moved) == sorted(index)
    np.testing.assert_allclose(np.square(table.data).sum(axis=1), 1, rtol=1e-5)


def test_both_updates_follow_the_gradient_of_one_loss() -> None:
    """G's update after the table's sees the loss as it was before both."""
    state = tiny.state("glo")
    G, Z = state.players["G"], state.players["Z"]
    state.optimizers = {n: SGD(p.parameters(), 0.1) for n, p in state.players.items()}
    x, index = DeviceBatches(state.batches).indexed()
    state.batches.position = 0
    loss = state.recipe.loss(G(Z(index)), x)
    expected = {
        name: {
            key: state.players[name].parameters()[key].data - 0.1 * g.data
            for key, g in mg.grad(loss, state.players[name].parameters()).items()
        }
        for name in ("G", "Z")
    }
    expected["Z"]["weight"] = on_sphere(expected["Z"]["weight"])
    state.advance()
    for name, arrays in expected.items():
        for key, array in arrays.items():
            found = state.players[name].parameters()[key].data
            np.testing.assert_allclose(found, array, rtol=1e-4, atol=1e-5)


def test_encoding_finds_what_the_mean_latent_vector_does_not() -> None:
    state = tiny.state("glo", encoding_steps=30)
    made = state.samples(3 * state.recipe.latent(mg.Generator(0, "made"), 8))
    found = state.ask(state.recipe.reconstruct, made)
    center = state.samples(np.zeros((8, 5), np.float32))
    assert np.square(found - made).mean() < 0.5 * np.square(center - made).mean()


def test_a_table_that_is_too_short_is_refused() -> None:
    state = tiny.state("glo", samples=3)
    with pytest.raises(UserError, match=r"--samples must be the number of images in the data.*3"):
        state.advance()  # four of 24 places


# --- GON -------------------------------------------------------------------------------------


def test_a_latent_vector_is_the_negative_gradient_at_the_origin() -> None:
    state = tiny.state("gon")
    G = state.players["G"].astype(np.float64).eval()
    state.players["Z"].astype(np.float64)
    for p in G.parameters().values():
        p.data[...] = np.random.default_rng(p.size).normal(0.5, 0.3, p.shape)
    x = next(state.batches).astype(np.float64)
    with no_grad():
        z = state.recipe.from_origin(state.players, Tensor(x)).data
        for i in range(z.shape[1]):
            h = np.zeros((len(x), z.shape[1]))
            h[:, i] = 1e-5
            up, down = (np.square(x - G(Tensor(s * h)).data).sum(axis=(1, 2, 3)) for s in (1, -1))
            np.testing.assert_allclose(z[:, i], (down - up) / 2e-5, rtol=1e-4, atol=1e-6)


def test_the_first_half_of_the_loss_is_differentiated_too() -> None:
    """The gradient by G's weights differs from that with z as a constant."""
    state = tiny.state("gon")
    G = state.players["G"]
    x = Tensor(next(state.batches))
    z = state.recipe.from_origin(state.players, x)
    whole, half = (
        mg.grad(mg.square(x - G(latent)).mean(), G.parameters(), allow_unused=True)
        for latent in (z, z.detach())
    )
    first = "layers.1.weight"
    assert np.abs(whole[first].data - half[first].data).max() > 1e-6


def test_latent_vectors_of_the_data_are_standard_normal_to_the_user() -> None:
    state = tiny.state("gon", tiny.images(count=24), batch_size=24)
    state.advance()
    Z = state.players["Z"]
    x = state.batches.at(0)[0]
    rows = state.recipe.latent(mg.Generator(0, "rows"), 4000)
    latents = Z.mean + rows @ Z.root().T
    np.testing.assert_allclose(
        np.cov(latents.T), Z.covariance, rtol=0.2, atol=0.1 * np.ptp(Z.covariance)
    )
    assert state.ask(state.recipe.encode, x).shape == (24, 5)
    z = rows[:3]
    inner = (Z.mean + z @ Z.root().T).astype(np.float32)
    with no_grad(), state.players["G"].evaluating():
        np.testing.assert_array_equal(state.players["G"](Tensor(inner)).data, state.samples(z))


def test_a_pass_in_inference_keeps_its_moments_when_a_training_pass_follows() -> None:
    """A GON's graph holds both, and its gradient is taken after the second has moved them."""
    layer = mg.nn.BatchNorm1d(2)
    drawn = (np.random.default_rng(seed).normal(3, 2, (4, 2)) for seed in (0, 1))
    x, y = (Tensor(array, np.float32) for array in drawn)
    with layer.evaluating():
        z = layer(x)
    expected = mg.grad(z.sum(), x).data
    layer(y)
    np.testing.assert_array_equal(mg.grad(z.sum(), x).data, expected)
    np.testing.assert_allclose(layer.running_mean, 0.1 * y.data.mean(axis=0), rtol=1e-6)


# --- VAE -------------------------------------------------------------------------------------


def bound_of(state: State, mu: float, log_variance: float, logits: float) -> tuple[float, float]:
    """log p(x|z) and KL of one image, where E and G answer the same to everything."""
    size = state.recipe.latent_size
    row = np.repeat(np.array([mu, log_variance], np.float32), size)
    G, E = state.players["G"], state.players["E"]
    E.forward = lambda x: Tensor(np.tile(row, (len(x), 1)))
    x = Tensor(state.batches.at(0)[0][:1])
    G.forward = lambda z: Tensor(np.full(x.shape, logits, np.float32))
    likelihood, kl = state.recipe.bound(state.players, x, Tensor(np.zeros((1, size), np.float32)))
    assert likelihood.shape == kl.shape == (1,)
    return likelihood.item(), kl.item()


def test_the_divergence_of_two_gaussians_is_that_of_their_densities() -> None:
    mu, sigma = 0.7, 1.4
    _, found = bound_of(tiny.state("vae"), mu, 2 * math.log(sigma), 0.0)
    z = np.linspace(-20, 20, 400_001)
    log_q = -0.5 * ((z - mu) / sigma) ** 2 - math.log(sigma * math.sqrt(2 * math.pi))
    log_p = -0.5 * z**2 - 0.5 * math.log(2 * math.pi)
    each = float((np.exp(log_q) * (log_q - log_p)).sum() * (z[1] - z[0]))
    assert found == pytest.approx(5 * each, rel=1e-4)
    assert bound_of(tiny.state("vae"), 0.0, 0.0, 0.0)[1] == 0  # q(z|x) is the prior


def test_the_likelihood_of_pixels_is_that_of_their_distribution() -> None:
    logit, sigma = 0.8, 0.3
    p = 1 / (1 + math.exp(-logit))
    state = tiny.state("vae", observation="bernoulli")
    x = state.batches.at(0)[0][:1].astype(np.float64)
    expected = (x * math.log(p) + (1 - x) * math.log(1 - p)).sum()
    assert bound_of(state, 0.0, 0.0, logit)[0] == pytest.approx(expected, rel=1e-5)
    state = tiny.state("vae", sigma=sigma)
    density = np.exp(-0.5 * ((x - p) / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi))
    assert bound_of(state, 0.0, 0.0, logit)[0] == pytest.approx(np.log(density).sum(), rel=1e-5)


def test_noise_moves_a_code_by_its_own_deviation() -> None:
    """Equation 9: z = mu + sigma eps, so that E learns through what G makes of z."""
    state, seen = tiny.state("vae"), []
    size = state.recipe.latent_size
    row = np.repeat(np.array([0.5, 2 * math.log(3)], np.float32), size)
    G, E = state.players["G"], state.players["E"]
    decode, E.forward = G.forward, lambda x: Tensor(np.tile(row, (len(x), 1)))
    G.forward = lambda z: seen.append(z.numpy()) or decode(z)
    noise = np.arange(2 * size, dtype=np.float32).reshape(2, size)
    state.recipe.bound(state.players, Tensor(state.batches.at(0)[0][:2]), Tensor(noise))
    np.testing.assert_allclose(seen[0], 0.5 + 3 * noise, rtol=1e-6)


def test_the_bound_is_reported_in_its_two_parts() -> None:
    row = tiny.state("vae").advance()
    assert row["ELBO"] == pytest.approx(row["log p(x|z)"] - row["KL"], rel=1e-5)
    assert row["loss_E"] == row["loss_G"] == pytest.approx(-row["ELBO"])
    assert row["KL"] > 0


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 64, 64)])
def test_the_networks_are_those_of_dcgan(shape: tuple[int, ...]) -> None:
    """But that E tells two numbers for each component of z, and G has sigma."""
    vae, dcgan = (tiny.state(name, tiny.images(shape)).players for name in ("vae", "dcgan"))
    for mine, its in (("G", "G"), ("E", "D")):
        shapes = [p.shape for p in dcgan[its].parameters().values() if p.ndim == 4]
        found = [p.shape for p in vae[mine].parameters().values() if p.ndim == 4]
        if mine == "E":
            assert (found.pop()[0], shapes.pop()[0]) == (10, 1)
        assert found == shapes
    assert "log_sigma" in vae["G"].parameters()
    grey = tiny.state("vae", tiny.images(), observation="bernoulli")
    assert "log_sigma" not in grey.players["G"].parameters()


def test_grey_images_are_bernoulli_and_narrow() -> None:
    kind = mg.gans.load("vae")
    options = {"classes": 0, "samples": 10}
    assert kind.defaults((1, 28, 28), **options) == {"width": 32, "observation": "bernoulli"}
    assert kind.defaults((3, 64, 64), **options) == {}
    with pytest.raises(UserError, match="--sigma must be above 0"):
        kind(sigma=0.0)
