"""JAX: the layers and Adam that the jitted steps share, channels last as XLA likes it on a CPU."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

LAYOUT = ("NHWC", "HWIO", "NHWC")


def conv(x: Any, w: Any, stride: int, padding: int) -> Any:
    """Convolution of x (N, H, W, C) with w (k, k, C, O)."""
    edges = [(padding, padding)] * 2
    return lax.conv_general_dilated(x, w, (stride, stride), edges, dimension_numbers=LAYOUT)


def conv_transpose(x: Any, w: Any, stride: int, padding: int) -> Any:
    """The transposed convolution of x (N, H, W, C) with w (k, k, C, O)."""
    edge = w.shape[0] - 1 - padding
    return lax.conv_transpose(x, w, (stride, stride), [(edge, edge)] * 2, dimension_numbers=LAYOUT)


def batch_norm(x: Any, p: Any, running: Any) -> tuple[Any, Any]:
    """x normalised over all but its last axis, and the new running moments."""
    axes = tuple(range(x.ndim - 1))
    mean, var = x.mean(axes), x.var(axes)
    count = x.size // x.shape[-1]
    y = (x - mean) * lax.rsqrt(var + 1e-5) * p["gamma"] + p["beta"]
    batch = (mean, var * (count / (count - 1)))
    return y, tuple(0.9 * old + 0.1 * new for old, new in zip(running, batch, strict=True))


def leaky(x: Any) -> Any:
    """LeakyReLU of slope 0.2."""
    return jnp.where(x > 0, x, 0.2 * x)


def adam_state(p: Any) -> Any:
    """Both moments, and the number of steps."""
    zero = jax.tree.map(jnp.zeros_like, p)
    return zero, jax.tree.map(jnp.zeros_like, p), jnp.zeros((), jnp.float32)


def adam(p: Any, g: Any, state: Any, lr: float, beta1: float, beta2: float) -> tuple[Any, Any]:
    """One step of Adam (Kingma & Ba 2015)."""
    m, v, t = state
    t = t + 1
    m = jax.tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, m, g)
    v = jax.tree.map(lambda v, g: beta2 * v + (1 - beta2) * g * g, v, g)
    rate, root = lr / (1 - beta1**t), jnp.sqrt(1 - beta2**t)
    p = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) / root + 1e-8), p, m, v)
    return p, (m, v, t)
