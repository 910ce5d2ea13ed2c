"""An interpreter of pickles that runs nothing that they name.

A pickle is a program for a small stack machine. Python's own machine calls what the program names,
and NumPy's reader of a pickled array trusts sizes and pointers that the program chose. This machine
knows lists, dictionaries, tuples, texts, bytes and numbers, in the protocols 0 to 5. What else a
program may name is a table of its subclass, which has a check of its own for each name instead of
the real thing. `ArrayMachine` knows the names that an array is pickled with by Python 2 and 3, by
NumPy 1 and 2.

The memory it takes is bounded by the program's length, and its time by the number of operations.
"""

from __future__ import annotations

from .arrays import ArrayMachine, Holder, is_shape
from .machine import ForeignNameError, ForeignTypeError

__all__ = ["ArrayMachine", "ForeignNameError", "ForeignTypeError", "Holder", "is_shape"]
