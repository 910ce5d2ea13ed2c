"""From a recipe to a run: the loop, its state, the run directory and what stands in it."""
