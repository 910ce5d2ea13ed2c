"""Learning rates and momenta as attributes of optimisers and of their groups."""

from __future__ import annotations

from typing import Any

from ..nn.arguments import Interval
from .schedules import Schedule, checked

_RATE = Interval("[0, inf]")  # an infinite one diverges, and the run says so


class Rate:
    """An attribute of an optimiser that is set as a number or as a schedule, and is a schedule.

    Its values must be in `interval`.
    """

    def __init__(self, interval: Interval = _RATE) -> None:
        self.interval = interval

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, optimizer: Any, kind: type | None = None) -> Any:
        if optimizer is None:
            return self
        try:
            return vars(optimizer)[self.name]
        except KeyError:  # of a group without a rate of its own
            raise AttributeError(f"{type(optimizer).__name__} has no {self.name}") from None

    def __set__(self, optimizer: Any, value: float | Schedule) -> None:
        what = f"the {self.name} of {type(optimizer).__name__}"
        vars(optimizer)[self.name] = checked(value, self.interval, what)


class SharedRate(Rate):
    """The learning rate of an optimiser, of all its groups that have none of their own."""

    def __set__(self, optimizer: Any, value: float | Schedule) -> None:
        if optimizer.groups and all(group.has_rate for group in optimizer.groups):
            kind = type(optimizer).__name__
            raise ValueError(
                f"each group of {kind} has a rate of its own: set optimizer.groups[0].lr"
            )
        super().__set__(optimizer, value)


class Group:
    """`count` of an optimiser's parameters; `lr`, once it is set, is a rate of their own."""

    lr = Rate()

    def __init__(self, count: int, lr: float | Schedule | None) -> None:
        self.count = count
        if lr is not None:
            self.lr = lr

    @property
    def has_rate(self) -> bool:
        return "lr" in vars(self)
