"""Emptying the caches: what is removed, and above all what is not."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from tiny import Shell

from minigan.commands import caches, data, doctor
from minigan.commands.caches import Cache, size_text
from minigan.data import download
from minigan.errors import UserError
from minigan.locks import try_lock

DIGEST = "0f" * 16
POSIX = pytest.mark.skipif(os.name != "posix", reason="links and owners as in POSIX")


def filled(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True)
    for number, name in enumerate(names, 1):
        (folder / name).write_bytes(b"x" * number)
    return folder


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Cache, Cache]:
    """Two caches in folders of their own, which take the place of all others."""
    code = filled(tmp_path / "minigan/kernels-1", "a.kernel", "b.kernel", "choices.json")
    judges = filled(tmp_path / "minigan/classifiers", "c.safetensors")
    found = (
        Cache("kernels", "compiled kernels", code, r".+\.kernel"),
        Cache("classifiers", "judges", judges, r".+\.safetensors"),
    )
    for module in (data, doctor):
        monkeypatch.setattr(module, "caches", lambda: list(found))
    return found


def test_clean_removes_what_the_caches_hold_and_says_so(
    shell: Shell, two: tuple[Cache, Cache]
) -> None:
    code, judges = (cache.folder for cache in two)
    out = shell.succeeds("data", "clean").out
    assert f"removed compiled kernels: 2 files, 3 bytes, {code}" in out
    assert f"removed judges: 1 file, 1 byte, {judges}" in out
    assert out.endswith("4 bytes removed\n")
    assert os.listdir(code) == ["choices.json"]  # on which the last bits of a run depend
    assert shell.succeeds("data", "clean").out == "there was nothing to remove\n"


def test_clean_takes_names(shell: Shell, two: tuple[Cache, Cache]) -> None:
    shell.refuses("data", "clean", "kernels", "clasifiers", says=("did you mean classifiers?",))
    shell.refuses("data", "clean", "/tmp", says=("/tmp", "kernels, classifiers"))
    assert [cache.size() for cache in two] == [(2, 3), (1, 1)]
    assert "judges" in shell.succeeds("data", "clean", "classifiers").out
    assert [cache.size() for cache in two] == [(2, 3), (0, 0)]


@POSIX
@pytest.mark.parametrize("linked", ["minigan", "minigan/kernels-1"])
def test_no_link_is_followed(
    shell: Shell, two: tuple[Cache, Cache], tmp_path: Path, linked: str
) -> None:
    away = tmp_path / "away"
    (tmp_path / linked).rename(away)
    (tmp_path / linked).symlink_to(away)
    before = sorted(away.rglob("*"))
    shell.refuses("data", "clean", "kernels", says=("symbolic link", str(tmp_path / linked)))
    assert sorted(away.rglob("*")) == before
    assert two[0].size() == (0, 0)


@POSIX
def test_only_regular_files_are_removed(two: tuple[Cache, Cache], tmp_path: Path) -> None:
    folder, other = two[0].folder, tmp_path / "mine.kernel"
    other.write_bytes(b"precious")
    (folder / "link.kernel").symlink_to(other)
    filled(folder / "folder.kernel", "d.kernel")
    os.mkfifo(folder / "pipe.kernel")
    assert two[0].empty() == (2, 3)
    assert other.read_bytes() == b"precious"
    left = {"choices.json", "link.kernel", "folder.kernel", "pipe.kernel"}
    assert set(os.listdir(folder)) == left


@POSIX
def test_a_folder_of_another_user_is_left_alone(
    two: tuple[Cache, Cache], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(UserError, match="another user"):
        two[0].empty()
    monkeypatch.undo()
    assert two[0].size() == (2, 3)


@POSIX
def test_a_download_that_goes_on_is_not_disturbed(tmp_path: Path) -> None:
    folder = filled(tmp_path / "minigan/mnist", "a.gz", "b.gz.part", ".lock")
    cache = Cache("downloads", "a download", folder, r"[ab]\.gz(\.part)?", ".lock")
    with open(folder / ".lock", "ab") as file:
        assert try_lock(file.fileno())
        with pytest.raises(UserError, match="another process"):
            cache.empty()
    assert cache.empty() == (2, 3)
    assert os.listdir(folder) == [".lock"]


def test_the_caches_are_those_that_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    own = {(c.name, c.folder): c for c in caches.caches() if c.folder.is_relative_to(tmp_path)}
    mnist = download.SOURCES["mnist"]
    folder = filled(download.cache_folder(mnist), *(f.name for f in mnist.files), "notes.txt")
    assert own["downloads", folder].size()[0] == len(mnist.files)
    cuda = filled(
        tmp_path / "minigan/cuda", f"conv-sm_90-{DIGEST}.cubin", f"conv-sm_90a-{DIGEST}.cubin.json",
        f"conv_1_naive-{DIGEST}.so", f"emu-block-{DIGEST}.o", "mine.o", "my.so",
        "conv-sm_90-1.cubin",
        f"tile-{DIGEST}.txt", f"tile-{DIGEST}.txt.json", f"{DIGEST}.so",
    )  # fmt: skip
    assert own["cuda", cuda].empty()[0] == 4
    left = {"mine.o", "my.so", "conv-sm_90-1.cubin", f"{DIGEST}.so"}
    assert set(os.listdir(cuda)) == {f"tile-{DIGEST}.txt", f"tile-{DIGEST}.txt.json", *left}
    names = [f"cpu.blocks.<locals>._sum_32-{DIGEST[:16]}.kernel", "mine.kernel", "a-12.kernel"]
    pattern = re.compile(next(c.pattern for c in caches.caches() if c.name == "kernels"))
    assert [name for name in names if pattern.fullmatch(name)] == names[:1]
    judges = filled(tmp_path / "minigan/classifiers", f"mnist-{'0f' * 8}.safetensors", "own.png")
    assert own["classifiers", judges].empty()[0] == 1
    assert sum(c.size()[0] for c in own.values()) == len(mnist.files)


def test_a_size_is_read_at_a_glance() -> None:
    sizes = {0: "0 bytes", 1: "1 byte", 999: "999 bytes", 1234: "1.2 kB", 51_200_000: "51.2 MB"}
    assert {size: size_text(size) for size in sizes} == sizes
    assert size_text(3_400_000_000_000) == "3400.0 GB"
