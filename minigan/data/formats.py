"""The formats of data that are files: how each is told, by names and content, and read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import cifar, emnist, idx, numpy_files, svhn
from .dataset import Dataset
from .outline import Outline

Report = Callable[[str], None] | None


@dataclass(frozen=True)
class Format:
    """A format other than pictures; each function takes the folder or file that it is in."""

    what: str  # in messages
    is_of: Callable[[Path], bool]
    read: Callable[..., Dataset]  # of a path, split=, size= and report=
    outline: Callable[..., Outline]  # of a path, split= and size=


def _silent(read: Callable[..., Dataset]) -> Callable[..., Dataset]:
    """A reader that has nothing to report."""

    def reads(path: Path, *, report: Report, **options: Any) -> Dataset:
        return read(path, **options)

    return reads


FORMATS = (
    Format("idx files", idx.is_idx_folder, _silent(idx.read_folder), idx.outline),
    Format("EMNIST's idx files", emnist.is_emnist, _silent(emnist.read), emnist.outline),
    Format("CIFAR's batches", cifar.is_cifar_folder, cifar.read_folder, cifar.outline),
    Format("files of SVHN", svhn.is_svhn, svhn.read, svhn.outline),
    Format("NumPy's arrays", numpy_files.is_numpy_file, numpy_files.read_file, numpy_files.outline),
)


def format_of(place: Path) -> Format | None:
    """The format of what is in a folder or file; None of pictures, and of what is unknown.

    Raises:
        OSError: if it cannot be read.
    """
    return next((known for known in FORMATS if known.is_of(place)), None)


@dataclass(frozen=True)
class Taken:
    """Data that are not fetched by name: what `--data` takes, from where, and on which terms."""

    name: str
    files: str
    source: str
    terms: str


TAKEN = (
    Taken("pictures", "a folder or a zip, with class folders or without", "your own", "your own"),
    Taken("arrays", ".npz or .npy of images", "your own", "your own"),
    Taken(
        "CIFAR-10, CIFAR-100",
        "the unpacked folder, python or binary",
        "https://www.cs.toronto.edu/~kriz/cifar.html",
        "no formal licence; cite Krizhevsky 2009",
    ),
    Taken(
        "SVHN",
        "train_32x32.mat, or the folder that it is in",
        "http://ufldl.stanford.edu/housenumbers/",
        "non-commercial use only; cite Netzer et al. 2011",
    ),
    Taken(
        "EMNIST",
        "the folder of the idx files, or one of them",
        "https://www.nist.gov/itl/products-and-services/emnist-dataset",
        "as its page says; cite Cohen et al. 2017",
    ),
    Taken(
        "CelebA",
        "img_align_celeba, folder or zip, list_eval_partition.txt beside it",
        "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
        "non-commercial research only",
    ),
    Taken(
        "LSUN",
        "the folders NAME_train and NAME_val that its data.py exports",
        "https://www.yf.io/p/lsun",
        "as its page says; cite Yu et al. 2015",
    ),
    Taken(
        "Noto emoji",
        "the folder png/72 or png/128",
        "https://github.com/googlefonts/noto-emoji",
        "Apache-2.0",
    ),
)
