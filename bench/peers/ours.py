"""minigan: its recipes, step by step, as the training loop runs them."""

from __future__ import annotations

from typing import Any

import minigan_kernels as kernels

from minigan import gans
from minigan.data import Dataset
from minigan.errors import UserError
from minigan.gans.dcgan import DCGAN
from minigan.gans.gan import GAN
from minigan.training.recipe import Recipe
from minigan.training.state import State

from ..timing import Step
from . import Size, UnavailableError, peer
from .images import COUNT, images

IMAGES = (1, 28, 28)  # of the dense GAN


def dcgan(size: Size) -> Step:
    """A step of the recipe dcgan, with the paper's learning rates."""
    return _step_of(DCGAN(batch_size=size.batch, width=size.width, lr_g=2e-4), size.image)


def dense(batch: int = 100) -> Step:
    """A step of the recipe gan on images of 28x28 pixels."""
    return _step_of(GAN(batch_size=batch), IMAGES)


def pictures(name: str, shape: tuple[int, int, int], batch: int) -> Step:
    """A step of the recipe called `name` on images of `shape`, with its own networks.

    Raises:
        UnavailableError: if the recipe has none for such images.
    """
    try:
        return _step_of(picture_recipe(name, shape, batch), shape)
    except UserError as error:
        raise UnavailableError(str(error)) from error


def picture_recipe(name: str, shape: tuple[int, int, int], batch: int) -> Recipe:
    """The recipe with its defaults for images of `shape`, but for the batch."""
    kind = gans.load(name)
    return kind(**{**kind.defaults(shape, classes=0, samples=COUNT), "batch_size": batch})


def forced(kernels_called: str, path: str, *args: Any) -> Step:
    """The step of the peer at `path` with the kernels of that name.

    Raises:
        UnavailableError: if this version has none.
    """
    try:
        with kernels.use(kernels_called):
            pass
    except ValueError as error:
        raise UnavailableError(f"there are no kernels called {kernels_called}") from error
    step = peer("", path, *args).build()

    def within() -> object:
        with kernels.use(kernels_called):
            return step()

    return within


def _step_of(recipe: Recipe, shape: tuple[int, int, int]) -> Step:
    state = State.fresh(recipe, Dataset("digits", images(shape)), seed=0)
    return state.advance
