"""The parts of matplotlib that plots need, imported whatever backend is chosen for windows.

matplotlib checks MPLBACKEND at its import. A notebook hands its own to every command that it
starts, and that backend may not be installed there. Our figures are files, drawn by Agg, so the
choice is hidden from the import. Afterwards it stands for whoever opens a window.
"""

from __future__ import annotations

import os
import sys

_chosen = os.environ.pop("MPLBACKEND", None) if "matplotlib" not in sys.modules else None
try:
    from matplotlib import rc_context, rcParams, rcParamsDefault
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties, findfont, get_font
    from matplotlib.layout_engine import ConstrainedLayoutEngine
    from matplotlib.lines import Line2D
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    if _chosen:  # unchecked: pyplot says what is wrong with it, when a window is wanted
        dict.__setitem__(rcParams, "backend", _chosen)
finally:
    if _chosen is not None:
        os.environ["MPLBACKEND"] = _chosen

__all__ = [
    "Axes",
    "ConstrainedLayoutEngine",
    "Figure",
    "FigureCanvasAgg",
    "FontProperties",
    "FuncFormatter",
    "Line2D",
    "MaxNLocator",
    "findfont",
    "get_font",
    "rcParamsDefault",
    "rc_context",
]
