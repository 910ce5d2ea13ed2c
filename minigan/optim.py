"""Optimisers, learning-rate schedules, clipping, and averages of weights.

An optimiser is built over named parameters and keeps its state by those names. It writes the
parameters in place, and freezes them: to NumPy they are read-only from then on. Whoever else must
write an array that may be part of a graph does so within `minigan_kernels.memo.writable`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import minigan_kernels as kernels
import numpy as np
from minigan_kernels.memo import freeze, writable

from .device import beside
from .nn import Module
from .replay import each_time, of_round, varying
from .tensor import Array, Tensor

Schedule = Callable[[int], float]
Gradients = Mapping[str, Tensor]
Clip = Callable[[Gradients], Gradients]


class Optimizer:
    """A rule that moves parameters along their gradients.

    `parameters` are tensors by name; their arrays become read-only. `lr` is a number or a schedule,
    a function of the number of steps taken so far. `clip`, if given, is what becomes of the
    gradients before they are used: `partial(clip_by_norm, limit=1.0)`. `slots` names the arrays
    that the rule keeps for each parameter.
    """

    slots: tuple[str, ...] = ()

    def __init__(
        self, parameters: Mapping[str, Tensor], lr: float | Schedule, clip: Clip | None = None
    ) -> None:
        self.parameters = dict(parameters)
        self.lr = lr if callable(lr) else constant(lr)
        self.clip = clip
        self.steps = 0
        self.slot = {
            f"{kind}.{name}": np.zeros_like(p.data)
            for kind in self.slots
            for name, p in self.parameters.items()
        }
        for p in self.parameters.values():
            freeze(p.data)

    def step(self, gradients: Gradients) -> None:
        """Move every parameter once; `gradients` must have exactly their names.

        Raises:
            ValueError: if a gradient is missing or belongs to no parameter; nothing has moved then.
        """
        if odd := self.parameters.keys() ^ gradients.keys():
            raise ValueError(f"parameters and gradients differ in {', '.join(sorted(odd))}")
        for name, p in self.parameters.items():
            if gradients[name].shape != p.shape:
                raise ValueError(
                    f"the gradient of {name} is {gradients[name].shape}, not {p.shape}"
                )
        if self.clip is not None:
            gradients = self.clip(gradients)
        ps = [p.data for p in self.parameters.values()]
        gs = [gradients[name].data for name in self.parameters]
        states = [[self.slot[f"{kind}.{n}"] for n in self.parameters] for kind in self.slots]
        if ps:
            with writable(*ps):
                self._move(ps, gs, *states)
        each_time(self._count)

    def _count(self) -> None:
        self.steps += 1

    def _now(self, schedule: Schedule) -> Any:
        """What a schedule says of this step."""
        return varying(lambda: schedule(self.steps), np.float64)

    def _move(self, ps: list[Array], gs: list[Array], *states: list[Array]) -> None:
        """Write all parameters `ps` and their `states`, a list for each of `slots`."""
        raise TypeError(f"{type(self).__name__} has no rule")

    def state(self) -> dict[str, Array]:
        """The arrays kept for each parameter, and the number of steps; not copies."""
        return self.slot | {"steps": np.array(self.steps)}

    def load_state(self, state: Mapping[str, Array]) -> None:
        """Continue from a saved `state`.

        Raises:
            ValueError: if it belongs to other parameters or to another rule; nothing is written
            then.
        """
        mine = self.state()
        if odd := mine.keys() ^ state.keys():
            raise ValueError(f"the saved optimiser state differs in {', '.join(sorted(odd))}")
        for name, array in mine.items():
            if array.shape != state[name].shape:
                raise ValueError(f"{name} has shape {array.shape}, not {state[name].shape}")
        for name, array in self.slot.items():
            array[...] = beside(state[name], array)
        self.steps = int(state["steps"])


class SGD(Optimizer):
    """Stochastic gradient descent with momentum, also Nesterov's: v = mu v + g, p -= lr v.

    `momentum` is a number in [0, 1) or a schedule; `weight_decay` adds weight_decay * p to the
    gradient (Sutskever et al. 2013).
    """

    slots = ("velocity",)

    def __init__(
        self,
        parameters: Mapping[str, Tensor],
        lr: float | Schedule,
        *,
        momentum: float | Schedule = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        clip: Clip | None = None,
    ) -> None:
        super().__init__(parameters, lr, clip)
        self.momentum = momentum if callable(momentum) else constant(momentum)
        self.nesterov = nesterov
        self.weight_decay = weight_decay

    def _move(self, ps: list[Array], gs: list[Array], *states: list[Array]) -> None:
        kernels.sgd(
            ps,
            gs,
            *states,
            lr=self._now(self.lr),
            momentum=self._now(self.momentum),
            nesterov=self.nesterov,
            weight_decay=self.weight_decay,
        )


class RMSProp(Optimizer):
    """The gradient divided by a running root mean square of itself (Tieleman & Hinton 2012)."""

    slots = ("square",)

    def __init__(
        self,
        parameters: Mapping[str, Tensor],
        lr: float | Schedule,
        *,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        clip: Clip | None = None,
    ) -> None:
        super().__init__(parameters, lr, clip)
        self.options: dict[str, Any] = {"alpha": alpha, "eps": eps, "weight_decay": weight_decay}

    def _move(self, ps: list[Array], gs: list[Array], *states: list[Array]) -> None:
        kernels.rmsprop(ps, gs, *states, lr=self._now(self.lr), **self.options)


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015, arXiv:1412.6980, Algorithm 1).

    `weight_decay` is decoupled, as in AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101, Algorithm
    2).
    """

    slots = ("mean", "square")

    def __init__(
        self,
        parameters: Mapping[str, Tensor],
        lr: float | Schedule,
        betas: tuple[float, float] = (0.9, 0.999),
        *,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        clip: Clip | None = None,
    ) -> None:
        super().__init__(parameters, lr, clip)
        self.options: dict[str, Any] = {
            "beta1": betas[0],
            "beta2": betas[1],
            "eps": eps,
            "weight_decay": weight_decay,
        }

    def _move(self, ps: list[Array], gs: list[Array], *states: list[Array]) -> None:
        step = varying(lambda: self.steps + 1, np.int64)
        kernels.adam(ps, gs, *states, lr=self._now(self.lr), step=step, **self.options)


def constant(value: float) -> Schedule:
    """The same value at every step."""
    return lambda step: value


def linear(start: float, end: float, steps: int, *, hold: int = 0) -> Schedule:
    """`start` for `hold` steps, then in equal parts to `end` at step `steps`, `end` afterwards."""
    return lambda step: start + (end - start) * min(max(step - hold, 0) / (steps - hold), 1.0)


def exponential(start: float, factor: float, least: float = 0.0) -> Schedule:
    """`start` times `factor` for every step taken, but not below `least`."""
    return lambda step: max(start * factor**step, least)


def cosine(start: float, end: float, steps: int) -> Schedule:
    """Half a cosine from `start` to `end` over `steps` steps (Loshchilov & Hutter 2017,
    arXiv:1608.03983).
    """
    return lambda step: end + 0.5 * (start - end) * (1 + math.cos(math.pi * min(step / steps, 1.0)))


def warming(most: float) -> Schedule:
    """min(most, (1 + step) / (10 + step)): the decay of an average that soon forgets how it began,
    as in TensorFlow's ExponentialMovingAverage.
    """
    return lambda step: min(most, (1 + step) / (10 + step))


def scheduled(schedule: Schedule, step: int) -> Any:
    """What a schedule says of the round of number `step`, by which to multiply float32 arrays.

    A round that asks in this way for what depends on its number can be replayed from a graph.
    """
    return of_round(schedule, step)


def clip_by_value(gradients: Gradients, limit: float) -> dict[str, Tensor]:
    """Every value of every gradient limited to [-limit, limit]."""
    return {n: Tensor(np.clip(g.data, -limit, limit)) for n, g in gradients.items()}


def clip_by_norm(gradients: Gradients, limit: float) -> dict[str, Tensor]:
    """All gradients scaled together so that their joint Euclidean norm is at most `limit`.

    Pascanu et al. 2013, arXiv:1211.5063, Algorithm 1.
    """
    norm = np.sqrt(sum(np.square(g.data, dtype=np.float64).sum() for g in gradients.values()))
    scale = limit / np.fmax(norm, limit)  # 1 where the norm is below the limit, or NaN
    return {n: Tensor(g.data * scale.astype(g.dtype)) for n, g in gradients.items()}


def clip_weights(parameters: Mapping[str, Tensor], limit: float) -> None:
    """Limit parameters to [-limit, limit], in place (Arjovsky et al. 2017, arXiv:1701.07875)."""
    with writable(*(p.data for p in parameters.values())):
        for p in parameters.values():
            np.clip(p.data, -limit, limit, out=p.data)


def project_to_sphere(table: Tensor, rows: Any = slice(None)) -> None:
    """Scale these rows of a table (rows, d), or all, to length 1, in place; after each step, say
    (Bojanowski et al. 2018, arXiv:1707.05776).
    """
    with writable(table.data):
        z = table.data[rows]
        table.data[rows] = z / np.sqrt(np.square(z).sum(axis=1, keepdims=True))


def average(slow: Module, fast: Module, decay: float | Schedule, step: int = 0) -> None:
    """Move the parameters and floating-point buffers of `slow` towards `fast`'s, in place.

    slow = decay slow + (1 - decay) fast: the exponential moving average that many GANs sample from
    (Yazici et al. 2019, arXiv:1806.04498). `slow` starts as `fast.copy()`. Buffers are averaged
    alike, because weights without their batch-norm moments are another network; buffers of whole
    numbers are copied. `decay` may depend on `step`, the number of the round.
    """
    weight = scheduled(lambda n: 1 - decay(n), step) if callable(decay) else 1 - decay
    target, mine = fast.state(), slow.state()
    with writable(*mine.values()):
        for name, array in mine.items():
            if array.dtype.kind == "f":
                array += weight * (target[name] - array)
            else:
                array[...] = target[name]
