"""JAX: the first GAN (Goodfellow et al. 2014), jitted, with the settings of minigan's recipe."""

# mypy: disable-error-code="untyped-decorator"
from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from minigan.gans.gan import GAN

from ..timing import Step
from .images import images
from .ours import IMAGES


def jitted(batch: int = 100) -> Step:
    """A round: one update of D, one of G, each with its own latent vectors."""
    r, values = GAN(), IMAGES[1] * IMAGES[2]
    data = images(IMAGES).reshape(-1, values)
    rng, key = np.random.default_rng(0), jax.random.key(0)
    G = _linears([(r.latent_size, r.hidden), (r.hidden, r.hidden), (r.hidden, values)], r.init_g)
    maxout = r.units * r.pieces
    D = _linears([(values, maxout), (r.units, maxout), (r.units, 1)], r.init_d)

    def generate(p: Any, key: Any) -> Any:
        x = r.noise * (jax.random.uniform(key, (batch, r.latent_size)) * 2 - 1)
        for w, b in p[:-1]:
            x = jax.nn.relu(x @ w + b)
        return jax.nn.sigmoid(x @ p[-1][0] + p[-1][1])

    def judge(p: Any, x: Any, key: Any) -> Any:
        keys = jax.random.split(key, 3)
        x = _dropout(x, r.keep_input, keys[0])
        for (w, b), key in zip(p[:2], keys[1:], strict=True):
            x = (x @ w + b).reshape(batch, r.units, r.pieces).max(2)
            x = _dropout(x, r.keep_hidden, key)
        return (x @ p[2][0] + p[2][1]).reshape(-1)

    @jax.jit
    def update_d(D: Any, v: Any, G: Any, real: Any, key: Any) -> Any:
        keys = jax.random.split(key, 3)
        fake = generate(G, keys[0])

        def loss(D: Any) -> Any:
            on_real, on_fake = judge(D, real / 255.0, keys[1]), judge(D, fake, keys[2])
            value = jax.nn.softplus(-on_real).mean() + jax.nn.softplus(on_fake).mean()
            value = r.weight_d * value
            return value, (jax.nn.sigmoid(on_real).mean(), jax.nn.sigmoid(on_fake).mean())

        (value, _), g = jax.value_and_grad(loss, has_aux=True)(D)
        return *_sgd(D, g, v, r.lr, r.momentum), value

    @jax.jit
    def update_g(G: Any, v: Any, D: Any, key: Any) -> Any:
        keys = jax.random.split(key)

        def loss(G: Any) -> Any:
            return jax.nn.softplus(-judge(D, generate(G, keys[0]), keys[1])).mean()

        value, g = jax.value_and_grad(loss)(G)
        return *_sgd(G, g, v, r.lr, r.momentum), value

    zeros = jax.tree.map(jnp.zeros_like, (G, D))
    state: dict[str, Any] = {"G": G, "D": D, "vG": zeros[0], "vD": zeros[1], "key": key}

    def step() -> tuple[float, float]:
        real = data[rng.integers(0, len(data), batch)]
        state["key"], first, second = jax.random.split(state["key"], 3)
        D, v, loss_d = update_d(state["D"], state["vD"], state["G"], real, first)
        state["D"], state["vD"] = D, v
        state["G"], state["vG"], loss_g = update_g(state["G"], state["vG"], D, second)
        return float(loss_d), float(loss_g)

    return step


def _linears(shapes: list[tuple[int, int]], bound: float) -> list[tuple[Any, Any]]:
    keys = jax.random.split(jax.random.key(1), len(shapes))
    return [
        (jax.random.uniform(key, shape, minval=-bound, maxval=bound), jnp.zeros(shape[1]))
        for key, shape in zip(keys, shapes, strict=True)
    ]


def _dropout(x: Any, keep: float, key: Any) -> Any:
    return jnp.where(jax.random.bernoulli(key, keep, x.shape), x / keep, 0.0)


def _sgd(p: Any, g: Any, v: Any, lr: float, momentum: float) -> tuple[Any, Any]:
    v = jax.tree.map(lambda v, g: momentum * v + g, v, g)
    return jax.tree.map(lambda p, v: p - lr * v, p, v), v
