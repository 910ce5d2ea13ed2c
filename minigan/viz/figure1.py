"""Figure 1 of the first GAN paper, for any one-dimensional run.

Goodfellow et al. 2014, "Generative Adversarial Nets", arXiv:1406.2661: the discriminative
distribution D (blue, dashed) is updated so that it tells samples of the data (black, dotted) from
samples of the generator (green, solid). The lower line is the domain of z, the one above it a part
of the domain of x; the arrows show how x = G(z) makes p_g from a uniform z: dense where G contracts
and sparse where it expands. At the optimum p_g = p_data and D = 1/2 everywhere.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .agg import Axes, Line2D
from .style import (
    DISCRIMINATOR,
    FAKE,
    INK,
    OPTIMUM,
    REAL,
    heading,
    new_figure,
    our_style,
    save_figure,
    style_axes,
)

CHUNK = 1 << 20  # kernel evaluations in memory at once: 8 MB of float64


def optimal_discriminator(p_data: np.ndarray, p_g: np.ndarray) -> np.ndarray:
    """The best discriminator against a fixed generator: D*(x) = p_data / (p_data + p_g).

    `p_data` and `p_g` are densities of one shape, 0 or above. Where both are 0 the formula is 0/0.
    The paper leaves D undefined there, since no sample ever falls there; here D is 1/2. NaN in a
    density stays NaN.

    Raises:
        ValueError: if the shapes differ or a density is negative.

    Source: arXiv:1406.2661, Proposition 1, equation (2).

    >>> optimal_discriminator(np.array([0.3, 0.0]), np.array([0.1, 0.2]))
    array([0.75, 0.  ])
    """
    if p_data.shape != p_g.shape:
        raise ValueError(f"the densities have different shapes: {p_data.shape} and {p_g.shape}")
    if np.any(p_data < 0) or np.any(p_g < 0):
        raise ValueError("a density cannot be negative")
    total = p_data + p_g
    nowhere = total == 0
    return np.where(nowhere, 0.5, p_data / np.where(nowhere, 1, total))


def density_of(samples: np.ndarray, x: np.ndarray, *, bandwidth: float | None = None) -> np.ndarray:
    """The density of samples (N,) at the points x (M,), estimated with a Gaussian kernel: (M,).

    p(x) = 1/(N h) * sum_i phi((x - s_i) / h) in float64, with phi the standard normal density. The
    `bandwidth` h is by default Silverman's rule, 0.9 min(std, IQR / 1.34) N^(-1/5), but no less
    than the spacing of `x`: the samples of a collapsed generator could otherwise be between two
    points of the axis.

    Raises:
        ValueError: for another shape, no sample, a value that is not finite, h <= 0, or a single
            `x` beside samples without spread.

    Source: Silverman 1986, "Density Estimation for Statistics and Data Analysis", equation (3.31).

    >>> p = density_of(np.zeros(1), np.array([0.0]), bandwidth=1.0)  # 1 / sqrt(2 pi)
    >>> p.round(4).tolist()
    [0.3989]
    """
    if samples.ndim != 1 or len(samples) == 0 or x.ndim != 1 or len(x) == 0:
        raise ValueError(
            f"samples and x must be one-dimensional and not empty, "
            f"not {samples.shape} and {x.shape}"
        )
    if not np.isfinite(samples).all():
        raise ValueError(f"sample {int(np.argmin(np.isfinite(samples)))} is not finite")
    samples, x = samples.astype(np.float64), x.astype(np.float64)
    if bandwidth is None:
        bandwidth = _silverman(samples)
        if len(x) > 1:
            bandwidth = max(bandwidth, float(np.ptp(x)) / (len(x) - 1))
    if not bandwidth > 0:
        raise ValueError(f"the bandwidth must be positive, not {bandwidth:g}")
    total = np.zeros(len(x))
    size = max(1, CHUNK // len(x))
    for start in range(0, len(samples), size):
        u = (x[:, None] - samples[start : start + size]) / bandwidth  # (M, chunk)
        total += np.exp(-0.5 * u * u).sum(axis=1)
    return total / (len(samples) * bandwidth * np.sqrt(2 * np.pi))


def _silverman(samples: np.ndarray) -> float:
    std = float(samples.std())
    q1, q3 = np.percentile(samples, [25, 75])
    # More than half of the samples may have one value; then the quartiles are equal.
    spread = min(std, float(q3 - q1) / 1.34) or std
    return 0.9 * spread * len(samples) ** -0.2


@our_style()
def save_figure1(
    path: str | Path,
    *,
    x: np.ndarray,
    p_data: np.ndarray,
    p_g: np.ndarray,
    d: np.ndarray | None = None,
    z: np.ndarray | None = None,
    g_of_z: np.ndarray | None = None,
    step: int,
) -> None:
    """Write a PNG of Figure 1 of arXiv:1406.2661 at one step of training.

    `p_data` and `p_g` are densities (M,) at increasing points x (M,); see `density_of`. Their axis
    grows by doublings only, so most frames of an animation share it. `d` is D(x) (M,),
    probabilities in [0, 1]; without it neither D nor the best D is drawn, since a critic's scores
    are no probabilities. `z` and `g_of_z` (K,) are evenly spaced noise and G(z), about 20 of them,
    for the arrows below; an arrow to a point outside of the axis ends at its edge.

    Raises:
        ValueError: if shapes differ, D leaves [0, 1], x does not increase, a value is not finite,
            or only one of z and g_of_z is given.
        OSError: if the file cannot be written.

    >>> x = np.linspace(-3, 3, 50)
    >>> p = np.exp(-(x**2) / 2) / 2.5
    >>> save_figure1("figure1.png", x=x, p_data=p, p_g=p, d=np.full(50, 0.5), step=100)
    """
    curves = {"x": x, "p_data": p_data, "p_g": p_g} | ({} if d is None else {"d": d})
    for name, curve in curves.items():
        if curve.ndim != 1 or curve.shape != x.shape:
            raise ValueError(f"{name} must have the shape {x.shape} of x, not {curve.shape}")
        if not np.isfinite(curve).all():
            raise ValueError(f"{name} is not finite at x = {x[np.argmin(np.isfinite(curve))]:g}")
    if len(x) < 2 or np.any(np.diff(x) <= 0):
        raise ValueError("x must be at least two increasing points")
    if d is not None and (d.min() < 0 or d.max() > 1):
        raise ValueError(f"d must hold probabilities, not values in [{d.min():g}, {d.max():g}]")
    if (z is None) != (g_of_z is None):
        raise ValueError("z and g_of_z come together: the arrows need both ends")

    figure = new_figure(8, 6.2 if z is not None else 4.6)
    if z is not None and g_of_z is not None:
        upper, lower = figure.subplots(2, 1, height_ratios=[7, 2])
        _draw_arrows(lower, x, z, g_of_z)
    else:
        upper = figure.subplots()
    upper.fill_between(x, p_g, color=FAKE, alpha=0.10, linewidth=0)
    lines = [
        *upper.plot(x, p_data, color=REAL, linestyle=(0, (1, 1.4)), linewidth=2.4, label="data"),
        *upper.plot(x, p_g, color=FAKE, linewidth=2.2, label="generated"),
    ]
    top = 1.25 * float(p_data.max()) or 1.0
    while top < p_g.max():
        top *= 2
    upper.set_ylim(0, top)
    upper.set_xlim(float(x[0]), float(x[-1]))
    style_axes(upper, x="" if z is not None else "x", y="density", grid=None)
    if d is not None:
        lines += _draw_discriminator(upper, x, d, p_data, p_g)
    heading(upper, f"step {step:,}")
    figure.legend(
        handles=lines,
        loc="outside upper center",
        ncols=len(lines),
        frameon=False,
        fontsize=10,
        labelcolor=INK,
    )
    save_figure(path, figure)


def _draw_discriminator(
    axes: Axes, x: np.ndarray, d: np.ndarray, p_data: np.ndarray, p_g: np.ndarray
) -> list[Line2D]:
    """Draw D and the best D on an axis of probabilities on the right, and give the two lines."""
    right = axes.twinx()
    optimum = np.where(p_data + p_g > 0, optimal_discriminator(p_data, p_g), np.nan)
    dashes = (0, (5, 2.2))
    lines = [
        *right.plot(x, d, color=DISCRIMINATOR, linestyle=dashes, linewidth=2.0, label="D(x)"),
        *right.plot(x, optimum, color=OPTIMUM, linewidth=1.2, label="optimal D*(x)"),
    ]
    right.set_ylim(0, 1.04)
    right.set_yticks([0, 0.25, 0.5, 0.75, 1])
    right.axhline(0.5, color=DISCRIMINATOR, linewidth=0.6, alpha=0.5)
    style_axes(right, y="D(x)", grid=None)
    right.spines["left"].set_visible(False)
    right.yaxis.label.set_color(DISCRIMINATOR)
    return lines


def _draw_arrows(axes: Axes, x: np.ndarray, z: np.ndarray, g_of_z: np.ndarray) -> None:
    """Draw the line of z below, the line of x above, and an arrow from each z to G(z)."""
    if z.ndim != 1 or z.shape != g_of_z.shape or len(z) == 0:
        raise ValueError(f"z and g_of_z must have one shape (K,), not {z.shape} and {g_of_z.shape}")
    if not (np.isfinite(z).all() and np.isfinite(g_of_z).all()):
        raise ValueError("z and g_of_z must be finite")
    left, right = float(x[0]), float(x[-1])
    inset = 0.12 * (right - left)  # z has a unit of its own, so it is stretched to the width of x
    spread = float(np.ptp(z)) or 1.0
    start = left + inset + (z - z.min()) / spread * (right - left - 2 * inset)
    for begin, end in zip(start, g_of_z, strict=True):
        share = 1.0  # of the arrow that is within the axis
        if not left <= end <= right:
            share = float(((left if end < left else right) - begin) / (end - begin))
        axes.annotate(
            "",
            xy=(begin + share * (end - begin), share),
            xytext=(begin, 0),
            arrowprops={
                "arrowstyle": "-|>" if share == 1 else "-",
                "color": FAKE,
                "linewidth": 1.0,
                "shrinkA": 0,
                "shrinkB": 0,
                "mutation_scale": 9,
            },
        )
    axes.axhline(1, color=INK, linewidth=1.2)
    axes.plot([start.min(), start.max()], [0, 0], color=INK, linewidth=1.2)
    axes.plot(start, np.zeros_like(start), "|", color=INK, markersize=5)
    for height, name in ((1, "x"), (0, "z")):
        axes.text(
            -0.015,
            height,
            name,
            transform=axes.get_yaxis_transform(),
            ha="right",
            va="center",
            fontstyle="italic",
            fontsize=12,
            color=INK,
        )
    axes.set_xlim(left, right)
    axes.set_ylim(-0.12, 1.06)
    axes.set_axis_off()
