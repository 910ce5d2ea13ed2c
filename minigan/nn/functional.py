"""There is no such module: importing it says where its functions are."""

from __future__ import annotations

from .hints import FUNCTIONAL

raise ImportError(f"there is no minigan.nn.functional: {FUNCTIONAL}")
