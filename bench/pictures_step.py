"""Training steps of recipes on colour pictures: `python -m bench pictures-step --sizes 64 128`.

A step of each recipe takes turns with PyTorch's of the same networks, in one process; the networks
are whatever the recipe makes for that size, and PyTorch's are their twins. Beside the times there
are the peak memory of each, alone in a process, and the layers that occur, each direction alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .settings import Settings, exit_code, say
from .threads import limit, processors

PART = "pictures-step"
RECIPES = ("sngan", "wgan_gp", "lsgan", "began", "dcgan")
SIZES, BATCH, CHANNELS = (64, 128), 64, 3
BUDGET = 60.0  # seconds for one recipe at one size
QUICK = {"sizes": [32], "batch": 4}


def main(words: Sequence[str]) -> int:
    """Measure, print and save; 2 if what was asked cannot be done."""
    options = _parse(words)
    cores = len(processors())  # before `limit` takes some away
    limit(options.threads or cores)  # before NumPy and everything else comes in
    settings = Settings(options.threads or cores, options.quick)

    def run() -> int:
        from . import results

        found = results.complete(PART, settings, cores, lambda: measure(options, settings))
        show(found)
        name = PART if settings.threads == cores else f"{PART}-{settings.threads}"
        path = results.save(name, found, options.out or results.FOLDER)
        say(f"{path}, after {found['seconds']:.0f} s")
        return 0

    return exit_code(run)


def measure(options: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    """Time the steps, then their memory, then the layers.

    Raises:
        UserError: if no recipe takes a step, or PyTorch is not there for the layers.
    """
    from minigan.errors import UserError

    from . import picture_layers

    shapes = [(options.channels, size, size) for size in options.sizes]
    asked = [(recipe, shape) for shape in shapes for recipe in options.recipes]
    rows, refused = [], {}
    for recipe, shape in asked:
        found = _row(recipe, shape, options, settings)
        if isinstance(found, str):
            refused[f"{recipe} {shape[1]}"] = found
            say(f"without {recipe} at {shape[1]} pixels: {found}")
        else:
            rows.append(found)
    if not rows:
        raise UserError(f"nothing was measured: {next(iter(refused.values()))}")
    layers: list[dict[str, Any]] = []
    left_out: dict[str, None] = {}
    if options.layers:
        where: dict[picture_layers.Place, list[str]] = {}
        for row in rows:
            places, others = picture_layers.places(row["recipe"], row["shape"], options.batch)
            left_out |= dict.fromkeys(others)
            for place in places:
                where.setdefault(place, []).append(f"{row['recipe']} {row['shape'][1]}")
        for place, recipes in where.items():
            layers += [
                row | {"recipes": recipes} for row in picture_layers.measure(place, settings)
            ]
    return {"rows": rows, "refused": refused, "layers": layers, "left_out": [*left_out]}


def _row(
    recipe: str, shape: tuple[int, int, int], options: argparse.Namespace, settings: Settings
) -> dict[str, Any] | str:
    """What a recipe's steps took at a size, or why it takes none."""
    from minigan.errors import RunError

    from . import picture_memory
    from .peers import module, ready
    from .picture_peers import peers
    from .timing import compare
    from .workloads import OURS

    say(f"{recipe}, {shape[1]} pixels")
    all_of_them = peers(recipe, shape, options.batch)
    try:
        steps, absent = ready(all_of_them)
    except RunError as error:
        return str(error)
    for name, reason in absent.items():
        say(f"  without {name}: {reason}")
    found = compare(steps, budget=settings.budget(options.seconds), least=7, prime=True)
    names = [*steps]
    steps.clear()  # or their networks would be there while the next ones are built
    torch = module("torch_pictures")
    memory = [
        picture_memory.of_step(name, recipe, shape, options.batch, settings.threads)
        for name in names
    ]
    return {
        "recipe": recipe,
        "shape": shape,
        "batch": options.batch,
        "times": found.timings(),
        "ratios": {name: found.ratio(name, OURS) for name in names if name != OURS},
        "absent": absent,
        "others": found.others,
        "memory": memory,
        "disobeyed": torch.disobeyed(recipe, shape, options.batch) if torch else [],
    }


def show(result: dict[str, Any]) -> None:
    """Print the tables."""
    from . import picture_layers, table

    cells, notes = [], []
    for row in result["rows"]:
        memory = {found["peer"]: found for found in row["memory"]}
        for name, timing in row["times"].items():
            ratio = row["ratios"].get(name)
            cells.append([
                f"{row['recipe']} {row['shape'][1]}",
                name,
                table.seconds(timing),
                table.spread(timing),
                f"{timing['clean']}/{timing['samples']}",
                table.times(ratio),
                "" if ratio is None else table.spread_of_ratio(ratio),
                f"{memory[name]['step'] / 1e6:,.0f} MB",
                f"{(memory[name]['first'] - memory[name]['before']) / 1e6:,.0f} MB",
            ])  # fmt: skip
        notes += [f"{row['recipe']}: no {name}: {why}" for name, why in row["absent"].items()]
        notes += [f"{row['recipe']}: PyTorch's step lacks {f}" for f in row["disobeyed"]]
    notes += [f"no {name}: {why}" for name, why in result["refused"].items()]
    notes.append(
        "A ratio is the other's time over minigan's. Peaks are those of a step, and of building "
        "the networks with the first step, over what was resident before."
    )
    heading = (
        "", "", "median", "quartiles", "clean", "to minigan", "quartiles", "peak", "at first",
    )  # fmt: skip
    shape = result["rows"][0]["shape"]
    title = f"Steps on pictures of {shape[0]} channels, batch {result['rows'][0]['batch']}, float32"
    title += f", {table.counted(result['threads'], 'thread')}"
    table.show(title, heading, cells, "\n".join(notes))
    if result["layers"]:
        picture_layers.show(result["layers"], result["left_out"])


def _parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=f"minigan bench {PART}",
        description="Time steps of recipes on colour pictures beside PyTorch's of the same "
        "networks, with their memory and their layers.",
    )
    parser.add_argument("--sizes", type=int, nargs="+", help=f"pixels (default: {SIZES})")
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--batch", type=int, help=f"images (default: {BATCH})")
    parser.add_argument("--channels", type=int, default=CHANNELS, help=f"(default: {CHANNELS})")
    parser.add_argument("--threads", type=int, help="for everybody; one a core if not given")
    parser.add_argument(
        "--seconds", type=float, default=BUDGET, help=f"of each comparison (default: {BUDGET:g})"
    )
    parser.add_argument("--no-layers", dest="layers", action="store_false", help="only the steps")
    parser.add_argument("--quick", action="store_true", help="tiny and short; only with --out")
    parser.add_argument(
        "--out", type=lambda text: Path(text).resolve(), help="folder; bench/results if not given"
    )
    options = parser.parse_args(words)
    usual: dict[str, Any] = QUICK if options.quick else {"sizes": list(SIZES), "batch": BATCH}
    options.sizes, options.batch = options.sizes or usual["sizes"], options.batch or usual["batch"]
    if options.threads is not None and not 1 <= options.threads <= len(processors()):
        parser.error(f"--threads must be from 1 to {len(processors())}, the cores of this process")
    for name in ("batch", "channels"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1")
    if options.batch < 2:
        parser.error("--batch must be at least 2, as batch norm needs")
    if not 0 < options.seconds < 1e6:
        parser.error("--seconds must be above 0")
    if min(options.sizes) < 8:
        parser.error("--sizes must be at least 8 pixels")
    if options.quick and options.out is None:
        parser.error("--quick measures nothing worth keeping; say with --out where it goes")
    return options
