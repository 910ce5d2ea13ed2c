"""Optimisers: SGD, RMSProp, Adam."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import minigan_kernels as kernels
import numpy as np
from minigan_kernels.memo import freeze, writable

from ..device import asarray_like
from ..device.graph_inputs import graph_scalar, on_replay
from ..tensor import Array, Tensor
from .clipping import Clip, Gradients
from .schedules import Schedule, constant


class Optimizer:
    """A rule that updates parameters by their gradients.

    `parameters` are tensors by name; their arrays become read-only. `lr` is a number or a schedule,
    a function of the number of updates done. `clip`, if given, is applied to the gradients first:
    `partial(clip_by_norm, limit=1.0)`, say.
    """

    slots: tuple[str, ...] = ()  # names of the arrays that the rule keeps for each parameter

    def __init__(
        self, parameters: Mapping[str, Tensor], lr: float | Schedule, clip: Clip | None = None
    ) -> None:
        self.parameters = dict(parameters)
        self.lr = lr if callable(lr) else constant(lr)
        self.clip = clip
        self.steps = 0  # updates done
        self.slot = {
            f"{kind}.{name}": np.zeros_like(p.data)
            for kind in self.slots
            for name, p in self.parameters.items()
        }
        for p in self.parameters.values():
            freeze(p.data)

    def step(self, gradients: Gradients) -> None:
        """Update every parameter once; `gradients` must have exactly their names.

        Raises:
            ValueError: if a gradient is missing, belongs to no parameter or has another shape; no
                parameter has changed then.
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
        on_replay(self._count)

    def _count(self) -> None:
        self.steps += 1

    def _now(self, schedule: Schedule) -> Any:
        """The value of a schedule for this update."""
        return graph_scalar(lambda: schedule(self.steps), np.float64)

    def _move(self, ps: list[Array], gs: list[Array], *states: list[Array]) -> None:
        """Write all parameters `ps` and their `states`, a list for each of `slots`."""
        raise TypeError(f"{type(self).__name__} has no rule")

    def state(self) -> dict[str, Array]:
        """The arrays kept for each parameter, and as "steps" the number of updates; not copies."""
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
            array[...] = asarray_like(state[name], array)
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
        update = graph_scalar(lambda: self.steps + 1, np.int64)
        kernels.adam(ps, gs, *states, lr=self._now(self.lr), step=update, **self.options)
