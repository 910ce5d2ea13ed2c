"""From a recipe to a run: the loop, its state, and the run directory.

The loop behind `minigan train` is short, and your own can be shorter. A `State` holds everything
that a step changes: the players (the networks), their optimisers, the generator of random numbers
and the position in the data. `State.advance()` does one step of the recipe's algorithm:

>>> from minigan import data, gans
>>> from minigan.training.state import State
>>> recipe = gans.load("gan")(batch_size=32, hidden=16)
>>> state = State.fresh(recipe, data.load("ring"), seed=0)
>>> for _ in range(3):
...     row = state.advance()
>>> state.step, sorted(row)
(3, ['D(G(z))', 'D(x)', 'loss_D', 'loss_G'])
>>> state.samples(recipe.latent(state.rng, 5)).shape
(5, 2)

`State.turns()` is the same step opened up: a generator of its updates, each of which has been
applied when it is given. A turn has the player, its loss, the gradients of its parameters, and what
else the recipe reports. Looking changes no byte of the state:

>>> for turn in state.turns():
...     size = sum(float((g * g).sum()) for g in turn.gradients.values()) ** 0.5
...     print(turn.player, turn.loss.shape, size > 0, sorted(turn.extras))
D () True ['D(G(z))', 'D(x)']
G () True []
>>> state.step
4

What the loop adds is a run directory: a row of metrics a step, sample pictures, checkpoints, the
report. `minigan.train` makes one, and gives its state as `run.state`.
"""
