"""Gradients of one's own code against difference quotients, each in one line.

    check_gradients(f, [x, w])           a function of arrays: an operation, a primitive, a loss
    check_module(MyLayer(3, rng=rng), x)  a layer or a network: inputs and parameters
    check_recipe(MyGAN)                  a recipe: all updates of a step, on all data that it takes

Each answers with the largest relative error, and raises `GradientError` where a gradient is wrong,
`UndecidedError` where the quotients cannot tell. `minigan gradcheck FILE` runs the same checks.
"""

from .gradients import (
    TOLERANCE,
    Evidence,
    GradientError,
    UndecidedError,
    check_gradients,
    examine,
    tested,
)
from .modules import check_module, examine_module
from .recipes import RecipeCheck, check_recipe, checks_of

__all__ = [
    "TOLERANCE",
    "Evidence",
    "GradientError",
    "RecipeCheck",
    "UndecidedError",
    "check_gradients",
    "check_module",
    "check_recipe",
    "checks_of",
    "examine",
    "examine_module",
    "tested",
]


def __dir__() -> list[str]:
    return __all__
