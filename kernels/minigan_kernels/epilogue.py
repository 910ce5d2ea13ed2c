"""How a convolution ends: y = f(sums + bias), while the sums are at hand where its kernel can."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

ACTIVATIONS = ("leaky_relu", "tanh", "sigmoid")


@dataclass(frozen=True)
class Epilogue:
    """The activation f of y = f(x + bias): one of ACTIVATIONS, whose derivatives y alone tells.

    A leaky ReLU has a `slope` from 0, which is ReLU, to 1, which is no activation; others have
    none.

    Raises:
        ValueError: if there is no such activation, or the slope is not its own.
    """

    activation: str
    slope: float | None = None

    def __post_init__(self) -> None:
        if self.activation not in ACTIVATIONS:
            known = ", ".join(ACTIVATIONS)
            raise ValueError(f"no epilogue is called {self.activation!r}; there are {known}")
        if self.activation != "leaky_relu":
            fits = self.slope is None
        else:
            fits = self.slope is not None and 0 <= self.slope <= 1
        if not fits:
            raise ValueError(f"{self.slope} is no slope of a {self.activation}")

    @property
    def options(self) -> dict[str, float]:
        """Keywords of the kernels `bias_<activation>` and `bias_<activation>_backward`."""
        return {} if self.slope is None else {"slope": self.slope}

    def apply(self, twin: ModuleType, x: Any, bias: Any) -> Any:
        """f(x + bias) by a twin's module `activation`: a pass of its own.

        Raises:
            ValueError: if x is not (N, C, ...), or bias not (C,).
        """
        check_bias(x.shape, bias.shape)
        return getattr(twin, f"bias_{self.activation}")(x, bias, **self.options)


LINEAR = Epilogue("leaky_relu", 1.0)  # the bias alone


def check_bias(shape: tuple[int, ...], bias_shape: tuple[int, ...]) -> None:
    """A bias for images of `shape` (N, C, ...) must be (C,).

    Raises:
        ValueError: naming both shapes.
    """
    if tuple(bias_shape) != tuple(shape[1:2]):
        raise ValueError(f"a result {tuple(shape)} needs a bias {tuple(shape[1:2])}, not "
                         f"{tuple(bias_shape)}")  # fmt: skip
