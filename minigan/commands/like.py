"""`minigan train --like RUN` and `--config FILE`: the flags of a former run, or those in a file.

Both become plain words before the others are read, so they mean what the same words would mean, the
run keeps them as its command, and a flag that is given beside them wins.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import gans
from ..data import Reading
from ..errors import UserError
from ..schema import LARGEST, SchemaError, check, load, shown
from ..start import CHECKPOINTS, PICTURES, Asked
from ..terminal import brief, visible
from ..training.run import IN_PYTHON, Run, damaged_config
from ..training.schema import CONFIG, KEPT

# What a run's configuration says of its computing and its length, under the names of the flags.
OWN = (
    "steps", "seed", "device", "precision", "deterministic", "graphs", "keep", "best",
    "sample_every", "checkpoint_every", "score_every",
)  # fmt: skip

# Flags that are obeyed before others are read, so that in a file they would do nothing.
ELSEWHERE = {
    "resume": "minigan train --resume --out RUN continues a run",
    "config": "give the flags of both files in one",
    "like": "give --like RUN in place of --config",
}


@dataclass(frozen=True)
class Given:
    """Words with all flags in them, of which `flags` come from the file `origin`, if any."""

    words: list[str]
    origin: Path | None = None
    flags: frozenset[str] = frozenset()

    def blamed(self, error: UserError) -> UserError:
        """The error, with the file before it if one of its flags is wrong."""
        text = str(error)
        mine = any(re.search(rf"{re.escape(flag)}(?![\w-])", text) for flag in self.flags)
        return UserError(f"{self.origin}: {text}") if mine else error


def expanded(words: list[str]) -> Given:
    """The words of `minigan train`, with what --like or --config stands for in its place.

    Raises:
        UserError: if there is no such run or file, it holds no flags, or is of another recipe.
    """
    rest, like = without(words, "--like")
    rest, config = without(rest, "--config")
    if like is None and config is None:
        return Given(words)
    if like is not None and config is not None:
        raise UserError("--like RUN and --config FILE both say what the run is; give one of them")
    recipe: str | None
    if like is not None:
        origin = Path(like) / "config.json"
        recipe, flags = _of_run(Run.open(Path(like)).config)
    else:
        origin = Path(str(config))
        recipe, flags = _of_file(origin)
    named = rest.pop(0) if rest and not rest[0].startswith("-") else None
    recipe = _recipe(named, recipe, origin)
    given = {_name(word) for word in rest if word.startswith("--")}
    if given & {"minutes", "run_minutes"}:
        given.add("run_steps" if "run_steps" in flags else "steps")
    kept = {key: value for key, value in flags.items() if key not in given}
    if str(kept.get("data", "")).startswith(IN_PYTHON):
        raise UserError(
            f"{origin} is of data that only a Python program had; say by --data which to train on"
        )
    told = [word for key, value in kept.items() for word in _words(key, value, origin)]
    head = [] if recipe is None else [recipe]
    names = frozenset(f"--{key.replace('_', '-')}" for key in kept)
    return Given([*head, *told, *rest], origin, names)


def without(words: list[str], flag: str) -> tuple[list[str], str | None]:
    """The words without a flag and its value, and the value; the last one if there are several."""
    rest: list[str] = []
    value = None
    following = iter(words)
    for word in following:
        name, equals, text = word.partition("=")
        if name != flag:
            rest.append(word)
            continue
        value = text if equals else next(following, "")
        if not value or (value.startswith("--") and not equals):
            raise UserError(f"{flag} needs a value")
    return rest, value


def _of_run(config: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The recipe and the flags of a run's configuration."""
    data, steps = config["data"], _steps_of_start(config)
    flags: dict[str, Any] = {"data": data["source"], "size": data["size"]}
    if data["stack"] > 1:
        flags["stack"] = data["stack"]
    flags |= Reading.of(data).unusual()
    usual = vars(Asked()) | {"keep": KEPT}
    flags |= {key: config[key] for key in OWN if config[key] != usual[key]}
    parts = {"sample_every": PICTURES, "checkpoint_every": CHECKPOINTS}
    for key, number in parts.items():
        if flags[key] == max(1, steps // number):  # so that it follows another --steps
            del flags[key]
    if data["size"] is None:
        del flags["size"]
    own = config["hyper_parameters"]  # a flag of the same name as one of them is --run-NAME
    return config["recipe"], {f"run_{k}" if k in own else k: v for k, v in flags.items()} | own


def _steps_of_start(config: Mapping[str, Any]) -> int:
    """The steps for which a run was begun, on which its defaults depend, before it was resumed."""
    if config["resumed"]:
        told = re.findall(r"(?:--steps[ =]|[(, ]steps=)(\d+)", config["command"])
        if told:
            return int(told[-1])
        if gans.is_built_in(config["recipe"]):
            return gans.load(config["recipe"]).steps
    return int(config["steps"])


def _of_file(path: Path) -> tuple[str | None, dict[str, Any]]:
    """The recipe, if it is named, and the flags in a JSON or TOML file, or a run's config.json."""
    try:
        value = _toml(path) if path.suffix.lower() == ".toml" else load(path)
    except (OSError, SchemaError) as error:
        why = getattr(error, "strerror", None) or brief(str(error))
        raise UserError(
            f"--config {path} cannot be read ({why}); it should be a JSON or TOML file of flags, "
            "or a run's config.json"
        ) from error
    if not isinstance(value, dict):
        raise UserError(f"--config {path} is {shown(value)}, but should be an object of flags")
    if "hyper_parameters" in value:
        try:
            check(value, CONFIG)
        except SchemaError as error:
            raise damaged_config(path, error) from error
        return _of_run(CONFIG.completed(value))
    flags = {_name(f"--{key}", plain=True): item for key, item in value.items()}
    for key in value:
        if (name := _name(f"--{key}")) in ELSEWHERE:
            raise UserError(f"{path}: {brief(key, 60)} cannot stand in a file; {ELSEWHERE[name]}")
    recipe = flags.pop("recipe", None)
    if recipe is not None and not isinstance(recipe, str):
        raise UserError(f"{path}: recipe is {shown(recipe)}, but must be a name")
    return recipe, flags


def _toml(path: Path) -> Any:
    with open(path, "rb") as file:
        text = file.read(LARGEST + 1)
    try:
        if len(text) > LARGEST:
            raise SchemaError(f"it has more than {LARGEST:,} bytes")
        return tomllib.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise SchemaError(str(error)) from error


def _recipe(named: str | None, known: str | None, origin: Path) -> str | None:
    """The recipe to train: the one that is named, or that of the file.

    Raises:
        UserError: if they are two, or the file's is a file of its own, which must be named.
    """
    if known is None:
        return named
    own = visible(known.removeprefix(IN_PYTHON))
    if known.startswith(IN_PYTHON):
        if named is not None and named.endswith(".py") and Path(named).stem == own:
            return named
        raise UserError(
            f"{origin} is of the class {own}, which a Python program had; write the class into a "
            f"file {own}.py of its own, and name that first, after minigan train"
        )
    if named is None:
        if known.endswith(".py"):
            raise UserError(
                f"{origin} is of the recipe file {visible(known)}, and no file is executed that "
                "you do not name; name it first, after minigan train"
            )
        return known
    same = gans.canonical(named) == gans.canonical(known)
    if not same and not (known.endswith(".py") and Path(named).stem == Path(known).stem):
        raise UserError(f"{origin} is of the recipe {visible(known)}, not of {named}")
    return named


def _name(flag: str, *, plain: bool = False) -> str:
    """The name of the field that a flag sets."""
    name = flag.partition("=")[0].removeprefix("--").replace("-", "_")
    return name if plain else name.removeprefix("no_")


def _words(key: str, value: Any, origin: Path) -> list[str]:
    """The words that set a field."""
    flag = "--" + key.replace("_", "-")
    if isinstance(value, bool):
        return [flag if value else f"--no-{flag[2:]}"]
    if isinstance(value, list) and all(isinstance(item, int | float | str) for item in value):
        return [flag, *map(str, value)]
    if value is None or isinstance(value, int | float | str):
        return [f"{flag}={value}"]
    raise UserError(f"{origin}: {brief(key, 60)} is {shown(value)}, which no flag takes")
