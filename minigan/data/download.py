"""Robust downloads: several mirrors, checked hashes, and partial files that are continued."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ..content import HEAD, one_line, stand_in
from ..errors import UserError
from ..locks import try_lock, wait_for_lock

if TYPE_CHECKING:
    import requests

Report = Callable[[str], None]

TIMEOUT = (10, 30)  # seconds to connect, and to wait for the next bytes
_BLOCK = 1 << 16  # bytes read at once
_REPORT_EVERY = 1 << 20  # bytes between two reports of progress


@dataclass(frozen=True)
class File:
    """One file of a source: its name, its size in bytes and its hash as pooch writes it."""

    name: str
    size: int
    hash: str


@dataclass(frozen=True)
class Source:
    """A data set that can be fetched: the same files from any of the mirrors' base addresses."""

    name: str
    mirrors: tuple[str, ...]
    files: tuple[File, ...]
    classes: tuple[str, ...]
    terms: str


def _mnist_files(sizes: tuple[int, ...], hashes: tuple[str, ...]) -> tuple[File, ...]:
    names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    return tuple(
        File(f"{name}-ubyte.gz", size, f"sha256:{value}")
        for name, size, value in zip(names, sizes, hashes, strict=True)
    )


SOURCES = {
    "mnist": Source(
        "mnist",
        (
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
            "https://raw.githubusercontent.com/fgnt/mnist/master/",
        ),
        _mnist_files(
            (9_912_422, 28_881, 1_648_877, 4_542),
            (
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            ),
        ),
        tuple("0123456789"),
        "LeCun, Cortes and Burges; commonly redistributed as CC BY-SA 3.0",
    ),
    "fashion-mnist": Source(
        "fashion-mnist",
        (
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        ),
        _mnist_files(
            (26_421_880, 29_515, 4_422_102, 5_148),
            (
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            ),
        ),
        (
            *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
            *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        ),
        "Zalando SE, MIT",
    ),
}


def user_cache() -> Path:
    """minigan's folder in the user's cache (XDG_CACHE_HOME)."""
    import pooch

    return Path(pooch.os_cache("minigan"))


def cache_folder(source: Source) -> Path:
    """The folder of a source in the user's cache."""
    return user_cache() / source.name


def cached(source: Source) -> Path | None:
    """The cache folder of a source if all its files are there in full length, else None."""
    folder = cache_folder(source)
    return folder if all(_length(folder / f.name) == f.size for f in source.files) else None


def fetch(source: Source, folder: Path | None = None, report: Report | None = None) -> Path:
    """Download all files of a source to `folder` (by default the cache), and give the folder.

    Files with the right hash are kept. A partial download is continued, from any mirror that
    answers. A file gets its name only when its hash is right. A second process waits for the first
    one, and then finds its files.

    Raises:
        UserError: if no mirror delivers a file, with each mirror's reason; if the folder cannot
            be written.
    """
    folder = cache_folder(source) if folder is None else folder
    try:
        if not all(_is_whole(folder / file.name, file) for file in source.files):
            folder.mkdir(parents=True, exist_ok=True)
            with _locked(folder / ".lock", report):
                for file in source.files:
                    if not _is_whole(folder / file.name, file):
                        _fetch_file(source, file, folder, report)
    except OSError as error:
        raise UserError(
            f"The folder {folder} for downloads cannot be used: {error.strerror or error}; "
            "set XDG_CACHE_HOME to another place, or give --data FOLDER."
        ) from error
    return folder


def _length(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _is_whole(path: Path, file: File) -> bool:
    if _length(path) != file.size:
        return False
    from pooch.hashes import hash_matches

    return bool(hash_matches(str(path), file.hash))


class _MirrorError(Exception):
    """A mirror did not deliver; `worth_another` if the same mirror may do so at once."""

    def __init__(self, reason: str, *, worth_another: bool = False) -> None:
        super().__init__(one_line(reason))  # parts of it are the mirror's own words
        self.worth_another = worth_another


def _fetch_file(source: Source, file: File, folder: Path, report: Report | None) -> None:
    import requests

    part = folder / f"{file.name}.part"
    reasons = []
    with requests.Session() as session:
        for mirror in source.mirrors:
            for attempt in (1, 2):
                try:
                    _continue_part(session, mirror + file.name, part, file, report)
                    part.replace(folder / file.name)
                    return
                except _MirrorError as error:
                    if attempt == 2 or not error.worth_another:
                        reasons.append(f"{mirror}: {error}")
                        break
    raise UserError(
        f"{file.name} of {source.name} could not be downloaded ("
        + "; ".join(reasons)
        + f"). Try again later, or put the files {', '.join(f.name for f in source.files)} into a "
        "folder yourself and give --data FOLDER."
    )


def _continue_part(
    session: requests.Session, url: str, part: Path, file: File, report: Report | None
) -> None:
    """Complete `part` from one address, and check its hash.

    Raises:
        _MirrorError: if the address fails. The bytes that arrived stay in `part` for the next
            attempt, unless the hash is wrong.
    """
    if _length(part) >= file.size:
        if _is_whole(part, file):
            return
        part.unlink()  # from an older version of the data, or damaged
    start = _length(part)
    _receive(session, url, part, file, report)
    if _length(part) < file.size:
        raise _MirrorError(
            f"the connection ended after {_length(part):,} of {file.size:,} bytes",
            worth_another=True,
        )
    if not _is_whole(part, file):
        with open(part, "rb") as received:
            what = stand_in(received.read(HEAD))
        part.unlink()
        # The wrong bytes may be those from before; if not, the mirror's own file is wrong.
        reason = "its file has the wrong content (hash)" + (f": {what}" if what else "")
        raise _MirrorError(reason, worth_another=start > 0)


def _receive(
    session: requests.Session, url: str, part: Path, file: File, report: Report | None
) -> None:
    """Append the rest of the file to `part`; return early if the connection breaks."""
    import requests
    import urllib3

    start = _length(part)
    # "identity": a server that compresses or decompresses the file would change its bytes.
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        with session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            if response.status_code not in (200, 206):
                raise _MirrorError(f"HTTP {response.status_code} {response.reason}")
            continues = response.status_code == 206
            arriving = response.headers.get("Content-Range", "")
            if continues and not arriving.startswith(f"bytes {start}-"):
                raise _MirrorError("it sent another range than the one asked for")
            # 200 is the whole file, from a server without ranges, or some other page, for which the
            # partial file must not be given up.
            missing = file.size - (start if continues else 0)
            length = response.headers.get("Content-Length", str(missing))
            if length != str(missing):
                raise _MirrorError(f"it offers {length} bytes instead of {missing}")
            with open(part, "ab" if continues else "wb") as out:
                blocks = response.raw.stream(_BLOCK, decode_content=False)
                _write(blocks, out, file, report)
    except requests.RequestException as error:
        raise _MirrorError(_reason(error)) from error
    except urllib3.exceptions.HTTPError:
        return  # the caller sees how far it came


def _write(blocks: Iterator[bytes], out: BinaryIO, file: File, report: Report | None) -> None:
    told = done = out.tell()
    for block in blocks:
        out.write(block)
        done += len(block)
        if done > file.size:
            return  # another file, perhaps an endless one; its hash will be wrong
        if report is not None and (done - told >= _REPORT_EVERY or done == file.size):
            report(f"{file.name}: {done / 1e6:.1f} of {file.size / 1e6:.1f} MB")
            told = done


def _reason(error: requests.RequestException) -> str:
    """Why a request failed, in a few words; the library's own text is a nested repr."""
    import requests

    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not accepted"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy refuses"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return str(error)


@contextmanager
def _locked(path: Path, report: Report | None) -> Iterator[None]:
    """Hold a lock file, if there are locks here; the system frees it when the process ends."""
    with open(path, "ab") as file:
        if try_lock(file.fileno()) is False:
            if report is not None:
                report("waiting for another process that downloads the same data")
            wait_for_lock(file.fileno())
        yield  # closing the file frees the lock
