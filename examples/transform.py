"""Put the smallest generated function of the kernels into their page, kernels/README.md.

    python examples/transform.py

`python -m minigan_kernels.cpu` prints all of them.
"""

from __future__ import annotations

from pathlib import Path

from minigan_kernels.cpu.conv.winograd.codegen import transforms
from minigan_kernels.cpu.conv.winograd.toom_cook import Matrix, scheme, transposed

from minigan.page_parts import rewrite_part

PAGE = Path(__file__).parents[1] / "kernels" / "README.md"
BEGIN, END = "<!-- transform: written by examples/transform.py -->", "<!-- end of transform -->"


def section() -> str:
    """The text between the marks: the transform of an output gradient for F(2 x 2, 2 x 2)."""
    matrix = _text(transposed(scheme(2, 2).at))
    return (
        "The smallest one takes a tile x of 2 x 2 output gradients into the Winograd domain:\n"
        f"y = A x A^T with A = {matrix}.\n\n"
        f"```python\n{transforms(2, 2)['gradient'].strip()}\n```"
    )


def _text(matrix: Matrix) -> str:
    return f"({', '.join('(' + ', '.join(map(str, row)) + ')' for row in matrix)})"


if __name__ == "__main__":
    rewrite_part(PAGE, BEGIN, END, section())
