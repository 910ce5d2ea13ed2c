"""Downloads against servers that do everything wrong; none of them is further than 127.0.0.1."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from minigan import locks, signals
from minigan.data import catalogue, download, load
from minigan.data.download import SOURCES, File, Source, cached, fetch
from minigan.errors import UserError

CONTENT = np.random.default_rng(0).bytes(300_000)
NAME = "numbers.bin"

# What a server does: (path, first byte asked for or None) to (status, headers, body).
Behaviour = Callable[[str, int | None], tuple[int, dict[str, str], bytes]]


def good(path: str, start: int | None) -> tuple[int, dict[str, str], bytes]:
    """Serve the file and understand ranges."""
    if start is None:
        return 200, {}, CONTENT
    if start >= len(CONTENT):
        return 416, {}, b""
    last = len(CONTENT) - 1
    return 206, {"Content-Range": f"bytes {start}-{last}/{last + 1}"}, CONTENT[start:]


def rangeless(path: str, start: int | None) -> tuple[int, dict[str, str], bytes]:
    return 200, {}, CONTENT


def corrupt(path: str, start: int | None) -> tuple[int, dict[str, str], bytes]:
    return 200, {}, bytes(len(CONTENT))


def missing(path: str, start: int | None) -> tuple[int, dict[str, str], bytes]:
    return 404, {}, b"no such file"


def portal(path: str, start: int | None) -> tuple[int, dict[str, str], bytes]:
    return 200, {}, b"<html>please log in</html>"


def misplaced(path: str, start: int | None) -> tuple[int, dict[str, str], bytes]:
    body = CONTENT[: len(CONTENT) - (start or 0)]
    return 206, {"Content-Range": f"bytes 0-{len(body) - 1}/{len(CONTENT)}"}, body


def cut_after(count: int) -> Behaviour:
    """Announce everything, send `count` bytes, hang up."""

    def behaviour(path: str, start: int | None) -> tuple[int, dict[str, str], bytes]:
        status, headers, body = good(path, start)
        return status, {**headers, "Content-Length": str(len(body))}, body[:count]

    return behaviour


@contextmanager
def server(behaviour: Behaviour) -> Iterator[tuple[str, list[int | None]]]:
    """Run a server; give its address and the list of the first bytes that it was asked for."""
    asked: list[int | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            start = None if wanted is None else int(wanted.removeprefix("bytes=").rstrip("-"))
            asked.append(start)
            status, headers, body = behaviour(self.path, start)
            self.send_response(status)
            for key, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{running.server_address[1]}/data/", asked
    finally:
        running.shutdown()
        running.server_close()
        thread.join()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def source(*mirrors: str, content: bytes = CONTENT, algorithm: str = "sha256") -> Source:
    digest = hashlib.new(algorithm, content, usedforsecurity=False).hexdigest()
    file = File(NAME, len(content), f"{algorithm}:{digest}")
    return Source("numbers", mirrors, (file,), (), "none")


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".lock"}


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_a_whole_download_and_none_the_second_time(tmp_path, algorithm, monkeypatch) -> None:
    monkeypatch.setattr(download, "_REPORT_EVERY", 100_000)
    said: list[str] = []
    with server(good) as (address, asked):
        wanted = source(address, algorithm=algorithm)
        folder = tmp_path / "new" / "cache"
        assert fetch(wanted, folder, said.append) == folder
        assert (folder / NAME).read_bytes() == CONTENT
        assert names(folder) == {NAME}
        assert fetch(wanted, folder) == folder
    assert asked == [None]
    assert said[-1] == f"{NAME}: 0.3 of 0.3 MB"
    assert 2 <= len(said) <= 4


def test_a_partial_file_is_continued(tmp_path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(CONTENT[:123_456])
    with server(good) as (address, asked):
        fetch(source(address), tmp_path)
    assert asked == [123_456]
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert names(tmp_path) == {NAME}


def test_a_server_without_ranges_starts_over(tmp_path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(CONTENT[:123_456])
    with server(rangeless) as (address, asked):
        fetch(source(address), tmp_path)
    assert asked == [123_456]
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_a_finished_partial_file_needs_no_server(tmp_path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(CONTENT)
    fetch(source("http://127.0.0.1:9/"), tmp_path)
    assert (tmp_path / NAME).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("part", "requests"),
    [
        (bytes(1000), [1000, None]),  # other bytes: seen when the whole has the wrong hash
        (bytes(len(CONTENT)), [None]),  # as long as the file, wrong
        (CONTENT + b"more", [None]),  # longer than the file
    ],
)
def test_a_bad_partial_file_is_thrown_away(tmp_path, part, requests) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(part)
    with server(good) as (address, asked):
        fetch(source(address), tmp_path)
    assert asked == requests
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert names(tmp_path) == {NAME}


def test_a_damaged_file_in_the_cache_is_fetched_again(tmp_path) -> None:
    (tmp_path / NAME).write_bytes(bytes(len(CONTENT)))
    with server(good) as (address, asked):
        fetch(source(address), tmp_path)
    assert asked == [None]
    assert (tmp_path / NAME).read_bytes() == CONTENT


@pytest.mark.parametrize("first", [corrupt, missing, portal])
def test_the_next_mirror_when_one_fails(tmp_path, first) -> None:
    with server(first) as (bad, tried), server(good) as (address, asked):
        fetch(source(bad, address), tmp_path)
    assert tried == [None]
    assert asked == [None]
    assert (tmp_path / NAME).read_bytes() == CONTENT


@pytest.mark.parametrize("first", [missing, portal, misplaced])
def test_a_useless_mirror_does_not_cost_what_was_there(tmp_path, first) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(CONTENT[:200_000])
    with server(first) as (bad, _), server(good) as (address, asked):
        fetch(source(bad, address), tmp_path)
    assert asked == [200_000]


def test_a_cut_connection_is_continued(tmp_path) -> None:
    with server(cut_after(200_000)) as (address, asked):
        fetch(source(address), tmp_path)
    assert asked == [None, 200_000]
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_a_cut_connection_is_continued_from_the_next_mirror(tmp_path) -> None:
    with server(cut_after(50_000)) as (cut, tried), server(good) as (address, asked):
        fetch(source(cut, address), tmp_path)
    assert tried == [None, 50_000]
    assert asked == [100_000]
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_what_arrived_is_kept_for_the_next_time(tmp_path) -> None:
    with server(cut_after(50_000)) as (address, _), pytest.raises(UserError, match="100,000 of"):
        fetch(source(address), tmp_path)
    assert names(tmp_path) == {f"{NAME}.part"}
    with server(good) as (address, asked):
        fetch(source(address), tmp_path)
    assert asked == [100_000]


def test_an_endless_answer_is_not_read_to_the_end(tmp_path) -> None:
    sent = 0

    class Endless(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            nonlocal sent
            self.send_response(200)
            self.end_headers()
            try:
                for _ in range(100_000):
                    self.wfile.write(bytes(100_000))
                    sent += 100_000
            except OSError:  # hung up on
                pass

        def log_message(self, *arguments: object) -> None:
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Endless)
    thread = threading.Thread(target=running.serve_forever, args=(0.01,))
    thread.start()
    try:
        with pytest.raises(UserError, match="wrong content"):
            fetch(source(f"http://127.0.0.1:{running.server_address[1]}/"), tmp_path)
    finally:
        running.shutdown()
        running.server_close()
        thread.join()
    assert sent < 100_000_000
    assert names(tmp_path) == set()


def test_all_mirrors_failing_says_why_and_what_to_do(tmp_path) -> None:
    closed = "http://127.0.0.1:9/"  # the discard port: nothing listens
    with server(missing) as (a, _), server(corrupt) as (b, _):
        with pytest.raises(UserError) as caught:
            fetch(source(a, b, closed), tmp_path)
        message = str(caught.value)
        assert f"{a}: HTTP 404" in message
        assert f"{b}: its file has the wrong content" in message
        assert f"{closed}: no connection" in message
    assert "--data FOLDER" in message
    assert NAME in message
    assert names(tmp_path) == set()


def test_a_silent_server_is_given_up(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(download, "TIMEOUT", (5, 0.05))
    release = threading.Event()

    def silent(path: str, start: int | None) -> tuple[int, dict[str, str], bytes]:
        release.wait(30)
        return 404, {}, b""

    with server(silent) as (address, asked):
        try:
            with pytest.raises(UserError, match="no answer in time"):
                fetch(source(address), tmp_path)
        finally:
            release.set()
    assert asked == [None]


def test_two_at_once_download_once(tmp_path) -> None:
    entered, release = threading.Event(), threading.Event()

    def slow(path: str, start: int | None) -> tuple[int, dict[str, str], bytes]:
        entered.set()
        release.wait(30)
        return good(path, start)

    said: list[str] = []

    def second_report(line: str) -> None:
        said.append(line)
        release.set()  # the first goes on only once the second is known to wait

    with server(slow) as (address, asked):
        wanted = source(address)
        errors: list[BaseException] = []

        def run(report: Callable[[str], None] | None) -> None:
            try:
                fetch(wanted, tmp_path, report)
            except BaseException as error:
                errors.append(error)

        first = threading.Thread(target=run, args=(None,))
        first.start()
        assert entered.wait(30)
        second = threading.Thread(target=run, args=(second_report,))
        second.start()
        first.join(60)
        second.join(60)
    assert errors == []
    assert asked == [None]
    assert said == ["waiting for another process that downloads the same data"]
    assert (tmp_path / NAME).read_bytes() == CONTENT


def test_a_folder_that_cannot_be_made(tmp_path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="XDG_CACHE_HOME"):
        fetch(source("http://127.0.0.1:9/"), tmp_path / "file" / "cache")


def test_by_name_into_the_cache_of_the_user(tmp_path, monkeypatch) -> None:
    """The whole way, with a small data set in the place of the real one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    images, labels = bytes(range(60)), bytes([0, 1, 2, 1, 0])
    images_idx = b"\0\0\x08\x03" + struct.pack(">3I", 5, 4, 3) + images
    labels_idx = b"\0\0\x08\x01" + struct.pack(">I", 5) + labels
    contents = {
        file.name: images_idx if "images" in file.name else labels_idx
        for file in SOURCES["mnist"].files
    }
    files = tuple(
        File(name, len(content), f"sha256:{hashlib.sha256(content).hexdigest()}")
        for name, content in contents.items()
    )

    def serve(path: str, start: int | None) -> tuple[int, dict[str, str], bytes]:
        return 200, {}, contents[path.rpartition("/")[2]]

    with server(serve) as (address, asked):
        small = replace(SOURCES["mnist"], mirrors=(address,), files=files)
        monkeypatch.setitem(download.SOURCES, "mnist", small)
        assert cached(small) is None
        data = load("mnist")
        assert (data.name, data.classes) == ("mnist", tuple("0123456789"))
        assert (data.shape, data.x.tobytes()) == ((1, 4, 3), images)
        assert load("mnist", split="test", size=8).x.shape == (5, 1, 8, 8)
    assert len(asked) == 4
    entry = next(entry for entry in catalogue() if entry.name == "mnist")
    assert entry.cached == tmp_path / "minigan" / "mnist"


def test_the_table_of_sources() -> None:
    for key, entry in SOURCES.items():
        assert key == entry.name
        assert len(entry.mirrors) >= 3
        assert all(mirror.endswith("/") for mirror in entry.mirrors)
        assert len(entry.files) == 4
        for file in entry.files:
            algorithm, _, digest = file.hash.partition(":")
            assert len(digest) == hashlib.new(algorithm).digest_size * 2


def test_the_table_agrees_with_the_real_files() -> None:
    default = Path(__file__).resolve().parents[3] / "shared" / "data"
    folder = Path(os.environ.get("MINIGAN_TEST_DATA", default)) / "mnist"
    if not folder.is_dir():
        pytest.skip(f"no test data {folder}")
    for file in SOURCES["mnist"].files:
        content = (folder / file.name).read_bytes()
        assert len(content) == file.size
        assert f"sha256:{hashlib.sha256(content).hexdigest()}" == file.hash


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP])
def test_a_folder_without_locks_serves_as_well(tmp_path, monkeypatch, number) -> None:
    """A home directory on a network file system."""

    def flock(descriptor: int, how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(locks, "fcntl", SimpleNamespace(flock=flock, LOCK_EX=2, LOCK_NB=4))
    with server(good) as (address, _):
        assert fetch(source(address), tmp_path) == tmp_path
    assert (tmp_path / NAME).read_bytes() == CONTENT


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_keeps_what_arrived(tmp_path, monkeypatch, number) -> None:
    monkeypatch.setattr(download, "_REPORT_EVERY", 100_000)
    if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
        pytest.skip("nohup ignores it")
    with server(good) as (address, asked):
        numbers = source(address)
        with pytest.raises(KeyboardInterrupt), signals.raised():
            fetch(numbers, tmp_path, report=lambda text: signal.raise_signal(number))
        assert names(tmp_path) == {f"{NAME}.part"}
        arrived = (tmp_path / f"{NAME}.part").stat().st_size
        assert 0 < arrived < len(CONTENT)
        fetch(numbers, tmp_path)
    assert asked == [None, arrived]
    assert (tmp_path / NAME).read_bytes() == CONTENT
