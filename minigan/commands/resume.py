"""`minigan train --resume`: continue a run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from .. import gans
from ..errors import UserError
from ..evaluation.scorer import scorer as score_by
from ..training.keeper import Scores
from ..training.run import Run, chosen, provenance
from ..training.writer import sole_writer
from .console import say
from .flags import (
    Computing,
    Count,
    Folder,
    Place,
    PlaceOfData,
    Precision,
    RecipeFile,
    UnknownFlagError,
    check_order,
    parse,
)
from .open_run import load_run
from .session import Length, run_to_end, writable


@dataclass(frozen=True)
class Continue(Length):
    """What can be set when a run is continued."""

    out: Folder = None  # the run directory to continue
    more: Count = None  # train this many steps more, instead of up to --steps
    device: Place | None = None  # where to compute; as before unless given
    precision: Precision | None = None  # of products on a GPU; as before unless given
    resume: bool = True  # continue the run in --out
    data: PlaceOfData = None  # where the run's data are now, if they have been moved
    recipe: RecipeFile = None  # the file of your own recipe; no file is executed but a named one
    accept_changes: bool = False  # go on though the data are not those the run has learned from

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.more is not None and self.more < 1:
            raise UserError(f"--more must be at least 1, not {self.more}")
        if self.steps is not None and self.more is not None:
            raise UserError(
                "--steps N trains up to step N and --more N trains N more; give one of them"
            )


def resume(words: list[str]) -> int:
    """Continue the run that `words` name, and give the exit code."""
    place = _parse(words, Continue())[0].out
    if place is None:
        named = next((word for word in words if Path(word).is_dir()), "RUN")
        raise UserError(
            "--resume needs --out, the run directory to continue: "
            f"minigan train --resume --out {named}"
        )
    run = Run.open(place)  # or nothing may be written there
    with ExitStack() as stack:
        with writable(run):
            stack.enter_context(sole_writer(place, say))
        return _go_on(words, place)


def _go_on(words: list[str], place: Path) -> int:
    """Continue the run in `place`, which only this process writes."""
    run = Run.open(place)
    config, where = run.config, asdict(Computing())
    given, named = _parse(words, Continue(graphs=config["graphs"]))
    if named and given.recipe and gans.canonical(named) != gans.canonical(given.recipe):
        raise UserError(f"{named} and --recipe {given.recipe} are two recipes; name one")
    named = named or given.recipe
    for key in where:
        asked = getattr(given, key, None)
        where[key] = config[key] if asked is None else asked
    device = Computing(**where).opened()

    def changed(what: str) -> None:
        if not given.accept_changes:
            raise UserError(
                f"{what}; bring the former ones back, or go on with these by --accept-changes"
            )
        say(f"{what}; the run goes on with these")

    state, dataset = load_run(run, device, recipe=named, changed=changed, data=given.data)
    choices = chosen()
    if where["device"] == "cpu":
        _tell_choices(config, choices)
    steps = given.steps or (state.step + given.more if given.more else config["steps"])
    if steps < state.step:
        raise UserError(
            f"the run in {place} is at step {state.step} already; --steps {steps} is before that, "
            "and --more N trains N steps more"
        )
    state.recipe.check_length(steps)
    best, score_every = given.best or config["best"], given.score_every or config["score_every"]
    scorer = None
    if best is not None or score_every is not None:
        scorer = score_by(best, state.recipe, config["data"], say)
        scorer = replace(scorer, every=score_every)
    now = {
        "command": shlex.join(["minigan", "train", *words]),
        "step": state.step,
        **provenance(device.versions()),
        "choices": choices,
        "recipe_file": gans.identity(gans.file_of(named or config["recipe"])),
    }
    run.config |= {
        "steps": steps,
        **where,
        "graphs": given.graphs,
        "keep": given.keep or config["keep"],
        "best": None if scorer is None else scorer.name,
        "score_every": score_every,
        "sample_every": given.sample_every or config["sample_every"],
        "checkpoint_every": given.checkpoint_every or config["checkpoint_every"],
        "resumed": [*config["resumed"], now],
    }
    with writable(run):
        run.rewind(state.step)
        Scores(run).rewind(state.step)
        run.write_config()
    return run_to_end(state, dataset, run, scorer)


def _tell_choices(config: Mapping[str, Any], now: Mapping[str, str]) -> None:
    """Tell the user if other algorithms are chosen than when the run was last trained."""
    parts = [part.get("choices") for part in (config, *config["resumed"])]
    known = [choices for choices in parts if choices is not None]
    if not known:  # an older run
        return
    before = known[-1]
    if odd := sorted(k for k in before.keys() | now.keys() if before.get(k) != now.get(k)):
        was, is_now = (
            before.get(odd[0], "as the rule has it"),
            now.get(odd[0], "as the rule has it"),
        )
        say(
            f"the algorithms chosen here changed since the run was last trained ({len(odd)}, such "
            f"as {odd[0]}: {was}, now {is_now}), so it will not end in the bytes of an "
            "uninterrupted one"
        )


def _parse(words: list[str], default: Continue) -> tuple[Continue, str | None]:
    """The flags, of which those of a new run are refused as such, and the recipe's name beside
    them.
    """
    named = None if words[0].startswith("-") else words[0]
    flags = words[1:] if named else words
    described = "Continue a run where it stopped."
    try:
        given = parse(
            Continue, flags, verb="train --resume", description=described, default=default
        )
        return given, named
    except UnknownFlagError as error:
        if named is None and len(error.words) == 1 and not error.flag.startswith("-"):
            return error.value, error.words[0]
        if not error.flag.startswith("-"):
            check_order(error)
        name = error.flag.removeprefix("--").removeprefix("no-").replace("-", "_")
        if error.value.out is not None:
            config = Run.open(error.value.out).config
            if name in {
                "size",
                "stack",
                "seed",
                "deterministic",
                *config["hyper_parameters"],
            }:
                raise UserError(f"a resumed run keeps its {error.flag}; leave it out") from None
        raise
