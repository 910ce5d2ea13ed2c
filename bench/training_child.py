"""Train as told by standard input, with the minigan that comes first on PYTHONPATH.

`same_bytes` runs this file in a process of its own for each checkout. It imports nothing of
`bench`, and of minigan only the command line, which all revisions have.

In: a list of [name, words of a command]. Out: by name the exit code and the last line on stderr.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path


def main() -> None:
    import minigan_kernels

    import minigan
    from minigan.cli import main as command

    checkout = Path(sys.argv[1])
    for package in (minigan, minigan_kernels):
        if not Path(str(package.__file__)).is_relative_to(checkout):
            sys.exit(f"{package.__name__} comes from {package.__file__}, not from {checkout}")
    outcomes = {}
    for name, words in json.load(sys.stdin):
        said = io.StringIO()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
            code = command(words)
        outcomes[name] = [code, (said.getvalue().strip().splitlines() or [""])[-1]]
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main()
