"""A cache of machine code is used only if nobody else can have written it."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
from minigan_kernels import trust
from minigan_kernels.algorithms import ChoicesError
from minigan_kernels.checks import Window
from minigan_kernels.cpu.compiler import disk_cache
from minigan_kernels.cpu.compiler.jit import jit
from minigan_kernels.cpu.conv import select
from minigan_kernels.cpu.maxout import _repeat
from minigan_kernels.cuda import cache, nvrtc
from minigan_kernels.cuda.errors import UnavailableError

LAYER = ((64, 64, 32, 32), (64, 64, 32, 32), Window((3, 3), padding=(1, 1)), 1)
needs_posix = pytest.mark.skipif(not hasattr(os, "getuid"), reason="no owners of files")


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is known to be trusted, and nothing was said yet."""
    monkeypatch.setattr(disk_cache.trust, "folders", set())
    monkeypatch.setattr(cache.trust, "folders", set())
    monkeypatch.setattr(disk_cache._notice, "_mistrusted", False)
    monkeypatch.setattr(disk_cache._notice, "damaged", [])


def check(folder: Path) -> None:
    trust.check_folder(folder, "NUMBA_CACHE_DIR")


@needs_posix
@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o702, 0o707])
def test_a_folder_that_others_may_write_is_refused_with_the_way_out(
    mode: int, tmp_path: Path
) -> None:
    folder = tmp_path / "kernels"
    folder.mkdir()
    check(folder)
    folder.chmod(mode)
    with pytest.raises(trust.UntrustedError) as refusal:
        check(folder)
    words = str(refusal.value)
    for part in (f"others may write {folder}", f"chmod go-w {folder}", "set NUMBA_CACHE_DIR"):
        assert part in words
    folder.chmod(0o755)
    check(folder)


@needs_posix
@pytest.mark.parametrize("exists", [True, False])
def test_a_folder_below_one_that_others_may_write_is_refused(exists: bool, tmp_path: Path) -> None:
    above = tmp_path / "above"
    folder = above / "between" / "kernels"
    (folder if exists else above).mkdir(parents=True)
    above.chmod(0o777)
    with pytest.raises(trust.UntrustedError, match=f"others may write {above} "):
        check(folder)
    above.chmod(0o1777)  # as /tmp: nobody moves what is another's
    check(folder)


@needs_posix
def test_a_link_is_followed_to_a_folder_that_others_may_write(tmp_path: Path) -> None:
    (tmp_path / "open" / "kernels").mkdir(parents=True)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "open" / "kernels")
    check(link)
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(trust.UntrustedError, match=f"others may write {tmp_path / 'open'} "):
        check(link)


class Status:
    """Of a file, with another owner, group or mode."""

    def __init__(self, real: os.stat_result, **given: int) -> None:
        self.st_uid, self.st_gid, self.st_mode = real.st_uid, real.st_gid, real.st_mode
        vars(self).update(given)


def owned(monkeypatch: pytest.MonkeyPatch, place: Path, **given: int) -> None:
    real = Path.stat

    def status(self: Path, **options: Any) -> Any:
        found = real(self, **options)
        return Status(found, **given) if self == place else found

    monkeypatch.setattr(Path, "stat", status)


@needs_posix
@pytest.mark.parametrize("above", [False, True])
def test_a_folder_of_another_user_is_refused(
    above: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "kernels"
    folder.mkdir()
    place = tmp_path if above else folder
    owned(monkeypatch, place, st_uid=os.getuid() + 4711)
    with pytest.raises(trust.UntrustedError, match=f"{place} belongs to another user"):
        check(folder)


@needs_posix
@pytest.mark.parametrize(
    ("group", "members", "fine"),
    [("me", [], True), ("me", ["me"], True), ("me", ["me", "you"], False), ("all", [], False)],
)
def test_the_group_may_write_if_it_is_the_users_own(
    group: str, members: list[str], fine: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import grp
    import pwd

    folder = tmp_path / "kernels"
    folder.mkdir()
    owned(monkeypatch, folder, st_mode=stat.S_IFDIR | 0o775, st_gid=4711)

    class Entry:
        pw_name, gr_name, gr_mem = "me", group, members

    monkeypatch.setattr(pwd, "getpwuid", lambda uid: Entry)
    monkeypatch.setattr(grp, "getgrgid", lambda gid: Entry)
    if fine:
        check(folder)
        return
    with pytest.raises(trust.UntrustedError, match="others may write"):
        check(folder)


def test_without_owners_of_files_every_folder_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows."""
    folder = tmp_path / "kernels"
    folder.mkdir()
    folder.chmod(0o777)
    monkeypatch.delattr(os, "getuid", raising=False)
    check(folder)
    with (folder / "file").open("w") as file:
        assert trust.is_ours(file.fileno())


# --- The caches -------------------------------------------------------------------------------


def function(number: int) -> Callable[[int], int]:
    @jit()
    def add(x: int) -> int:
        return x + number

    return add


@pytest.fixture
def kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of compiled kernels."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "numba"))
    select.cache_clear()
    return disk_cache.cache_folder()


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.kernel"))


@needs_posix
def test_nothing_is_loaded_from_or_kept_in_a_folder_that_others_may_write(
    kernels: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert function(1)(1) == 2
    (file,) = files(kernels)
    kernels.chmod(0o777)
    disk_cache.trust.folders.clear()

    def unpack(*args: object) -> None:
        raise AssertionError("somebody's machine code is loaded")

    monkeypatch.setattr(disk_cache, "unpack", unpack)
    assert function(1)(1) == 2
    assert function(2)(1) == 3
    said = capsys.readouterr().err
    assert said.count("others may write") == 1
    assert f"chmod go-w {kernels}" in said
    assert files(kernels) == [file]


@needs_posix
def test_a_file_that_others_may_write_is_not_loaded(
    kernels: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert function(1)(1) == 2
    (file,) = files(kernels)
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    file.chmod(0o666)
    assert function(1)(1) == 2
    assert "others could have written it; delete it" in capsys.readouterr().err
    assert stat.S_IMODE(file.stat().st_mode) == 0o644  # it was compiled and written again


def damaged(content: bytes) -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    place = int(rng.integers(40, len(content)))
    return {
        "empty": b"",
        "short": content[:20],
        "cut": content[: len(content) // 2],
        "longer": content + b"x",
        "digest alone": content[:36],
        "a bit": content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :],
        "length": content[:32] + b"\xff" * 4 + content[36:],
        "noise": rng.bytes(len(content)),
    }


@pytest.mark.parametrize("damage", damaged(b"x" * 100))
def test_a_damaged_file_is_compiled_again_with_a_word(
    damage: str, kernels: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert function(1)(1) == 2
    (file,) = files(kernels)
    whole = file.read_bytes()
    file.write_bytes(damaged(whole)[damage])
    capsys.readouterr()
    assert function(1)(1) == 2
    assert f"{file.name} was damaged, and is compiled again" in capsys.readouterr().err
    assert disk_cache.trust.read(file, 1 << 20)[36:] != b""
    assert function(1)(1) == 2
    assert "damaged" not in capsys.readouterr().err


@needs_posix
def test_choices_that_others_may_write_are_refused(kernels: Path) -> None:
    select.remember("conv2d", *LAYER, "direct")
    kernels.chmod(0o777)
    disk_cache.trust.folders.clear()
    select.cache_clear()
    with pytest.raises(ChoicesError, match="others may write"):
        select.remembered()
    with pytest.raises(ChoicesError, match="others may write"):
        select.remember("conv2d", *LAYER, "im2col")
    kernels.chmod(0o755)
    assert list(select.remembered().values()) == ["direct"]
    (kernels / "choices.json").chmod(0o666)
    select.cache_clear()
    with pytest.raises(ChoicesError, match=r"choices\.json is not used, .*delete it"):
        select.remembered()
    select.cache_clear()


@pytest.fixture
def cubins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of compiled CUDA kernels."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return cache.folder()


def make(name: str, builds: list[str], facts: dict[str, Any] | None = None) -> cache.Entry:
    def build(out: Path) -> dict[str, Any]:
        builds.append(name)
        out.write_bytes(b"machine code")
        return dict(facts or {})

    return cache.kept(name, build)


@needs_posix
def test_cubins_that_others_may_write_are_refused(cubins: Path) -> None:
    builds: list[str] = []
    make("a.cubin", builds)
    make("a.cubin", builds)
    assert builds == ["a.cubin"]
    for place, mode in ((cubins, 0o777), (cubins.parent, 0o777)):
        place.chmod(mode)
        cache.trust.folders.clear()
        for name in ("a.cubin", "b.cubin"):
            with pytest.raises(UnavailableError, match=f"chmod go-w {place}, or set XDG_CACHE"):
                make(name, builds)
        place.chmod(0o755)
    for file in (cubins / "a.cubin", cubins / "a.cubin.json"):
        file.chmod(0o666)
        with pytest.raises(UnavailableError, match=f"{file} is not used"):
            make("a.cubin", builds)
        file.chmod(0o644)
    make("a.cubin", builds)
    assert builds == ["a.cubin"]


@pytest.mark.parametrize(
    "note",
    [b"", b"{", b"[" * 100_000, b"[]", b"null", b'{"sha256": 3}', b'{"sha256": {}}', b"\xff"],
)
def test_a_damaged_note_is_made_again_with_a_word(
    note: bytes, cubins: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    builds: list[str] = []
    make("a.cubin", builds)
    (cubins / "a.cubin.json").write_bytes(note)
    entry = make("a.cubin", builds)
    assert len(builds) == 2
    assert entry.path.read_bytes() == b"machine code"
    assert "a.cubin is damaged" in capsys.readouterr().err
    make("a.cubin", builds)
    assert len(builds) == 2


@pytest.mark.parametrize(
    "resources", [None, [], {"k": 1}, {"k": [1]}, {"k": [1, 2, 3, "4"]}, {"k": {}}, {"k": [[]] * 4}]
)
def test_facts_that_are_none_of_a_cubin_do_not_fit(resources: object) -> None:
    assert not nvrtc._has_resources({"resources": resources})
    assert nvrtc._has_resources({"resources": {"k": [1, 2, 3, 4]}})


def test_what_a_disk_cannot_keep_for_a_gpu_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def full(place: Path) -> dict[str, Any]:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(place))

    with pytest.raises(UnavailableError, match="No space left on device"):
        cache.keep("some.cubin", full)


def test_a_cache_that_cannot_be_read_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(path: Path, most: int) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    monkeypatch.setattr(disk_cache.trust, "read", broken)
    monkeypatch.setattr(disk_cache, "_notice", disk_cache._Notice())
    function: Any = _repeat
    function(np.ones(2, np.float32), np.zeros(4, np.float32), 2)
    signature = function.nopython_signatures[0].args
    assert disk_cache.DiskCache(function).load_overload(signature, function.targetctx) is None
    assert "Input/output error" in capsys.readouterr().err
