"""What `Generator` promises and refuses, and that nothing takes another generator for it."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import minigan_kernels as kernels
import numpy as np
import pytest

import minigan
from minigan import Generator, Tensor, gans, nn
from minigan.nn import init
from minigan.penalties import gradient_penalty
from minigan.training.recipe import Recipe

OTHERS = {
    "Generator": np.random.default_rng(0),
    "RandomState": np.random.RandomState(0),
    "integer": 0,
    "nothing": None,
    "module": np.random,
}


# --- Bounds ----------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["reference", "cpu"])
@pytest.mark.parametrize(
    ("low", "high"), [(100, 101), (1000, 1001), (-1, 1), (0, 1), (-0.05, 0.05), (1e8, 1e8 + 8)]
)
def test_uniform_numbers_stay_below_their_upper_bound(
    low: float, high: float, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also the largest number that the kernel gives, which no short draw has."""

    def largest(out: np.ndarray, *, key: int, offset: int) -> None:
        out[...] = 1 - 2**-24

    with kernels.use(backend):
        drawn = Generator(0).uniform((1000,), low, high)
        assert low <= drawn.min() <= drawn.max() < high
    monkeypatch.setattr(kernels, "uniform", largest)
    top = Generator(0).uniform((3,), low, high)
    assert (top < high).all()
    assert (high - top <= 2 * np.spacing(np.float32(max(abs(low), abs(high))))).all()
    assert top.dtype == np.float32


def test_uniform_numbers_that_can_reach_no_bound_are_the_kernel_s() -> None:
    u = Generator(0).uniform(1000)
    for low, high in ((-1.0, 1.0), (-0.05, 0.05), (2.0, 5.0)):
        drawn = Generator(0).uniform((1000,), low, high)
        expected = u * np.float32(high - low) + np.float32(low)
        np.testing.assert_array_equal(drawn, expected)  # none of these 1000 is rounded up


def test_equal_bounds_give_that_number() -> None:
    np.testing.assert_array_equal(Generator(0).uniform((5,), 0.3, 0.3), np.full(5, 0.3, np.float32))


@pytest.mark.parametrize(
    "draw",
    [
        lambda g: g.uniform((3,), 1.0, 0.0),
        lambda g: g.uniform((3,), math.nan, 1.0),
        lambda g: g.uniform((3,), 0.0, math.inf),
        lambda g: g.uniform((3,), -3e38, 3e38),
        lambda g: g.uniform((3,), 1e39, 1e39),
        lambda g: g.normal(3, std=-1.0),
        lambda g: g.normal(3, std=math.nan),
        lambda g: g.normal(3, std=1e39),
        lambda g: g.integers(3, 0),
        lambda g: g.integers(3, -1),
        lambda g: g.integers(3, 2**24 + 1),
        lambda g: g.integers(3, 2.5),
        lambda g: g.integers(3, "3"),
        lambda g: g.dropout_mask(3, 0.0),
        lambda g: g.dropout_mask(3, 1.5),
        lambda g: g.dropout_mask(3, math.nan),
        lambda g: g.normal(-1),
    ],
)
def test_a_draw_that_is_refused_uses_nothing(draw: Callable[[Generator], Any]) -> None:
    g = Generator(0)
    with pytest.raises(ValueError, match=r"bounds?|scale|probability|negative dimensions"):
        draw(g)
    assert g.offset == 0


def test_integers_up_to_the_largest_bound() -> None:
    for high in (1, 3, 7, 2**23 + 1, 2**24 - 1, 2**24, np.int64(5)):
        drawn = Generator(0).integers(1000, high)
        assert 0 <= drawn.min() <= drawn.max() < high


@pytest.mark.parametrize("high", [3, 5, 7, 1000, 2**23 + 1, 2**24])
def test_the_largest_random_integer_is_below_its_bound(
    high: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def largest(out: np.ndarray, *, key: int, offset: int) -> None:
        out[...] = 1 - 2**-24

    monkeypatch.setattr(kernels, "uniform", largest)
    np.testing.assert_array_equal(Generator(0).integers(2, high), high - 1)


@pytest.mark.parametrize("seed", [None, 0.5, "0", [1]])
def test_a_seed_is_an_integer(seed: Any) -> None:
    with pytest.raises(ValueError, match="the seed of a Generator must be an integer"):
        Generator(seed)
    assert Generator(np.int64(3)).key == Generator(3).key  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "state",
    [
        {"key": 1},
        {"key": 1, "offset": 0, "more": 0},
        {"key": 1, "offset": -1},
        {"key": 1 << 64, "offset": 0},
        {"key": 1, "offset": 0.5},
        {"key": "1", "offset": 0},
    ],
)
def test_a_state_that_is_none_is_refused_whole(state: dict[str, Any]) -> None:
    g = Generator(0)
    before = g.state
    with pytest.raises(ValueError, match="a generator's"):
        g.state = state
    assert g.state == before


# --- Other generators ------------------------------------------------------------------------


def takers() -> dict[str, Callable[..., Any]]:
    """Every public function and class with an argument `rng`, and every hook of a recipe."""
    found: dict[str, Callable[..., Any]] = {}
    for module in (minigan, minigan.penalties, nn, init):
        public = {n: v for n, v in vars(module).items() if not n.startswith("_") and callable(v)}
        found |= {name: value for name, value in public.items() if _takes_rng(value)}
    for recipe in map(gans.load, gans.names()):
        for kind in recipe.__mro__:
            if issubclass(kind, Recipe) and kind is not Recipe:
                hooks = vars(kind).keys() & {"players", "latent", "round"}
                found |= {f"{kind.__name__}.{hook}": getattr(kind, hook) for hook in hooks}
    return dict(sorted(found.items()))


def _takes_rng(function: Callable[..., Any]) -> bool:
    try:
        return "rng" in inspect.signature(function).parameters
    except ValueError:
        return False


TAKERS = takers()


def test_all_takers_are_found() -> None:
    assert {"Linear", "Conv2d", "Dropout", "GaussianNoise", "gradient_penalty"} <= TAKERS.keys()
    assert {"DCGAN.latent", "DCGAN.players", "DCGAN.round", "GAN.latent"} <= TAKERS.keys()
    assert len(TAKERS) > 45


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("name", TAKERS)
def test_another_generator_is_refused_by_name(name: str, other: str) -> None:
    taker = TAKERS[name]
    parameters = inspect.signature(taker).parameters
    given = OTHERS[other]
    if given is None and parameters["rng"].default is None:
        return  # it may be left out
    words = rf"the rng of {name} must be a minigan\.Generator, not .*minigan\.Generator\(seed\)"
    others = {p.name: 1 for p in parameters.values() if p.name != "rng" and p.default is p.empty}
    with pytest.raises(TypeError, match=words):
        taker(**others, rng=given)


@pytest.mark.parametrize("make", [init.normal, init.he, init.glorot, init.orthogonal])
def test_an_initialiser_refuses_another_generator(make: Callable[[], init.Initializer]) -> None:
    with pytest.raises(TypeError, match=rf"rng of {make.__name__} must be a minigan.Generator"):
        make()(np.random.default_rng(0), (3, 2), 2, 3)  # type: ignore[arg-type]


def test_an_own_recipe_is_guarded_too() -> None:
    class Own(Recipe):
        def latent(self, rng: Generator, n: int) -> np.ndarray:
            return rng.normal((n, 2))

    assert Own().latent(Generator(0), 3).shape == (3, 2)
    with pytest.raises(TypeError, match="the rng of test_an_own_recipe_is_guarded_too must be"):
        Own().latent(np.random.default_rng(0), 3)  # type: ignore[arg-type]


def test_a_penalty_refuses_before_it_computes() -> None:
    with pytest.raises(TypeError, match="rng of gradient_penalty"):
        gradient_penalty(lambda x: x, Tensor([[1.0]]), Tensor([[1.0]]), 3)  # type: ignore[arg-type]


def test_a_missing_rng_is_said_by_its_taker() -> None:
    way = r"rng = mg\.Generator\(seed=0\)"
    for layer, args, draws in (
        (nn.Dropout, (0.5,), "masks"), (nn.GaussianNoise, (1.0,), "noise"),
        (nn.Conv2d, (3, 64, 4, 2, 1), "initial weights"), (nn.Linear, (10, 5), "initial weights"),
        (nn.ConvTranspose2d, (3, 4, 4), "initial weights"), (nn.Maxout, (2, 2, 2), "initial w"),
        (nn.Embedding, (3, 2), "initial weights"), (nn.WeightNormLinear, (3, 2), "initial weights"),
        (nn.SpectralNorm, (nn.Linear(2, 2, rng=Generator(0)),), "first vectors"),
    ):  # fmt: skip
        name = rf"nn\.{layer.__name__}"
        words = rf"^{name} needs rng=, the generator of its {draws}.*: {way}; {name}\(\.\.\., rng="
        with pytest.raises(TypeError, match=words):
            layer(*args)  # type: ignore[call-arg, arg-type]
    with pytest.raises(
        TypeError, match=rf"^gradient_penalty needs rng, the generator of .*: {way}"
    ):
        gradient_penalty(lambda x: x, Tensor([[1.0]]), Tensor([[1.0]]))  # type: ignore[call-arg]
    with pytest.raises(
        TypeError, match=r"Linear.__init__\(\) missing 1 required .*: 'out_features'"
    ):
        nn.Linear(3)  # type: ignore[call-arg]
