"""What a recipe of one's own is made of; see `minigan.training.recipe`."""

from .training.recipe import (
    EMA,
    Check,
    Feed,
    GradientClipping,
    LearningRateDecay,
    Players,
    Recipe,
    Shape,
    Update,
)

__all__ = [
    "EMA",
    "Check",
    "Feed",
    "GradientClipping",
    "LearningRateDecay",
    "Players",
    "Recipe",
    "Shape",
    "Update",
]
