"""PyTorch: a training step of recipes that make pictures, with the recipe's own networks.

The networks are twins of what `recipe.players` gives, the algorithm is the recipe's. Learning rates
stay those of the first step. As PyTorch's examples write it, or `tuned`: channels last, D without
gradients of its weights while G learns, and Adam fused.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

import torch
from torch.nn import functional

from minigan.optim import Adam
from minigan.random import Generator

from ..timing import Step
from . import UnavailableError
from .ours import picture_recipe
from .torch_images import batches
from .torch_twin import twin

# Fields of a recipe that its step here obeys, or that change the networks alone.
OBEYED = {
    "a", "b", "batch_size", "beta1", "beta2", "c", "dense", "ema", "gamma", "halvings", "hidden",
    "init_std", "iterations", "lambda_k", "latent_size", "lipschitz", "lr", "lr_d", "lr_g",
    "lr_steps", "n_critic", "normalize", "optimizer", "penalty", "slope", "smooth", "spectral",
    "width",
}  # fmt: skip


class Game:
    """The networks of a recipe in PyTorch, and how one of them is updated."""

    def __init__(self, name: str, shape: tuple[int, int, int], batch: int, tuned: bool) -> None:
        self.recipe: Any = picture_recipe(name, shape, batch)
        rng = Generator(0)
        players = self.recipe.players(rng, shape)
        layout = torch.channels_last if tuned else torch.contiguous_format
        self.nets = {n: twin(player).to(memory_format=layout) for n, player in players.items()}
        self.G, self.D, self.tuned = self.nets["G"], self.nets["D"], tuned
        self.optimizers = {
            n: _adam(rule, self.nets[n], tuned)
            for n, rule in self.recipe.optimizers(players).items()
        }
        self.average = copy.deepcopy(self.G) if self.recipe.copies(players) else None
        self.batch, self.data = batch, batches(shape, batch, channels_last=tuned)
        self.latent = self.recipe.latent(rng, 1).shape[1:]
        self.uniform = name in ("dcgan", "began")
        self.k = 0.0  # the variable of BEGAN's equilibrium

    def fake(self) -> Any:
        """New images by G."""
        if self.uniform:
            return self.G(torch.rand(self.batch, *self.latent) * 2 - 1)
        return self.G(torch.randn(self.batch, *self.latent))

    def update(self, player: str, loss: Any) -> float:
        """One update; the value of the loss, which minigan checks as well."""
        optimizer = self.optimizers[player]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss.item())

    def judge(self, fake: Any) -> Any:
        """D on images by a G that learns from it."""
        if self.tuned:
            self.D.requires_grad_(False)
        return self.D(fake)

    def after_step(self) -> None:
        """What follows both updates."""
        self.D.requires_grad_(True)
        if self.average is not None:
            decay = 1 - self.recipe.ema
            with torch.no_grad():
                for slow, fast in zip(
                    self.average.state_dict().values(), self.G.state_dict().values(), strict=True
                ):
                    if slow.is_floating_point():
                        slow.lerp_(fast, decay)


def step(name: str, shape: tuple[int, int, int], batch: int, *, tuned: bool = False) -> Step:
    """A step of the recipe called `name` on images of `shape`.

    Raises:
        UnavailableError: if the recipe has no step here, or something in its networks no twin.
    """
    if name not in ROUNDS:
        raise UnavailableError(f"{name} has no step in bench/peers/torch_pictures.py")
    torch.manual_seed(0)
    game = Game(name, shape, batch, tuned)
    round_of = ROUNDS[name]

    def run() -> list[float]:
        found = list(round_of(game))
        game.after_step()
        return found

    return run


def disobeyed(name: str, shape: tuple[int, int, int], batch: int) -> list[str]:
    """The fields that are switched on in the recipe, and that a step here does nothing about."""
    recipe = picture_recipe(name, shape, batch)
    values = {f.name: getattr(recipe, f.name) for f in fields(recipe)}
    return sorted(n for n, value in values.items() if n not in OBEYED and value not in (0, None))


def _dcgan(game: Game) -> Iterator[float]:
    bce, one, zero = functional.binary_cross_entropy_with_logits, torch.ones, torch.zeros
    real, fake = next(game.data), game.fake()
    on_real, on_fake = game.D(real).view(-1), game.D(fake.detach()).view(-1)
    smooth = one(game.batch) * game.recipe.smooth
    yield game.update("D", bce(on_real, smooth) + bce(on_fake, zero(game.batch)))
    yield from (float(torch.sigmoid(logit).mean().item()) for logit in (on_real, on_fake))
    yield game.update("G", bce(game.judge(fake).view(-1), one(game.batch)))


def _sngan(game: Game) -> Iterator[float]:
    K = game.recipe.lipschitz
    for _ in range(game.recipe.n_critic):
        real = next(game.data)
        with torch.no_grad():
            fake = game.fake()
        on_real, on_fake = K * game.D(real), K * game.D(fake)
        yield game.update("D", functional.relu(1 - on_real).mean() + (1 + on_fake).relu().mean())
        yield from (float(score.mean().item()) for score in (on_real, on_fake))
    yield game.update("G", -(K * game.judge(game.fake())).mean())


def _wgan_gp(game: Game) -> Iterator[float]:
    for _ in range(game.recipe.n_critic):
        real = next(game.data)
        with torch.no_grad():
            fake = game.fake()
        distance = game.D(fake).mean() - game.D(real).mean()
        a = torch.rand(game.batch, 1, 1, 1)
        between = (a * real + (1 - a) * fake).requires_grad_(True)
        (slope,) = torch.autograd.grad(game.D(between).sum(), between, create_graph=True)
        norm = (slope.flatten(1).square().sum(1) + 1e-12).sqrt()
        penalty = (norm - 1).square().mean()
        yield game.update("D", distance + game.recipe.penalty * penalty)
        yield from (float(value.item()) for value in (distance, penalty))
    yield game.update("G", -game.judge(game.fake()).mean())


def _lsgan(game: Game) -> Iterator[float]:
    r, real = game.recipe, next(game.data)
    with torch.no_grad():
        fake = game.fake()
    on_real, on_fake = game.D(real), game.D(fake)
    loss = 0.5 * (on_real - r.b).square().mean() + 0.5 * (on_fake - r.a).square().mean()
    yield game.update("D", loss)
    yield from (float(score.mean().item()) for score in (on_real, on_fake))
    yield game.update("G", 0.5 * (game.judge(game.fake()) - r.c).square().mean())


def _began(game: Game) -> Iterator[float]:
    r, real = game.recipe, next(game.data)
    with torch.no_grad():
        fake = game.fake()
    of_real, of_fake = ((x - game.D(x)).abs().mean() for x in (real, fake))
    yield game.update("D", of_real - game.k * of_fake)
    fake = game.fake()
    on_fake = (fake - game.judge(fake)).abs().mean()
    balance = r.gamma * float(of_real.item()) - float(on_fake.item())
    game.k = min(max(game.k + r.lambda_k * balance, 0.0), 1.0)
    yield game.update("G", on_fake)


def _adam(rule: Any, net: Any, tuned: bool) -> Any:
    """PyTorch's Adam for the parameters of a network, with the settings of ours.

    Raises:
        UnavailableError: if ours is another optimiser.
    """
    if not isinstance(rule, Adam):
        raise UnavailableError(f"{type(rule).__name__} has no twin in bench/peers")
    options = rule.options
    return torch.optim.Adam(
        net.parameters(),
        lr=float(rule.lr(0)),
        betas=(options["beta1"], options["beta2"]),
        eps=options["eps"],
        **({"fused": True} if tuned else {}),
    )


ROUNDS: dict[str, Callable[[Game], Iterator[float]]] = {
    "began": _began,
    "dcgan": _dcgan,
    "lsgan": _lsgan,
    "sngan": _sngan,
    "wgan_gp": _wgan_gp,
}
