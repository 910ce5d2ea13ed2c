"""A table of a network's layers: output shapes, parameters, multiply-adds."""

from __future__ import annotations

import html
from typing import Any, NamedTuple

import numpy as np

from ..tensor import Tensor, no_grad
from .module import Module, watching


class Row(NamedTuple):
    """One layer of a summary."""

    name: str
    layer: str
    output: tuple[int, ...]
    parameters: int
    multiply_adds: int


class Summary(list[Row]):
    """The rows of a network's summary; as a string, the table with its totals.

    >>> rows = nn.summary(nn.Linear(3, 2, rng=rng), mg.Tensor(rng.normal((4, 3))))
    >>> rows[0].parameters
    8
    """

    def _cells(self) -> list[tuple[str, ...]]:
        total = Row(
            "", "total", (), sum(r.parameters for r in self), sum(r.multiply_adds for r in self)
        )
        cells: list[tuple[str, ...]] = [("name", "layer", "output", "parameters", "multiply-adds")]
        return cells + [
            (
                r.name,
                r.layer,
                " x ".join(map(str, r.output)),
                f"{r.parameters:,}",
                f"{r.multiply_adds:,}",
            )
            for r in [*self, total]
        ]

    def __str__(self) -> str:
        cells = self._cells()
        widths = [max(len(row[i]) for row in cells) for i in range(5)]
        lines = [
            "  ".join(
                cell.ljust(width) if i < 3 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in cells
        ]
        rule = "-" * max(map(len, lines))
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])

    def _repr_html_(self) -> str:
        rows = []
        for number, cells in enumerate(self._cells()):
            tag, row = "td" if number else "th", ""
            for i, cell in enumerate(cells):
                side = "left" if i < 3 else "right"
                row += f'<{tag} style="text-align: {side}">{html.escape(cell)}</{tag}>'
            rows.append(f"<tr>{row}</tr>")
        return f"<table>{''.join(rows)}</table>"


def summary(network: Module, *inputs: Any) -> Summary:
    """One row for each layer without parts, in the order of its call on `inputs`.

    An input is a tensor, an array, or a shape, (3, 64, 64), of one sample; or of a batch, which has
    an axis more. The forward pass runs in inference and is not recorded; the network does not
    change. A parameter that two layers share is counted once.

    >>> len(nn.summary(nn.Sequential(nn.Tanh(), nn.ReLU()), mg.Tensor([1.0])))
    2
    """
    if any(map(_is_shape, inputs)):
        try:
            return _summary(network, *(_zeros((1, *x)) if _is_shape(x) else x for x in inputs))
        except ValueError as error:
            try:
                return _summary(network, *(_zeros(x) if _is_shape(x) else x for x in inputs))
            except ValueError:
                raise error from None  # of the batch that was meant first
    return _summary(network, *inputs)


def _is_shape(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(n, int) for n in value)


def _zeros(shape: tuple[int, ...]) -> Tensor:
    return Tensor(np.zeros(shape, np.float32))


def _summary(network: Module, *inputs: Any) -> Summary:
    names = {id(module): name for name, module in network.modules().items()}
    rows, counted = Summary(), set[int]()

    def watch(module: Module, given: tuple[Any, ...], output: Any) -> None:
        if id(module) not in names or not _is_layer(module):
            return
        new = {id(p): p for p in module.parameters().values() if id(p) not in counted}
        counted.update(new)
        rows.append(
            Row(
                names[id(module)],
                type(module).__name__,
                output.shape,
                sum(p.size for p in new.values()),
                module.multiply_adds(given[0].shape, output.shape),
            )
        )

    with watching(watch), network.evaluating(), no_grad():
        network(*inputs)
    return rows


def _is_layer(module: Module) -> bool:
    """Whether a module has a row: it has parameters of its own, or no parts at all."""
    own = any(isinstance(value, Tensor) for value in vars(module).values())
    return own or len(module.modules()) == 1
