"""What is said of a run that goes wrong, while it runs: D has won, G makes one sample, or noise.

A verdict follows from the observables of the run so far alone, the rows of verdicts.jsonl, so that
a resumed run gives the same ones. It is said once, not before a fifth of the run and 400 steps.
Each needs that G has been no better for a while: 200 steps, a tenth of the run, and half of the
steps before. For early in a healthy run D tells all samples apart too, and samples are alike, or
rough; but they get better.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .observables import Observer
from .run import Run
from .state import State

LOOKS = 40  # at a run, of any length
OFTENEST = 50  # steps between two looks, at least
OFTENEST_GPU = 400  # on a GPU, which replays steps from a graph, but no look: not measured there
EARLY = 8  # looks before which nothing is said: a healthy start may look dead
PATIENCE = 5  # looks without getting better after which a verdict is possible
BETTER = 0.95  # of the best distance so far, or less, is better
FAR = 0.1  # distance of samples from the data; healthy runs come to 0.003 to 0.03
TOLD = 0.98  # AUC from which D tells the samples apart
ALIKE = 0.2  # spread of samples that are one
GROWING = 0.02  # of the spread above its smallest lately: samples that grow apart
NOISE = 3.0  # roughness of noise, in that of the data
FROZEN = 0.02  # change of distance and spread over some looks at samples that stay as they are

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Verdict:
    """What is wrong with a run (`name` is won, noise or alike), and since which step."""

    name: str
    best: Row  # the look at which G was nearest to the data
    since: int
    seen: Row  # the look that shows it

    @property
    def step(self) -> int:
        """When it was seen."""
        return int(self.seen["step"])

    def sentence(self, fields: Mapping[str, Any]) -> str:
        """What is wrong, the evidence, and a way out by the recipe's hyper-parameters `fields`."""
        seen, since = self.seen, f"since step {self.since:,}"
        far = (
            f"G's samples have come no nearer to the data for {self.step - self.best['step']:,} "
            f"steps (distance {seen['distance']:.2g}, at step {self.best['step']:,} "
            f"{self.best['distance']:.2g}; of equal distributions 0)"
        )
        grain = ""
        if seen.get("roughness", 0.0) >= NOISE:
            grain = (
                f"{seen['roughness']:.0f} times as much of their variation as in the data is from "
                "pixel to pixel"
            )
        if self.name == "won":
            noisy = f" and are noise: {grain}" if grain else ""
            said = (
                f"D has won: {since} it tells real from generated samples (AUC "
                f"{seen['auc']:.2f}), and {far}{noisy}"
            )
            way = _way(fields, "lr_d", "n_critic", "k")
        elif self.name == "noise":
            said = f"G makes noise: {far}, and {grain}"
            way = _way(fields, "lr_d", "lr_g")
        else:
            apart = ", apart from noise," if grain else ""
            said = (
                f"G makes one sample: {since} any two of its samples differ{apart} by "
                f"{seen['spread']:.0%} of what two real ones do"
            )
            way = _way(fields, "lr_g", "lr_d")
        return f"step {self.step:,}: {said}. {way}"


def _way(fields: Mapping[str, Any], *names: str) -> str:
    """Which of a recipe's fields to try with which values, as flags."""
    tried = []
    for name in (*names, "lr"):
        value = fields.get(name)
        if isinstance(value, int) and value > 1:
            tried.append(f"--{name.replace('_', '-')} {max(1, value // 2)}")
        elif isinstance(value, float) and value > 0:
            tried.append(f"--{name.replace('_', '-')} {value / 4:.2g}")
    if not tried:
        return "Other hyper-parameters may help"
    return f"A new run may do better with {' or '.join(tried[:2])}"


def verdicts(rows: Sequence[Row]) -> list[Verdict]:
    """The verdicts on a run, each at the first of its looks `rows` after which it holds.

    >>> rows = [{"step": i, "distance": 0.5, "spread": 1.0, "auc": 1.0} for i in range(50, 600, 50)]
    >>> [(verdict.name, verdict.step, verdict.since) for verdict in verdicts(rows)]
    [('won', 400, 50)]
    """
    found: dict[str, Verdict] = {}
    best = 0  # the look with the smallest distance
    for i, row in enumerate(rows):
        if row["distance"] <= BETTER * rows[best]["distance"]:
            best = i
        if i + 1 < EARLY or row["step"] < 1.5 * rows[best]["step"]:
            continue
        for name, shows in SHOWS.items():
            since = i + 1
            while since > best and rows[since - 1]["distance"] >= FAR and shows(rows[since - 1]):
                since -= 1
            lately = rows[since : i + 1]
            if len(lately) < PATIENCE or (name == "noise" and "won" in found):
                continue
            if name == "won" and not _is_hopeless(lately[-PATIENCE:]):
                continue
            smallest = min(seen["spread"] for seen in lately)
            if name == "alike" and row["spread"] > smallest + GROWING:
                continue
            found.setdefault(name, Verdict(name, rows[best], lately[0]["step"], row))
    return sorted(found.values(), key=lambda verdict: verdict.step)


SHOWS: Mapping[str, Callable[[Row], bool]] = {  # what a look of each verdict shows
    "won": lambda row: row.get("auc", 0.0) >= TOLD,
    "noise": lambda row: row.get("roughness", 0.0) >= NOISE,
    "alike": lambda row: row["spread"] < ALIKE,
}


def _is_hopeless(rows: Sequence[Row]) -> bool:
    """Whether the samples of G are noise, or alike, or do not change.

    Without that D may be ahead for thousands of steps, and G yet come nearer: as `gan` on digits.
    """
    still = all(
        max(row[key] for row in rows) - min(row[key] for row in rows) <= FROZEN
        for key in ("distance", "spread")
    )
    return still or any(all(map(SHOWS[name], rows)) for name in ("noise", "alike"))


class Watcher:
    """Looks at a run 40 times, or every 50 steps (400 on a GPU), and tells each verdict on it once.

    No byte of the run's state changes. On a CPU it took .1 to .8 % of the time of eight runs of
    default length.
    """

    def __init__(self, state: State, run: Run, steps: int, say: Callable[[str], None]) -> None:
        self.run, self.say = run, say
        often = OFTENEST_GPU if state.device.supports_graphs else OFTENEST
        self.every = max(often, steps // LOOKS)
        self.rows = run.looks()
        self.observer = Observer(state)

    def look(self, state: State) -> None:
        """Look at the state, if it is time, and tell what is new.

        Raises:
            OSError: if the row cannot be written.
        """
        if state.step % self.every:
            return
        seen = self.observer.look(state)
        if seen is None:
            return
        told = len(verdicts(self.rows))
        row = {"step": state.step, **{key: round(value, 6) for key, value in seen.items()}}
        with open(self.run.looked, "a") as file:
            file.write(json.dumps(row) + "\n")
        self.rows.append(row)
        for verdict in verdicts(self.rows)[told:]:
            self.say(verdict.sentence(self.run.config["hyper_parameters"]))
