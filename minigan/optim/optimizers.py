"""Optimisers: SGD, RMSProp, Adam, AdamW."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any

import minigan_kernels as kernels
import numpy as np
from minigan_kernels.memo import freeze, writable

from ..device import asarray_like, on_host
from ..device.graph_inputs import graph_scalar, on_replay
from ..hints import Elsewhere, also, completed
from ..nn import Module
from ..nn.arguments import Interval
from ..nn.parameters import Parameters
from ..nn.saved import fitted, plain
from ..tensor import Array, Tensor
from .clipping import Clip, Gradients
from .parameters import check_dict, check_parameter, check_parameters, collected, gradient_array
from .rates import Group, Rate, SharedRate
from .schedules import Schedule

# What an optimiser is built over: see `Optimizer`.
Trained = Module | Mapping[str, Tensor] | Iterable[Any]
_STEP = "optimizer.step(minigan.grad(loss, net.parameters()))"
# Arguments of PyTorch's optimisers.
_IN_ONE = "all parameters are moved by one kernel; leave it out"
_ARGUMENTS = {
    "amsgrad": "there is no AMSGrad; leave it out",
    "maximize": "minimise the loss with another sign, -loss",
    "dampening": "momentum is v = mu v + g; leave it out",
    "centered": "squares are averaged, and no mean is subtracted; leave it out",
    **dict.fromkeys(("foreach", "fused", "capturable", "differentiable"), _IN_ONE),
}
_DECAY, _SHARE, _EPS = Interval("[0, inf)"), Interval("[0, 1)"), Interval("(0, inf)")


class Optimizer:
    """A rule that updates parameters by their gradients.

    It is built over a module, or over parameters by name, as a module's `parameters()` gives them;
    over a list of these, joined as by `|`; or over a list of tensors, which get their places as
    names. `optimizer.parameters` has them all by name, for `minigan.grad`. Their arrays become
    read-only.

    `lr` is a number of at least 0 or a schedule, a function of the number of updates done; it can
    be set at any time, `optimizer.lr = 1e-4`. In a list of groups, {"params": G, "lr": 1e-4}, some
    may have a rate of their own, then `optimizer.groups[0].lr`; `lr` is that of the others. `clip`,
    if given, is applied to the gradients first: `partial(clip_by_norm, limit=1.0)`, say.

    It follows parameters that `Module.astype` and `Module.to` convert. One that is replaced by
    another tensor (`net.weight = ...`) needs a new optimiser. It can be copied and pickled, best
    together with its module: (net, optimizer).

    Raises:
        TypeError: if `parameters` are none of these.
        ValueError: naming a parameter that cannot be moved: of integers, computed, read-only, or
            there under two names; or a number that is outside of its range.

    >>> net = nn.Linear(3, 1, rng=rng)
    >>> opt = mg.optim.SGD(net.parameters(), lr=0.1)
    >>> loss = mg.square(net(mg.Tensor(rng.normal((8, 3))))).mean()
    >>> opt.step(mg.grad(loss, net.parameters()))
    """

    slots: tuple[str, ...] = ()  # names of the arrays that the rule keeps for each parameter
    lr = SharedRate()
    groups: Sequence[Group] = ()  # if some have a rate of their own: they follow one another

    zero_grad = Elsewhere(f"gradients are kept nowhere, so none are reset: {_STEP}")
    param_groups = Elsewhere(
        "optimizer.lr = 1e-4 sets the rate, optimizer.groups[0].lr that of a group"
    )
    add_param_group = Elsewhere(
        "build it over a list, optim.Adam([G, D], lr), or make a second one"
    )
    state_dict = Elsewhere("say optimizer.state()")
    load_state_dict = Elsewhere("say optimizer.load_state(state)")

    def __init__(self, parameters: Trained, lr: float | Schedule, clip: Clip | None = None) -> None:
        named, groups = collected(parameters, type(self).__name__)
        check_parameters(named, type(self).__name__)
        if clip is not None and not callable(clip):
            raise TypeError(
                f"clip is a function of gradients, such as partial(clip_by_norm, limit=1.0), not "
                f"{clip!r}"
            )
        self.parameters = Parameters(named)
        self.lr = lr
        if groups:
            self.groups = [Group(count, own) for count, own in groups]
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

    def step(self, gradients: Gradients = None) -> None:  # type: ignore[assignment]
        """Update every parameter once; `gradients` must have exactly their names, or be a list of
        as many, if it was built over a list of tensors.

        Raises:
            TypeError: if they are no tensors or arrays by name.
            ValueError: if a gradient is missing, belongs to no parameter or has another shape, or a
                parameter was replaced; no parameter has changed then.
        """
        if type(gradients) is not dict:
            gradients = self._by_name(gradients)
        if odd := self.parameters.keys() ^ gradients.keys():
            raise ValueError(
                f"parameters and gradients differ in {', '.join(sorted(odd))}; "
                "minigan.grad(loss, optimizer.parameters) has the names of all"
            )
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
        rates = [self._now(part.lr if part.has_rate else self.lr) for part in self.groups]
        rates = rates or [self._now(self.lr)]
        if ps:
            with writable(*ps):
                for part, lr in zip(self._parts(), rates, strict=True):
                    if not ps[part]:  # a group of layers that have no parameters
                        continue
                    self._move(ps[part], gs[part], *(s[part] for s in states), lr=lr)
        on_replay(self._count)

    def _parts(self) -> list[slice]:
        """The groups in a list of all parameters."""
        if not self.groups:
            return [slice(None)]
        ends = list(accumulate(part.count for part in self.groups))
        return [slice(end - part.count, end) for part, end in zip(self.groups, ends, strict=True)]

    def _by_name(self, gradients: Any) -> Any:
        """Gradients that are no plain dict, by name."""
        listed = list(self.parameters) == [str(i) for i in range(len(self.parameters))]
        if isinstance(gradients, (list, tuple)) and listed:
            if len(gradients) != len(self.parameters):
                count = len(self.parameters)
                raise ValueError(f"{len(gradients)} gradients are no step of {count} parameters")
            return dict(zip(self.parameters, gradients, strict=True))
        check_dict(gradients, "a step")
        return gradients

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

    def _move(self, ps: list[Array], gs: list[Array], *states: list[Array], lr: Any) -> None:
        """Write the parameters `ps` and their `states`, a list for each of `slots`, at the rate of
        this update.
        """
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

    __dir__ = completed

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

    >>> net = nn.Linear(3, 1, rng=rng)
    >>> opt = mg.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    >>> opt.step(mg.grad(net(mg.Tensor(rng.normal((8, 3)))).mean(), net.parameters()))
    """

    slots = ("velocity",)
    momentum = Rate(_SHARE)

    @also(**_ARGUMENTS)
    def __init__(
        self,
        parameters: Trained,
        lr: float | Schedule,
        momentum: float | Schedule = 0.0,
        *,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        clip: Clip | None = None,
    ) -> None:
        super().__init__(parameters, lr, clip)
        self.momentum = momentum
        self.nesterov = nesterov
        self.weight_decay = _DECAY.check(weight_decay, "the weight_decay of SGD")

    def _move(self, ps: list[Array], gs: list[Array], *states: list[Array], lr: Any) -> None:
        kernels.sgd(
            ps,
            gs,
            *states,
            lr=lr,
            momentum=self._now(self.momentum),
            nesterov=self.nesterov,
            weight_decay=self.weight_decay,
        )


class RMSProp(Optimizer):
    """The gradient divided by a running root mean square of itself (Tieleman & Hinton 2012).

    `alpha`, the decay of that mean, is in [0, 1), `eps` above 0.

    >>> net = nn.Linear(3, 1, rng=rng)
    >>> opt = mg.optim.RMSProp(net.parameters(), lr=5e-5)
    >>> opt.step(mg.grad(net(mg.Tensor(rng.normal((8, 3)))).mean(), net.parameters()))
    """

    slots = ("square",)

    @also(**_ARGUMENTS)
    def __init__(
        self,
        parameters: Trained,
        lr: float | Schedule,
        alpha: float = 0.99,
        eps: float = 1e-8,
        *,
        weight_decay: float = 0.0,
        clip: Clip | None = None,
    ) -> None:
        super().__init__(parameters, lr, clip)
        self.options: dict[str, Any] = {
            "alpha": _SHARE.check(alpha, "the alpha of RMSProp"),
            "eps": _EPS.check(eps, "the eps of RMSProp"),
            "weight_decay": _DECAY.check(weight_decay, "the weight_decay of RMSProp"),
        }

    def _move(self, ps: list[Array], gs: list[Array], *states: list[Array], lr: Any) -> None:
        kernels.rmsprop(ps, gs, *states, lr=lr, **self.options)


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015, arXiv:1412.6980, Algorithm 1).

    Both `betas` are in [0, 1), and `eps` is above 0. `weight_decay` adds weight_decay * p to the
    gradient, an L2 penalty; `AdamW` has the decoupled one.

    >>> net = nn.Linear(3, 1, rng=rng)
    >>> opt = mg.optim.Adam(net.parameters(), lr=2e-4, betas=(0.5, 0.999))
    >>> opt.step(mg.grad(net(mg.Tensor(rng.normal((8, 3)))).mean(), net.parameters()))
    """

    slots = ("mean", "square")
    decoupled = False  # whether the decay is apart from the gradient

    @also(**_ARGUMENTS)
    def __init__(
        self,
        parameters: Trained,
        lr: float | Schedule,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        clip: Clip | None = None,
    ) -> None:
        super().__init__(parameters, lr, clip)
        kind = type(self).__name__
        if not isinstance(betas, tuple | list) or len(betas) != 2:
            raise TypeError(
                f"the betas of {kind} are two numbers, such as (0.9, 0.999), not {betas}"
            )
        self.options: dict[str, Any] = {
            "beta1": _SHARE.check(betas[0], f"the first beta of {kind}"),
            "beta2": _SHARE.check(betas[1], f"the second beta of {kind}"),
            "eps": _EPS.check(eps, f"the eps of {kind}"),
            "weight_decay": _DECAY.check(weight_decay, f"the weight_decay of {kind}"),
        }

    def _move(self, ps: list[Array], gs: list[Array], *states: list[Array], lr: Any) -> None:
        update = graph_scalar(lambda: self.steps + 1, np.int64)
        options = {"decoupled": self.decoupled, "step": update, **self.options}
        kernels.adam(ps, gs, *states, lr=lr, **options)


class AdamW(Adam):
    """Adam with a decoupled `weight_decay`, 0.01 unless given, which shrinks p by lr * weight_decay
    * p beforehand (Loshchilov & Hutter 2019, arXiv:1711.05101, Algorithm 2).

    >>> net = nn.Linear(3, 1, rng=rng)
    >>> opt = mg.optim.AdamW(net.parameters(), lr=2e-4, weight_decay=0.05)
    >>> opt.step(mg.grad(net(mg.Tensor(rng.normal((8, 3)))).mean(), net.parameters()))
    """

    decoupled = True

    @also(**_ARGUMENTS)
    def __init__(
        self,
        parameters: Trained,
        lr: float | Schedule,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        *,
        clip: Clip | None = None,
    ) -> None:
        super().__init__(parameters, lr, betas, eps, weight_decay, clip=clip)
