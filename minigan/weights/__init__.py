"""Weights in files: saved as safetensors, and read also from NumPy's and PyTorch's files.

    >>> import minigan as mg
    >>> from minigan.weights import load, save
    >>> net = mg.nn.Linear(2, 1, rng=mg.Generator(0))
    >>> save(net, "net.safetensors")
    >>> net.load_state_dict(load("net.safetensors"))
    <every name has been matched>

No file is ever unpickled, so no code in it runs. `write` and `read` are for minigan's own files,
which keep facts and a checksum beside the arrays.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from ..files import write_named
from ..nn import Module
from ..nn.saved import as_array, plain
from . import archives, pytorch
from .facts import DamagedError, is_ours, read, signed, write
from .halves import widened

__all__ = ["DamagedError", "load", "read", "save", "write"]

PYTORCH = (".pt", ".pth", ".bin", ".pkl", ".ckpt", ".tar")  # suffixes of its files


def save(obj: Any, path: Any, *, facts: Mapping[str, Any] | None = None) -> None:
    """Write the weights in `obj` to `path`: as safetensors, or as .npz if that is its suffix.

    `obj` is a module, a state dict, or a dictionary of arrays, tensors or numbers. Arrays may have
    any order in memory; the `save_file` of safetensors would take C order for granted, which
    `p.numpy()` of a weight need not have. The file appears whole or not at all, and replaces one
    that is there. `facts` (plain JSON values) go into the metadata of a safetensors file.

    Raises:
        TypeError: if `obj` is nothing of the kind.
        UserError: if the suffix is another one: PyTorch's files are read, not written.
        OSError: if the file cannot be written; what was there before stays.

    >>> from minigan import weights
    >>> weights.save({"x": [1.0, 2.0]}, "x.npz")
    """
    if _is_path(obj) and not _is_path(path):
        obj, path = path, obj
    path = _path(path)
    suffix = path.suffix.lower()
    if suffix not in (".safetensors", ".npz"):
        ours = path.with_suffix(".safetensors")
        what = f"a {suffix} file" if suffix else "a file without a suffix"
        raise UserError(
            f"{path} would be {what}, and weights are saved as .safetensors or .npz: {ours} say, "
            "which PyTorch reads by safetensors.torch.load_file"
        )
    arrays = _arrays(obj)
    if suffix == ".npz":
        content = archives.npz(arrays)
    else:
        from safetensors import SafetensorError
        from safetensors.numpy import save as serialize

        try:
            content = serialize(*signed(arrays, facts or {}))
        except SafetensorError as error:
            raise OSError(errno.EIO, str(error), str(path)) from error
    write_named(path, content)


def load(path: Any) -> dict[str, np.ndarray]:
    """The arrays in a file by name; the suffix says what it is.

    .safetensors, by whomever; .npz; and .pt .pth .bin .pkl .ckpt .tar, PyTorch's files, of which
    the tensors are read and nothing is run. Names of nested dictionaries are joined by dots, and
    what is no tensor is left out. float16 and bfloat16 become float32, in which minigan computes.

    Raises:
        UserError: if there is no such file, or it is damaged, or of another kind.

    >>> from minigan import weights
    >>> weights.save({"x": [1.0, 2.0]}, "x.safetensors")
    >>> weights.load("x.safetensors")
    {'x': array([1., 2.])}
    """
    path = _path(path)
    if path.is_dir():
        raise UserError(f"{path} is a folder; minigan export {path} writes the weights of a run")
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return archives.read_npz(path)
    if suffix in PYTORCH:
        return pytorch.read(path)
    if suffix != ".safetensors":
        known = ".safetensors .npz " + " ".join(PYTORCH)
        raise UserError(f"{path} has none of the suffixes {known}; rename it to what it is")
    if is_ours(path):
        return {name: widened(array) for name, array in read(path)[0].items()}
    return archives.read_safetensors(path)


def _is_path(value: Any) -> bool:
    return isinstance(value, (str, os.PathLike))


def _path(value: Any) -> Path:
    if not _is_path(value):
        raise TypeError(
            f"weights are in a file with a name, and not in a {type(value).__name__}: "
            'mg.save(net, "net.safetensors"), mg.load("net.safetensors")'
        )
    return Path(value)


def _arrays(obj: Any) -> dict[str, np.ndarray]:
    """The arrays of a module or a mapping, on the host and in C order.

    Raises:
        TypeError: naming what is no array of numbers.
    """
    if isinstance(obj, Module):
        return obj.state_dict()
    if not isinstance(obj, Mapping):
        raise TypeError(
            f"a module or arrays by name are saved, not a {type(obj).__name__}: "
            "mg.save(net, path), or mg.save({'x': x}, path)"
        )
    arrays = {}
    for name, value in obj.items():
        if not isinstance(name, str):
            raise TypeError(f"arrays are saved by names that are text, not {name!r}")
        if isinstance(value, (Module, Mapping)):
            raise TypeError(
                f"{name} is a {type(value).__name__} in what is saved; save it in a file of its own"
            )
        array = as_array(value)
        if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
            raise TypeError(f"{name} is a {type(value).__name__}, and numbers alone are saved")
        arrays[name] = array
    return plain(arrays)
