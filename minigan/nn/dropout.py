"""Dropout."""

from __future__ import annotations

from ..device import asarray_like
from ..random import Generator, takes_generator
from ..tensor import Tensor, adopt
from .arguments import Interval, check_floating
from .module import Module

_DROPPED, _KEPT = Interval("[0, 1)"), Interval("(0, 1]")
_WHAT = "Dropout drops values with a probability, p, which"


class Dropout(Module):
    """In training set each value to 0 with probability `p`, 0.5 unless given, and scale the others
    by 1 / (1 - p).

    Srivastava et al. 2014. Their paper's p is the probability to keep a value: `keep`, which may be
    given instead of p, by name. The masks come from `rng`, the generator of the whole run.

    Raises:
        TypeError: if both p and keep are given.
        ValueError: if p is not in [0, 1), or keep not in (0, 1].

    >>> layer = nn.Dropout(0.5, rng=rng).eval()  # in inference it does nothing
    >>> layer(mg.Tensor([1.0, 2.0])).numpy()
    array([1., 2.], dtype=float32)
    """

    takes_arrays = True
    draws = "masks"

    @takes_generator
    def __init__(
        self, p: float | None = None, *, rng: Generator, keep: float | None = None
    ) -> None:
        if p is not None and keep is not None:
            raise TypeError("Dropout takes p, or keep, which is 1 - p, but not both")
        if keep is None:
            keep = 1 - _DROPPED.check(0.5 if p is None else p, _WHAT)
        self.keep = _KEPT.check(keep, "Dropout keeps values with a probability, keep, which")
        self.rng = rng

    @property
    def p(self) -> float:
        """The probability to drop a value."""
        return 1 - self.keep

    @p.setter
    def p(self, p: float) -> None:
        self.keep = 1 - _DROPPED.check(p, _WHAT)

    def extra_repr(self) -> str:
        return f"p={self.p:.6g}"

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.keep == 1:
            return x
        check_floating(self, x)
        mask = self.rng.dropout_mask(x.shape, self.keep)
        return x * adopt(asarray_like(mask.astype(x.dtype, copy=False), x.data))
