"""CPU twins."""

from ..reference.linalg import matmul as matmul
