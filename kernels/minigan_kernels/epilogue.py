"""The epilogue of a convolution, y = f(x + bias): fused with it where its kernel can do so."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

ACTIVATIONS = ("leaky_relu", "tanh", "sigmoid")


@dataclass(frozen=True)
class Epilogue:
    """The activation f of an epilogue f(x + bias): one of ACTIVATIONS.

    The derivative of each follows from y = f(x + bias) alone. A leaky ReLU has a `slope` from 0
    (ReLU) to 1 (no activation); the others have none.

    Raises:
        ValueError: if there is no such activation, or the slope is not one of it.
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
            fits = self.slope is not None and is_slope(self.slope)
        if not fits:
            raise ValueError(
                f"{self.slope} is no slope of a {self.activation}: it must be from 0 to 1 for a "
                "leaky_relu, and None for others"
            )

    @property
    def options(self) -> dict[str, float]:
        """The keyword arguments of `bias_<activation>` and `bias_<activation>_backward`."""
        return {} if self.slope is None else {"slope": self.slope}

    def apply(self, twin: ModuleType, x: Any, bias: Any) -> Any:
        """f(x + bias) by the module `activation` of a twin: a pass of its own over x.

        Raises:
            ValueError: if x is not (N, C, ...), or bias not (C,).
        """
        check_bias(x.shape, bias.shape)
        return getattr(twin, f"bias_{self.activation}")(x, bias, **self.options)


def is_slope(slope: float) -> bool:
    """Whether the sign of y = leaky_relu(x) is that of x, so that y tells its derivative."""
    return 0 <= slope <= 1


def check_slope(slope: float) -> None:
    """Check the slope of a leaky ReLU whose derivative is taken from its output.

    Raises:
        ValueError: if it is not from 0 to 1.
    """
    if not is_slope(slope):
        raise ValueError(f"the slope of a leaky ReLU must be from 0 to 1, but is {slope}")


LINEAR = Epilogue("leaky_relu", 1.0)  # adds the bias, and does no more


def check_bias(shape: tuple[int, ...], bias_shape: tuple[int, ...]) -> None:
    """Check that the bias of images of `shape` (N, C, ...) is (C,).

    Raises:
        ValueError: naming both shapes.
    """
    if tuple(bias_shape) != tuple(shape[1:2]):
        raise ValueError(f"a result {tuple(shape)} needs a bias {tuple(shape[1:2])}, not "
                         f"{tuple(bias_shape)}")  # fmt: skip
