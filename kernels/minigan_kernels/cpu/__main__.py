"""Print the source of every generated kernel: `python -m minigan_kernels.cpu`."""

from __future__ import annotations

from .conv.direct.microkernel import MICROKERNELS
from .conv.winograd.codegen import transforms
from .gemm.microkernel import microkernels
from .gemm.microkernel_amx import STEPS
from .isa.amx import AMX
from .transpose import transpose

if __name__ == "__main__":
    for m, r in ((2, 2), (4, 2), (2, 3), (4, 3)):
        print(*transforms(m, r).values(), sep="\n")
    print(transpose("transpose"), *MICROKERNELS.values(), sep="\n")
    print(*(STEPS if AMX else microkernels()).values(), sep="\n")
