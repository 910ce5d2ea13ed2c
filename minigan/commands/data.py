"""`minigan data`: the data sets by name, fetching them, and emptying the caches."""

from __future__ import annotations

from collections.abc import Sequence

from ..data import catalogue, load
from ..data.formats import TAKEN
from ..errors import UserError, nearest
from .caches import caches, size_text
from .console import say, show, show_page, show_table

USAGE = """usage: minigan data list             the data that --data knows, by name and as files
       minigan data fetch NAME       fetch one now, instead of when it is first used
       minigan data clean [CACHE...] empty all caches, or some of: kernels, cuda, downloads,
                                     classifiers, pictures (minigan doctor shows their sizes)"""


def main(words: list[str]) -> int:
    if words == ["list"]:
        rows = []
        for entry in catalogue():
            kind = entry.kind if entry.cached is None else f"in {entry.cached}"
            shape = " x ".join(map(str, entry.shape))
            rows.append((entry.name, kind, shape, f"{entry.count:,}", entry.source, entry.terms))
        show_table(("name", "where", "shape", "samples", "source", "terms"), rows)
        show_page("\n--data takes a folder or a file as well:\n")
        files = [(taken.name, taken.files, taken.source, taken.terms) for taken in TAKEN]
        show_table(("data", "what --data takes", "from", "terms"), files)
        return 0
    if len(words) == 2 and words[0] == "fetch":
        dataset = load(words[1], report=say)
        show(f"{dataset.name}: {len(dataset):,} samples of shape {dataset.shape}")
        return 0
    if words and words[0] == "clean" and not any(word.startswith("-") for word in words):
        return _clean(words[1:])
    if words and {"-h", "--help"} & {words[0], words[-1]}:
        show_page(USAGE)
        return 0
    raise UserError(
        "minigan data knows: minigan data list, minigan data fetch NAME, and minigan data clean"
    )


def _clean(names: Sequence[str]) -> int:
    """Empty the caches of these names, or all of them, and say what was removed."""
    known = caches()
    there = list(dict.fromkeys(cache.name for cache in known))
    for name in names:
        if name not in there:
            near = nearest(name, there)
            hint = f"did you mean {near}?" if near else f"there are {', '.join(there)}"
            raise UserError(f"there is no cache {name}; {hint}")
    total = 0
    for cache in known:
        if not names or cache.name in names:
            try:
                count, size = cache.empty()
            except OSError as error:
                raise UserError(
                    f"{cache.folder} cannot be emptied ({error.strerror or error})"
                ) from error
            total += size
            if count:
                files = f"{count:,} file{'s' * (count != 1)}"
                show(f"removed {cache.what}: {files}, {size_text(size)}, {cache.folder}")
    show(f"{size_text(total)} removed" if total else "there was nothing to remove")
    return 0
