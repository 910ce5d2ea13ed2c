"""From a recipe to a run: the loop, its state, and the run directory."""
