"""Commands that are killed at any moment: nothing is lost but time.

A run that was killed and resumed ends in the same bytes as one that was not, with nothing left
over. The moments are before each change of a file, and random ones.

The last full result (`pytest -m long`): 90 kills before a change of a file and 110 at random
moments, all ended in the same bytes; 60 signals, those of SIGHUP under nohup, no step lost.
"""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import tiny
from warm import End, Warm, warm

from minigan.training import checkpoint
from minigan.training.run import Run

RHYTHM = ["--steps", "6", "--sample-every", "2", "--checkpoint-every", "2"]
DONE, KILLED = 0, -signal.SIGKILL


class Place:
    """A folder with a warm process, data, a run that nobody killed, and what it is made with."""

    def __init__(self, folder: Path, run: Warm) -> None:
        self.folder, self.warm = folder, run
        self.digits = folder / "digits"
        self.straight = folder / "straight"

    def train(self, out: Path, **how: Any) -> End:
        words = ["train", "gan", *tiny.FLAGS, "--data", self.digits, *RHYTHM, "--out", out]
        return self.warm(*words, place=out, **how)

    def resume(self, out: Path, **how: Any) -> End:
        """Go on, or begin again where it had not begun."""
        if not (out / "config.json").exists():
            return self.train(out, **how)
        return self.warm("train", "--resume", "--out", out, place=out, **how)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("kills")
    digits = tiny.write_idx(folder / "digits")
    run = str(folder / "straight")
    words = ["train", "gan", *tiny.FLAGS, "--data", str(digits), *RHYTHM, "--out", run]
    resumed = ["train", "--resume", "--out", run]
    sampled = ["sample", run, "--count", "4", "--out", str(folder / "sample.png")]
    scored = ["evaluate", run, "--count", "20"]
    with warm(folder, words, resumed, sampled, scored) as process:
        for left in ("scores.json", "nearest.png"):
            (folder / "straight" / left).unlink()
        yield Place(folder, process)


def what_stays(run: Path) -> dict[str, Any]:
    """All that does not depend on when and how often a run was begun."""
    kept = tiny.tree(run)
    del kept["config.json"], kept["report.html"], kept["metrics.jsonl"]
    rows = Run.open(run).rows()
    return kept | {"rows": [{k: v for k, v in row.items() if k != "seconds"} for row in rows]}


def killed(ends: list[End]) -> int:
    """How many of these were killed; nothing else may have happened to them."""
    for end in ends:
        assert "Traceback" not in end.said, end.said
        assert end.code in (DONE, KILLED), end
    return sum(end.code == KILLED for end in ends)


def goes_on(place: Place, out: Path, ends: list[End]) -> int:
    """Let a run that was killed come to its end, and give the number of kills."""
    number = killed(ends)
    last = place.resume(out)
    assert last.code == DONE, last.said
    assert "Traceback" not in last.said
    assert what_stays(out) == what_stays(place.straight), ends
    return number


def before_each_change(place: Place, folder: Path, every: int) -> int:
    """Kill a run, and one that goes on, before every nth change of a file."""
    total = place.train(folder / "counted").changes
    assert total > 50
    number = 0
    for change in range(0, total, every):
        out = folder / f"before-{change}"
        ends = [place.train(out, before=change)]
        assert killed(ends) == 1
        if change % (2 * every):
            ends.append(place.resume(out, before=(7 * change) % total))
        number += goes_on(place, out, ends)
    return number


def at_random_moments(place: Place, folder: Path, kills: int, seed: int) -> int:
    """Kill runs at random moments of theirs, each up to three times."""
    choose = random.Random(seed)
    usual = place.train(folder / "timed").seconds
    number = runs = 0
    while number < kills:
        out, runs = folder / f"random-{runs}", runs + 1
        ends = [place.train(out, after=choose.uniform(0, 1.1 * usual))]
        moments = [choose.uniform(0, usual) for _ in range(choose.randrange(3))]
        ends += [place.resume(out, after=moment) for moment in moments]
        number += goes_on(place, out, ends)
    return number


@pytest.mark.slow
def test_a_dozen_kills(place: Place, tmp_path: Path) -> None:
    assert before_each_change(place, tmp_path, every=10) >= 7
    assert at_random_moments(place, tmp_path, kills=5, seed=1) >= 5


@pytest.mark.long
def test_two_hundred_kills(
    place: Place, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    planned = before_each_change(place, tmp_path, every=1)
    by_chance = at_random_moments(place, tmp_path, kills=max(100, 200 - planned), seed=2)
    record_property("found", f"{planned} kills before a change of a file, {by_chance} by chance")
    assert planned + by_chance >= 200


# --- Signals ---------------------------------------------------------------------------------


def signals_lose_no_step(place: Place, folder: Path, times: int, seed: int) -> None:
    choose = random.Random(seed)
    usual = place.train(folder / "timed").seconds
    interrupted = 0
    while interrupted < times:
        out = folder / f"signal-{interrupted}"
        number = choose.choice((signal.SIGTERM, signal.SIGHUP))
        end = place.train(out, after=choose.uniform(0, usual), signals=(number,))
        assert "Traceback" not in end.said, end.said
        assert end.code in (DONE, 128 + number), end  # it may have been done
        interrupted += 1
        rows = Run.open(out).rows() if (out / "config.json").exists() else []
        newest = checkpoint.newest(out / "checkpoints")
        assert (checkpoint.step_of(newest) if newest else 0) == len(rows)
        last = place.resume(out)
        assert last.code == DONE, last.said
        found, expected = what_stays(out), what_stays(place.straight)
        both = {"checkpoints/step-000004.safetensors", *(found.keys() - expected.keys())}
        assert all(name.startswith("checkpoints/") for name in both)  # one more, at the signal
        assert {k: found[k] for k in found.keys() - both} == {
            k: expected[k] for k in expected.keys() - both
        }


@pytest.mark.slow
def test_a_few_signals(place: Place, tmp_path: Path) -> None:
    signals_lose_no_step(place, tmp_path, times=6, seed=3)


@pytest.mark.long
def test_sixty_signals(
    place: Place, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    record_property("found", "60 signals, SIGTERM or SIGHUP")
    signals_lose_no_step(place, tmp_path, times=60, seed=4)


# --- Other writers -----------------------------------------------------------------------------


@pytest.mark.slow
def test_a_killed_sample_leaves_the_old_picture_or_the_new_one(
    place: Place, tmp_path: Path
) -> None:
    words = ["sample", place.straight, "--count", "4", "--overwrite", "--out"]
    assert place.warm(*words, tmp_path / "new.png", place=tmp_path).code == DONE
    new = (tmp_path / "new.png").read_bytes()
    total = place.warm(*words, tmp_path / "counted.png", place=tmp_path).changes
    assert total >= 3
    for change in range(total):
        folder = tmp_path / str(change)
        folder.mkdir()
        picture = folder / "sample.png"
        picture.write_bytes(b"old")
        end = place.warm(*words, picture, place=folder, before=change)
        assert killed([end]) == 1
        assert picture.read_bytes() in (b"old", new)
        assert place.warm(*words, picture, place=folder).code == DONE
        assert [path.name for path in folder.iterdir()] == ["sample.png"]
        assert picture.read_bytes() == new


@pytest.mark.slow
def test_a_killed_evaluation_leaves_the_old_scores_or_the_new_ones(
    place: Place, tmp_path: Path
) -> None:
    """The classifier in the cache as well."""
    scores = place.straight / "scores.json"

    def evaluate(cache: Path, **how: Any) -> End:
        how["environment"] = {"XDG_CACHE_HOME": str(cache)}
        return place.warm("evaluate", place.straight, "--count", "20", **how)

    for place_of_it in ("run", "cache"):
        where = place.straight if place_of_it == "run" else tmp_path
        counted = evaluate(tmp_path / f"counted-{place_of_it}", place=where)
        assert counted.changes >= 3, counted
        new = scores.read_bytes()
        for change in range(counted.changes):
            cache = tmp_path / f"{place_of_it}-{change}"
            where = place.straight if place_of_it == "run" else cache
            scores.write_bytes(b"old")
            assert killed([evaluate(cache, place=where, before=change)]) == 1
            assert scores.read_bytes() in (b"old", new)
            assert evaluate(cache, place=where).code == DONE
            assert scores.read_bytes() == new
            kept = list((cache / "minigan/classifiers").iterdir())
            assert [path.suffix for path in kept] == [".safetensors"]
            assert [path for path in place.straight.rglob(".*") if path.is_file()] == []
    for path in place.straight.glob("scores*.json"):  # with the former ones, which are kept
        path.unlink()


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Where a file of 300,000 bytes can be fetched."""
    (tmp_path / "served").mkdir()
    (tmp_path / "served/numbers.bin").write_bytes(random.Random(0).randbytes(300_000))

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(tmp_path / "served"))

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


@pytest.mark.slow
def test_a_killed_download_goes_on(place: Place, tmp_path: Path, address: str) -> None:
    def fetch(folder: Path, **how: Any) -> End:
        how["environment"] = {"NO_PROXY": "127.0.0.1"}
        file = tmp_path / "served/numbers.bin"
        return place.warm(address, file, folder, place=folder, target="warm:fetch", **how)

    total = fetch(tmp_path / "counted").changes
    assert total >= 4
    for change in range(total):
        folder = tmp_path / str(change)
        assert killed([fetch(folder, before=change)]) == 1
        file = folder / "numbers.bin"
        whole = (tmp_path / "served/numbers.bin").read_bytes()
        assert not file.exists() or file.read_bytes() == whole
        assert fetch(folder).code == DONE
        assert file.read_bytes() == whole
        assert {path.name for path in folder.iterdir()} == {"numbers.bin", ".lock"}
