"""Pictures of what a GAN does: sample grids, loss plots, Figure 1, animations, the HTML report.

Everything takes plain NumPy arrays. Nothing is imported here, so that only code which draws loads
matplotlib and Pillow:

    from .grid import image_grid, save_grid, save_images
    from .plots import save_class_histogram, save_losses, save_points
    from .figure1 import density_of, optimal_discriminator, save_figure1
    from .animation import save_animation
    from .report import Record, write_report

The same input gives the same bytes: no file carries a date or the name of the software.
"""

from importlib import import_module as _import_module
from typing import Any as _Any

_FILES = ("animation", "figure1", "grid", "html", "plots", "report")


def __getattr__(name: str) -> _Any:
    """A file of this folder, imported when it is first asked for: mg.viz.grid."""
    if name in _FILES:
        return _import_module(f"{__name__}.{name}")
    raise AttributeError(f"minigan.viz has no {name}; there are {', '.join(_FILES)}")


def __dir__() -> list[str]:
    return list(_FILES)
