"""Optimisers: SGD, RMSProp, Adam."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import minigan_kernels as kernels
import numpy as np
from minigan_kernels.memo import freeze, writable

from ..device import asarray_like, on_host
from ..device.graph_inputs import graph_scalar, on_replay
from ..nn.arguments import Interval
from ..nn.parameters import Parameters
from ..nn.saved import fitted, plain
from ..tensor import Array, Tensor
from .clipping import Clip, Gradients
from .parameters import check_dict, check_parameter, check_parameters, gradient_array
from .schedules import Schedule, checked

_RATE = Interval("[0, inf]")  # an infinite one diverges, and the run says so
_DECAY, _SHARE, _EPS = Interval("[0, inf)"), Interval("[0, 1)"), Interval("(0, inf)")


class Rate:
    """An attribute of an optimiser that is set as a number or as a schedule, and is a schedule.

    Its values must be in `interval`.
    """

    def __init__(self, interval: Interval) -> None:
        self.interval = interval

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, optimizer: Any, kind: type | None = None) -> Any:
        return self if optimizer is None else vars(optimizer)[self.name]

    def __set__(self, optimizer: Any, value: float | Schedule) -> None:
        what = f"the {self.name} of {type(optimizer).__name__}"
        vars(optimizer)[self.name] = checked(value, self.interval, what)


class Optimizer:
    """A rule that updates parameters by their gradients.

    `parameters` are tensors by name, as a module's `parameters()` gives them; their arrays become
    read-only. `lr` is a number of at least 0 or a schedule, a function of the number of updates
    done; it can be set at any time. `clip`, if given, is applied to the gradients first:
    `partial(clip_by_norm, limit=1.0)`, say.

    It follows parameters that `Module.astype` and `Module.to` convert. One that is replaced by
    another tensor (`net.weight = ...`) needs a new optimiser. It can be copied and pickled, best
    together with its module: (net, optimizer).

    Raises:
        TypeError: if `parameters` are no tensors by name.
        ValueError: naming a parameter that cannot be moved: of integers, computed, read-only, or
            there under two names; or a number that is outside of its range.
    """

    slots: tuple[str, ...] = ()  # names of the arrays that the rule keeps for each parameter
    lr = Rate(_RATE)

    def __init__(
        self, parameters: Mapping[str, Tensor], lr: float | Schedule, clip: Clip | None = None
    ) -> None:
        check_parameters(parameters, type(self).__name__)
        if clip is not None and not callable(clip):
            raise TypeError(
                f"clip is a function of gradients, such as partial(clip_by_norm, limit=1.0), not "
                f"{clip!r}"
            )
        self.parameters = Parameters(parameters)
        self.lr = lr
        self.clip = clip
        self.steps = 0  # updates done
        self.slot: dict[str, Array] = {}
        self._prepare()

    def _prepare(self) -> None:
        self._arrays: dict[str, Array] = {}  # of the parameters, for which the state is prepared
        for kind in self.slots:
            for name, p in self.parameters.items():
                self._fit_slot(f"{kind}.{name}", p)
        for name, p in self.parameters.items():
            freeze(p.data)
            self._arrays[name] = p.data
        named = self.parameters
        self._places = [(owner, key, named[n]) for n, (owner, key) in named.places.items()]

    def _fit_slot(self, key: str, p: Tensor) -> None:
        """Let an array of the state have its parameter's dtype, device and order in memory."""
        array = self.slot.get(key)
        if array is None:
            self.slot[key] = np.zeros_like(p.data)
        elif (
            array.dtype != p.dtype
            or array.strides != p.data.strides
            or on_host(array) != on_host(p.data)
        ):
            self.slot[key] = np.empty_like(p.data)
            self.slot[key][...] = asarray_like(array, p.data)

    def step(self, gradients: Gradients) -> None:
        """Update every parameter once; `gradients` must have exactly their names.

        Raises:
            TypeError: if they are no tensors or arrays by name.
            ValueError: if a gradient is missing, belongs to no parameter or has another shape, or a
                parameter was replaced; no parameter has changed then.
        """
        if type(gradients) is not dict:
            check_dict(gradients, "a step")
        if odd := self.parameters.keys() ^ gradients.keys():
            raise ValueError(f"parameters and gradients differ in {', '.join(sorted(odd))}")
        self._check_places()
        gs = []
        for name, p in self.parameters.items():
            if p.data is not self._arrays[name]:
                self._follow(name, p)
            g = gradients[name]
            array = g.data if type(g) is Tensor else gradient_array(name, g)
            if array.dtype is not p.data.dtype:
                gradient_array(name, array)
            if array.shape != p.data.shape:
                raise ValueError(f"the gradient of {name} is {array.shape}, not {p.shape}")
            gs.append(array)
        if self.clip is not None:
            gs = self._clipped(gradients)
        ps = [p.data for p in self.parameters.values()]
        states = [[self.slot[f"{kind}.{n}"] for n in self.parameters] for kind in self.slots]
        if ps:
            with writable(*ps):
                self._move(ps, gs, *states)
        on_replay(self._count)

    def _clipped(self, gradients: Gradients) -> list[Array]:
        """The arrays of the gradients that the clipper gives, whose shapes are those of before."""
        assert self.clip is not None
        clipped = self.clip(gradients)
        if not isinstance(clipped, Mapping):
            raise TypeError(f"clip must give a dict of gradients, not a {type(clipped).__name__}")
        if odd := self.parameters.keys() ^ clipped.keys():
            raise ValueError(f"parameters and clipped gradients differ in {', '.join(sorted(odd))}")
        gs = [gradient_array(name, clipped[name]) for name in self.parameters]
        for (name, p), g in zip(self.parameters.items(), gs, strict=True):
            if g.shape != p.shape:
                raise ValueError(f"the clipped gradient of {name} is {g.shape}, not {p.shape}")
        return gs

    def _check_places(self) -> None:
        """Make sure that all parameters are still where they were found."""
        try:
            replaced = [p for owner, key, p in self._places if owner[key] is not p]
        except (KeyError, IndexError):
            replaced = [p for owner, key, p in self._places if not _holds(owner, key, p)]
        if replaced:
            names = [n for n, p in self.parameters.items() if any(p is one for one in replaced)]
            raise ValueError(
                f"{', '.join(names)} was replaced by another tensor since the optimiser was made, "
                "or removed; build a new optimiser"
            )

    def _follow(self, name: str, p: Tensor) -> None:
        """Go on with a parameter that was converted or moved."""
        if p.shape != self._arrays[name].shape:
            raise ValueError(
                f"{name} has changed its shape from {self._arrays[name].shape} to {p.shape}; build "
                "a new optimiser"
            )
        check_parameter(name, p, type(self).__name__)
        for kind in self.slots:
            self._fit_slot(f"{kind}.{name}", p)
        freeze(p.data)
        self._arrays[name] = p.data

    def _count(self) -> None:
        self.steps += 1

    def _now(self, schedule: Schedule) -> Any:
        """The value of a schedule for this update."""
        return graph_scalar(lambda: schedule(self.steps), np.float64)

    def _move(self, ps: list[Array], gs: list[Array], *states: list[Array]) -> None:
        """Write all parameters `ps` and their `states`, a list for each of `slots`."""
        raise TypeError(f"{type(self).__name__} has no rule")

    def arrays(self) -> dict[str, Array]:
        """The arrays kept for each parameter, not copies, and as "steps" the number of updates."""
        return self.slot | {"steps": np.array(self.steps)}

    def state(self) -> dict[str, np.ndarray]:
        """What is kept for each parameter, and as "steps" the number of updates, to be saved.

        They are read-only NumPy arrays in C order: copies.
        """
        return plain(self.arrays())

    def load_state(self, state: Mapping[str, Array]) -> None:
        """Continue from a saved `state`.

        Raises:
            ValueError: if it belongs to other parameters or to another rule; nothing is written
                then.
        """
        found = fitted(self.arrays(), state, type(self).__name__)
        steps = int(found["steps"])
        if steps < 0:
            raise ValueError(f"steps is the number of updates done, not {steps}")
        for name, array in self.slot.items():
            array[...] = found[name]
        self.steps = steps

    def __getstate__(self) -> dict[str, Any]:
        made = "_arrays", "_places"
        return {name: value for name, value in vars(self).items() if name not in made}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._prepare()  # a copied array is writable, and an unpickled one in C order

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.parameters)} parameters, {self.steps} updates)"


def _holds(owner: Any, key: Any, p: Tensor) -> bool:
    try:
        return owner[key] is p
    except (KeyError, IndexError):
        return False


class SGD(Optimizer):
    """Stochastic gradient descent with momentum, also Nesterov's: v = mu v + g, p -= lr v.

    `momentum` is a number in [0, 1) or a schedule; `weight_decay` adds weight_decay * p to the
    gradient (Sutskever et al. 2013).
    """

    slots = ("velocity",)
    momentum = Rate(_SHARE)

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
        self.momentum = momentum
        self.nesterov = nesterov
        self.weight_decay = _DECAY.check(weight_decay, "the weight_decay of SGD")

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
    """The gradient divided by a running root mean square of itself (Tieleman & Hinton 2012).

    `alpha`, the decay of that mean, is in [0, 1), `eps` above 0.
    """

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
        self.options: dict[str, Any] = {
            "alpha": _SHARE.check(alpha, "the alpha of RMSProp"),
            "eps": _EPS.check(eps, "the eps of RMSProp"),
            "weight_decay": _DECAY.check(weight_decay, "the weight_decay of RMSProp"),
        }

    def _move(self, ps: list[Array], gs: list[Array], *states: list[Array]) -> None:
        kernels.rmsprop(ps, gs, *states, lr=self._now(self.lr), **self.options)


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015, arXiv:1412.6980, Algorithm 1).

    Both `betas` are in [0, 1), and `eps` is above 0. `weight_decay` is decoupled, as in AdamW
    (Loshchilov & Hutter 2019, arXiv:1711.05101, Algorithm 2).
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
        if not isinstance(betas, tuple | list) or len(betas) != 2:
            raise TypeError(f"the betas of Adam are two numbers, such as (0.9, 0.999), not {betas}")
        self.options: dict[str, Any] = {
            "beta1": _SHARE.check(betas[0], "the first beta of Adam"),
            "beta2": _SHARE.check(betas[1], "the second beta of Adam"),
            "eps": _EPS.check(eps, "the eps of Adam"),
            "weight_decay": _DECAY.check(weight_decay, "the weight_decay of Adam"),
        }

    def _move(self, ps: list[Array], gs: list[Array], *states: list[Array]) -> None:
        update = graph_scalar(lambda: self.steps + 1, np.int64)
        kernels.adam(ps, gs, *states, lr=self._now(self.lr), step=update, **self.options)
