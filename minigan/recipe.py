"""What a recipe of one's own is made of; see `minigan.training.recipe`."""

from .training.recipe import Check, Feed, Players, Recipe, Shape, Update

__all__ = ["Check", "Feed", "Players", "Recipe", "Shape", "Update"]
