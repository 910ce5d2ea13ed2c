"""The layers that occur in a recipe's networks, each alone: minigan beside PyTorch's best.

A convolution is timed as in `kernels`: nothing is kept between calls ("minigan"), or what the
engine keeps of frozen arrays is there ("kept"); a training step is in between. A dense layer and
batch norm with ReLU are timed through the engine. PyTorch has the better of its two layouts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import minigan as mg
from minigan import nn

from . import kernels, table
from .kernels import KEPT, OURS
from .layers import DIRECTIONS, Layer
from .peers import module
from .settings import Settings, say
from .timing import Step, compare

BUDGET = 1.3  # seconds for one layer and direction
SHORT = 1.0  # a ratio below it is a layer that falls short


@dataclass(frozen=True)
class Place:
    """A layer at a size: what it takes and gives, and which window a convolution has."""

    kind: str  # conv, transposed, dense or norm
    takes: tuple[int, ...]
    gives: tuple[int, ...]
    window: tuple[int, int, int] = (1, 1, 0)  # pixels of the kernel, stride, padding

    @property
    def name(self) -> str:
        sides = f" {self.takes[2]}→{self.gives[2]}" if len(self.takes) == 4 else ""
        channels = f"{self.takes[1]}→{self.gives[1]}" if self.kind != "norm" else f"{self.takes[1]}"
        by = f" by {self.window[0]}x{self.window[0]}" if self.kind in ("conv", "transposed") else ""
        return f"{self.kind} {channels}{sides}{by}"

    def conv(self) -> Layer | None:
        """The convolution as `kernels` describes it; None if its edges are no such one's."""
        kernel, stride, padding = self.window
        large, small = self.takes, self.gives
        if self.kind == "transposed":
            large, small = small, large
        player = "G" if self.kind == "transposed" else "D"
        found = Layer(player, large[0], large[1], small[1], large[2], stride, padding, kernel)
        square = large[2] == large[3] and small[2] == small[3] == found.small
        return found if square else None


def places(name: str, shape: tuple[int, int, int], batch: int) -> tuple[list[Place], list[str]]:
    """The layers of a recipe, each once, and the names of those that are not timed here."""
    found: dict[Place, None] = {}
    left_out: dict[str, None] = {}
    for kind, layer, takes, gives in module_or_fail("torch_layers").layers(name, shape, batch):
        place = Place(kind, takes, gives)
        if kind in ("conv", "transposed"):
            sides = layer.kernel_size, layer.stride, layer.padding
            kernel, stride, padding = (pair[0] for pair in sides)
            place = Place(kind, takes, gives, (kernel, stride, padding))
            even = all(pair[0] == pair[1] for pair in sides)
            if not even or layer.groups > 1 or max(layer.dilation) > 1 or place.conv() is None:
                left_out[place.name] = None
                continue
        found[place] = None
    return [*found], [*left_out]


def measure(place: Place, settings: Settings) -> list[dict[str, Any]]:
    """A row for each direction of a layer."""
    rows = []
    for direction, (mine, theirs) in _steps(place).items():
        say(f"layers: {place.name} {direction}")
        found = compare(mine | theirs, budget=settings.budget(BUDGET), prime=True)
        peer = found.fastest(theirs, OURS)
        assert peer is not None
        rows.append({
            "name": place.name,
            "batch": place.takes[0],
            "direction": direction,
            "times": found.timings(),
            "peer": peer,
            "ratios": {name: found.ratio(peer, name) for name in mine},
        })  # fmt: skip
    return rows


def _steps(place: Place) -> dict[str, tuple[dict[str, Step], dict[str, Step]]]:
    """By direction, the calls of minigan and those of PyTorch."""
    if place.kind in ("conv", "transposed"):
        layer = place.conv()
        assert layer is not None
        arrays, torch = kernels.operands(layer), module_or_fail("torch_kernels")
        return {
            direction: (
                {
                    OURS: kernels.ours(layer, direction, arrays),
                    KEPT: kernels.kept(layer, direction, arrays),
                },
                torch.conv(layer, direction, *arrays.values()),
            )
            for direction in DIRECTIONS
        }
    rng = np.random.default_rng(0)
    x, g = (rng.standard_normal(s, np.float32) for s in (place.takes, place.gives))
    if x.ndim == 4:
        x, g = kernels.image(x), kernels.image(g)
    net: nn.Module
    if place.kind == "dense":
        net = nn.Linear(x.shape[1], g.shape[1], bias=False, rng=mg.Generator(0))
    else:
        net = nn.BatchNorm(x.shape[1], activation=nn.ReLU())
    theirs = module_or_fail("torch_layers").steps(net, x, g)
    return {
        direction: ({OURS: step}, theirs[direction]) for direction, step in _ours(net, x, g).items()
    }


def _ours(net: nn.Module, x: np.ndarray, g: np.ndarray) -> dict[str, Step]:
    leaf, back = mg.Tensor(x), mg.Tensor(g)
    y, own = net(leaf), net.parameters()

    def forward() -> object:
        with mg.no_grad():
            return net(leaf)

    def dx() -> object:
        return mg.grad(y, leaf, grad_output=back)

    if isinstance(net, nn.Linear):
        dw = own["weight"]
        return {"forward": forward, "dx": dx, "dw": lambda: mg.grad(y, dw, grad_output=back)}
    every = {"x": leaf, **own}
    return {"forward": forward, "backward": lambda: mg.grad(y, every, grad_output=back)}


def module_or_fail(name: str) -> Any:
    """A file of peers.

    Raises:
        UserError: if PyTorch is not installed, with which layers are compared.
    """
    from minigan.errors import UserError

    found = module(name)
    if found is None:
        raise UserError("layers are compared with PyTorch's: pip install torch, or say --no-layers")
    return found


def show(rows: list[dict[str, Any]], left_out: list[str]) -> None:
    """Print the table, and which layers fall short."""
    cells = [
        [
            row["name"],
            row["direction"],
            table.seconds(row["times"][OURS]),
            table.seconds(row["times"][row["peer"]]),
            table.times(row["ratios"][OURS]),
            table.spread_of_ratio(row["ratios"][OURS]),
            table.seconds(row["times"].get(KEPT)),
            table.times(row["ratios"].get(KEPT)),
            ", ".join(row["recipes"]),
        ]
        for row in rows
    ]
    short = [
        f"{row['name']} {row['direction']} ({table.times(row['ratios'][OURS])})"
        for row in sorted(rows, key=lambda row: row["ratios"][OURS]["median"])
        if row["ratios"][OURS]["median"] < SHORT
    ]
    notes = "A ratio is the time of PyTorch's better layout over minigan's. "
    notes += f"Short of PyTorch: {'; '.join(short) or 'none'}."
    notes += f" Not timed: {'; '.join(left_out)}." if left_out else ""
    heading = ("layer", "", OURS, "PyTorch", "ratio", "quartiles", "kept", "ratio", "in")
    table.show("Layers, each alone", heading, cells, notes)
