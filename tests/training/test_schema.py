"""What a run directory may hold: each key by type and range, and the sentence for all else."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from tiny import Shell

from minigan import weights
from minigan.commands.open_run import open_run, open_trained
from minigan.errors import UserError
from minigan.schema import LARGEST, LINE, SchemaError, load, parse
from minigan.training import checkpoint
from minigan.training.run import Run
from minigan.training.schema import CONFIG, DATA, SESSION

HUGE = 10**400
# Values that no key of the kind may have.
NO_INTEGERS = (None, "3", 1.0, True, [], {}, -1, HUGE, float("nan"))
NO_NAMES = (None, 3, [], {}, "", "a\0b", "a\nb", "\ud800", "x" * 5000)
NO_TEXTS = (None, 3, [], {}, "\ud800")
NO_OBJECTS = (None, 3, "x", [], [{}])
HOSTILE: dict[str, tuple[Any, ...]] = {
    "format": (*(value for value in NO_INTEGERS if value != HUGE), 0),  # it may be a newer one
    "recipe": NO_NAMES,
    "recipe_doc": (3, [], "\ud800"),
    "recipe_file": (3, "x", {}, {"path": "x"}, {"path": 3, "sha256": "0"}),
    "data": NO_OBJECTS,
    "hyper_parameters": NO_OBJECTS,
    "steps": (*NO_INTEGERS, 0, -3),
    "seed": (*NO_INTEGERS, 2**64),
    "sample_every": (*NO_INTEGERS, 0),
    "checkpoint_every": (*NO_INTEGERS, 0),
    "device": (None, "gpu", 3, ["cpu"]),
    "precision": (None, "float16", 3),
    "deterministic": (None, 0, 1, "true"),
    "graphs": (None, 0, 1, "true"),
    "keep": (*NO_INTEGERS, 0),
    "best": (3, [], "", "a\nb", "\ud800"),
    "score_every": ("3", 1.0, True, 0, -1, HUGE),
    "command": (*NO_TEXTS, ["minigan", "train"]),
    "versions": (None, "x", [], {"numpy": 2}, {"numpy": None}),
    "revision": (3, [], "\ud800"),
    "choices": ("x", [], {"conv": 2}),
    "resumed": (None, "x", {}, ["x"], [{}], [{"step": -1}], [{"step": 1, "versions": "x"}]),
}
HOSTILE_DATA: dict[str, tuple[Any, ...]] = {
    "name": NO_TEXTS,
    "source": NO_NAMES,
    "size": ("3", 1.0, True, 0, -1, HUGE),
    "samples": (*NO_INTEGERS, 0),
    "shape": (
        *(None, 3, "x", [], [1, 2], [0, 8, 8], [1, 8, 8.0], [1, True, 8], [-1, 8, 8], [HUGE]),
        *([1, 60000, 60000], [1, 8, 8, 1]),
    ),
    "classes": (None, "x", {}, [3], [None], ["\ud800"]),
    "stack": (None, 0, 4, 1.0, True, "1"),
    "digest": (3, [], "\ud800"),
    "crop": (None, "middle", 3, ["none"]),
    "background": NO_NAMES,
    "skip_broken": (None, 0, 1, "true"),
    "flip": (None, 0, 1, "true"),
    "hold_out": NO_INTEGERS,
}
NEEDED = [*CONFIG.needed, *(f"data.{key}" for key in DATA.needed)]
OLDER = [*CONFIG.later, *(f"data.{key}" for key in DATA.later)]


def put(run: Path, place: str, *value: Any) -> None:
    """Write one value into config.json, or remove the key."""
    config = json.loads((run / "config.json").read_text())
    *outer, key = place.split(".")
    holder = config[outer[0]] if outer else config
    if value:
        holder[key] = value[0]
    else:
        holder.pop(key, None)
    (run / "config.json").write_text(json.dumps(config))


def refused(run: Path, *says: str) -> str:
    """The one line with which the run is refused by all that open it."""
    sentences = set()
    for opened in (Run.open, open_trained, open_run):
        with pytest.raises(UserError) as caught:
            opened(run)
        sentences.add(str(caught.value))
    (sentence,) = sentences
    assert sentence.isprintable()
    assert len(sentence) < 600
    for part in says:
        assert part in sentence, sentence
    return sentence


def test_every_key_has_hostile_values() -> None:
    assert HOSTILE.keys() == CONFIG.needed.keys() | CONFIG.later.keys()
    assert HOSTILE_DATA.keys() == DATA.needed.keys() | DATA.later.keys()


@pytest.mark.parametrize(
    ("place", "value"),
    [
        *((key, value) for key, values in HOSTILE.items() for value in values),
        *((f"data.{key}", value) for key, values in HOSTILE_DATA.items() for value in values),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_a_value_that_cannot_be_is_named(run: Path, place: str, value: Any) -> None:
    put(run, place, value)
    said = refused(run, f"config.json is damaged: {place}", "; correct it, or train again")
    assert "must be" in said or "is missing" in said


@pytest.mark.parametrize("place", NEEDED)
def test_a_key_that_is_missing_is_named(run: Path, place: str) -> None:
    put(run, place)
    refused(run, f"config.json is damaged: {place} is missing; ")


@pytest.mark.parametrize("place", OLDER)
def test_a_key_that_older_runs_lack_has_a_default(run: Path, place: str) -> None:
    put(run, place)
    opened = Run.open(run)
    *outer, key = place.split(".")
    table, holder = (DATA, opened.config["data"]) if outer else (CONFIG, opened.config)
    assert holder[key] == table.later[key][1]
    open_run(run)


def test_three_faults_are_named_at_once(run: Path) -> None:
    for key in ("steps", "seed", "sample_every", "checkpoint_every"):
        put(run, key, -3)
    words = [f"{key} is -3, but must be an integer from" for key in ("steps", "seed")]
    assert refused(run, *words).count("is -3") == 3


def test_a_session_that_went_on_is_checked_too(run: Path) -> None:
    assert SESSION.later.keys() <= {
        "command", "versions", "revision", "choices", "recipe_file"
    }  # fmt: skip
    put(run, "resumed", [{"step": 1}, {"step": "x"}])
    refused(run, "resumed[1].step is 'x'")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("hidden", "8", "hyper_parameters.hidden is '8', but must be an integer"),
        ("hidden", 8.0, "hyper_parameters.hidden is 8.0"),
        ("hidden", True, "hyper_parameters.hidden is true"),
        ("hidden", None, "hyper_parameters.hidden is null"),
        ("hidden", -8, "--hidden must be at least 1, not -8"),
        ("hidden", HUGE, "an integer of more than 60 digits"),
        ("hidden", 2**40, "larger than its checkpoint"),
        ("lr", "0.1", "hyper_parameters.lr is '0.1', but must be a finite number"),
        ("lr", float("nan"), "hyper_parameters.lr is nan"),
        ("lr", 1e300, "--lr must be at most 1e+30 from 0"),
        ("lr", HUGE, "an integer of more than 60 digits"),
        ("saturating", 1, "hyper_parameters.saturating is 1, but must be true or false"),
        ("momentum", 7.0, "--momentum must be from 0 to below 1"),
        ("unheard_of", 1, "'unheard_of', which GAN does not know"),
    ],
)
def test_hyper_parameters_are_checked_by_the_recipe(
    run: Path, name: str, value: Any, says: str
) -> None:
    put(run, f"hyper_parameters.{name}", value)
    for opened in (open_trained, open_run):
        with pytest.raises(UserError) as caught:
            opened(run)
        assert "config.json is damaged: " in str(caught.value)
        assert says in str(caught.value)


def test_an_integer_may_stand_for_a_float(run: Path) -> None:
    put(run, "hyper_parameters.lr", 1)
    open_run(run)


def test_a_newer_format_is_said_before_all_else(run: Path) -> None:
    put(run, "steps", "x")
    put(run, "format", 99)
    refused(run, "format 99", "install a newer one")


# --- Reading ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"[" * 5000, "nested more than 16 deep"),
        (b"[" * 20 + b"]" * 20, "nested more than 16 deep"),
        (b'{"a":' * 900 + b"1" + b"}" * 900, "nested more than 16 deep"),
        (b"\xff\xfe", "not text in UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "not text in UTF-8"),
        (b"9" * 5000, "digits"),
        (b"", "Expecting value"),
        (b"{", "Expecting property name"),
    ],
    ids=lambda value: str(value[:12]),
)
def test_a_text_that_is_no_json(run: Path, text: bytes, says: str) -> None:
    with pytest.raises(SchemaError, match=says):
        parse(text)
    (run / "config.json").write_bytes(text)
    refused(run, "config.json is damaged: ", says)


def test_json_with_the_mark_of_windows_is_read() -> None:
    assert parse(b'\xef\xbb\xbf{"a": [1, NaN]}')["a"][0] == 1


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    with open(file, "wb") as opened:
        opened.truncate(LARGEST + 1)  # sparse
    with pytest.raises(SchemaError, match="more than 67,108,864 bytes"):
        load(file)


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl"])
def test_what_is_no_file_is_not_waited_for(run: Path, name: str) -> None:
    (run / name).unlink()
    os.mkfifo(run / name)
    with pytest.raises(UserError, match="it is not a file"):
        Run.open(run).rows()


# --- Rows ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"step": -1}, "step is -1, but must be an integer from 1"),
        ({"step": 0}, "step is 0"),
        ({"step": 1.0}, "step is 1.0"),
        ({"step": True}, "step is true"),
        ({"step": "1"}, "step is '1'"),
        ({"step": HUGE}, "step is an integer of more than 60 digits"),
        ({"step": 2}, "step is 2, but the row before is of step 2"),
        ({"seconds": HUGE}, "seconds is an integer of more than 60 digits"),
        ({"seconds": -0.1}, "seconds is -0.1"),
        ({"seconds": float("nan")}, "seconds is nan, but must be a finite number"),
        ({"seconds": None}, "seconds is null"),
        ({"loss_D": "x"}, "loss_D is 'x', but must be a number"),
        ({"loss_D": HUGE}, "loss_D is an integer of more than 60 digits"),
        ({"loss_D": True}, "loss_D is true"),
        ({"loss_D": [1.0]}, "loss_D is a list of 1"),
        ({"D(x)": {}}, "D(x) is an object"),
        ({"\n\ud800": "x"}, r"\n\ud800 is 'x'"),
    ],
    ids=str,
)
def test_a_row_that_cannot_be(shell: Shell, run: Path, change: dict[str, Any], says: str) -> None:
    file = run / "metrics.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    place = 1 if change.get("step") == 2 else 0
    rows.insert(place + 1, {**rows[place], "step": 2}) if place else None
    rows[0] |= change if not place else {}
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    before = tiny.tree(run)
    words = ["train", "--resume", "--out", run, "--more", "1"]
    shell.refuses(*words, says=(f"line {place * 2 + 1} of ", says, "; remove the line"))
    assert tiny.tree(run) == before


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), None, 1e308, 3])
def test_losses_that_are_no_finite_number_stay(shell: Shell, run: Path, value: Any) -> None:
    """A run that diverged says so in its last row, and its report is drawn."""
    file = run / "metrics.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    rows[-1]["loss_D"] = value
    text = "".join(json.dumps(row) + "\n" for row in rows)
    file.write_text(text)
    shell.succeeds("train", "--resume", "--out", run, "--more", "1")
    assert file.read_text().startswith(text)


def test_a_line_without_end_is_not_taken_into_memory(run: Path) -> None:
    with open(run / "metrics.jsonl", "ab") as file:
        file.write(b"1" * (LINE + 1))
    with pytest.raises(UserError, match=r"line 3 of .* has more than 1,048,576 bytes"):
        Run.open(run).rows()


# --- Checkpoints -----------------------------------------------------------------------------

NO_FACTS: dict[str, tuple[Any, ...]] = {
    "recipe": NO_NAMES,
    "step": (*NO_INTEGERS, -4),
    "rng": (
        *(*NO_OBJECTS, {}, {"key": 1}, {"key": -1, "offset": 0}, {"key": 1, "offset": 2**63}),
        *({"key": 2**64, "offset": 0}, {"key": "1", "offset": 0}, {"key": 1.0, "offset": 0}),
    ),
    "batches": ("x", *NO_INTEGERS),
}


def rewrite(run: Path, arrays: dict[str, np.ndarray] | None = None, **facts: Any) -> Path:
    """Save the newest checkpoint again with other contents; its checksum is right."""
    path = checkpoint.newest(run / "checkpoints")
    assert path is not None
    whole, known = weights.read(path)
    del known["format"]
    weights.write(path, whole if arrays is None else arrays, known | facts)
    return path


@pytest.mark.parametrize(
    ("key", "value"),
    [(key, value) for key, values in NO_FACTS.items() for value in values],
    ids=lambda value: ascii(value)[:30],
)
def test_a_fact_that_cannot_be_is_named(run: Path, key: str, value: Any) -> None:
    path = rewrite(run, **{key: value})
    for opened in (open_trained, open_run):
        with pytest.raises(UserError) as caught:
            opened(run)
        sentence = str(caught.value)
        assert f"the checkpoint {path} is damaged: {key}" in sentence
        assert sentence.endswith("; remove it to begin the run again") or "from step" in sentence
        assert sentence.isprintable()


def test_a_checkpoint_under_the_name_of_another_step(run: Path) -> None:
    path = rewrite(run, step=1)
    with pytest.raises(UserError, match=f"{path} is damaged: it is of step 1, unlike its name"):
        open_run(run)


WEIGHT = "players/G/layers.0.weight"


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        (WEIGHT, lambda a: a.astype(np.float64), "is of float64 and shape"),
        (WEIGHT, lambda a: a.astype(np.int64), "is of int64 and shape"),
        (WEIGHT, lambda a: a.reshape(-1), "but must be of float32 and shape"),
        (WEIGHT, lambda a: np.full_like(a, np.nan), "has values that are not finite"),
        (WEIGHT, lambda a: np.full_like(a, np.inf), "has values that are not finite"),
        ("optimizers/G/steps", lambda a: a - 100, "optimizers/G has done"),
        ("optimizers/G/steps", lambda a: a + 2**62, "optimizers/G has done"),
        ("optimizers/G/steps", lambda a: a[None], "but must be of int64 and shape ()"),
        ("optimizers/G/velocity.layers.0.weight", lambda a: a * np.nan, "not finite"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_array_that_cannot_be_is_named(run: Path, name: str, change: Any, says: str) -> None:
    path = checkpoint.newest(run / "checkpoints")
    assert path is not None
    arrays, _ = weights.read(path)
    arrays[name] = np.asarray(change(arrays[name]))
    rewrite(run, arrays)
    with pytest.raises(UserError) as caught:
        open_run(run)
    assert str(path) in str(caught.value)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("gone", "new", "says"),
    [
        (WEIGHT, None, f"{WEIGHT} is missing"),
        (None, "players/G/layers.9.weight", "players/G/layers.9.weight is not in its recipe"),
        (None, "players/X/weight", "players/X is not in its recipe"),
        (None, "optimizers/X/steps", "optimizers/X is not in its recipe"),
        (None, "strays/G/weight", "it has an array called 'strays/G/weight'"),
        (None, "players/G", "it has an array called 'players/G'"),
        (None, "", "it has an array called ''"),
    ],
)
def test_an_array_too_few_or_too_many_is_named(
    run: Path, gone: str | None, new: str | None, says: str
) -> None:
    path = checkpoint.newest(run / "checkpoints")
    assert path is not None
    arrays, _ = weights.read(path)
    if gone is not None:
        del arrays[gone]
    if new is not None:
        arrays[new] = np.zeros(1, np.float32)
    rewrite(run, arrays)
    with pytest.raises(UserError) as caught:
        open_run(run)
    assert says in str(caught.value)
