"""A table of a network's layers: output shapes, parameters, multiply-adds."""

from __future__ import annotations

from typing import Any, NamedTuple

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
    """The rows of a network's summary; as a string, the table with its totals."""

    def __str__(self) -> str:
        total = Row(
            "", "total", (), sum(r.parameters for r in self), sum(r.multiply_adds for r in self)
        )
        cells = [("name", "layer", "output", "parameters", "multiply-adds")]
        cells += [
            (
                r.name,
                r.layer,
                " x ".join(map(str, r.output)),
                f"{r.parameters:,}",
                f"{r.multiply_adds:,}",
            )
            for r in [*self, total]
        ]
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


def summary(network: Module, *inputs: Tensor) -> Summary:
    """One row for each layer without parts, in the order of its call on `inputs`.

    The forward pass runs in inference and is not recorded; the network does not change. A parameter
    that two layers share is counted once.
    """
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
