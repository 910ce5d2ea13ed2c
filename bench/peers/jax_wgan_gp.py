"""JAX: the same critic step of WGAN-GP, jitted."""

# mypy: disable-error-code="untyped-decorator"
from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..timing import Step
from . import Size
from .images import images
from .jax_dcgan import LATENT, generator, moments, parameters
from .jax_layers import adam, adam_state, conv, leaky
from .minigan_wgan_gp import PENALTY


def critic_step(size: Size) -> Step:
    """A step of the critic: G's images, the penalty between them and real ones, and Adam."""
    data = np.ascontiguousarray(images(size.image).transpose(0, 2, 3, 1))  # (N, H, W, C)
    rng, key = np.random.default_rng(0), jax.random.key(0)
    G, D = parameters(size, key)
    run = [moments(layer) for layer in G["norms"]]
    D = {"weights": D["weights"], "biases": [jnp.zeros(w.shape[-1]) for w in D["weights"]]}

    @jax.jit
    def update(D: Any, adam_d: Any, real: Any, key: Any) -> Any:
        first, second = jax.random.split(key)
        real = real / 127.5 - 1.0
        fake, _ = generator(G, jax.random.uniform(first, (len(real), 1, 1, LATENT)) * 2 - 1, run)
        epsilon = jax.random.uniform(second, (len(real), 1, 1, 1))
        between = epsilon * real + (1 - epsilon) * fake

        def loss(D: Any) -> Any:
            slope = jax.grad(lambda x: critic(D, x).sum())(between)
            norm = jnp.sqrt(jnp.square(slope).sum((1, 2, 3)))
            penalty = jnp.square(norm - 1).mean()
            return critic(D, fake).mean() - critic(D, real).mean() + PENALTY * penalty

        value, g = jax.value_and_grad(loss)(D)
        return *adam(D, g, adam_d, 1e-4, 0.0, 0.9), value

    state: dict[str, Any] = {"D": D, "adam": adam_state(D), "key": key}

    def step() -> float:
        real = data[rng.integers(0, len(data), size.batch)]
        state["key"], key = jax.random.split(state["key"])
        state["D"], state["adam"], loss = update(state["D"], state["adam"], real, key)
        return float(loss)

    return step


def critic(p: Any, x: Any) -> Any:
    """Scores (N,) of images (N, H, W, C)."""
    *before, last = zip(p["weights"], p["biases"], strict=True)
    for w, b in before:
        x = leaky(conv(x, w, 2, 1) + b)
    return (conv(x, last[0], 1, 0) + last[1]).reshape(-1)
