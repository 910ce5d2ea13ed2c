"""JAX: the DCGAN step as one jitted function, with the networks of PyTorch's example."""

# mypy: disable-error-code="untyped-decorator"
from __future__ import annotations

from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from minigan.gans._sizes import PLANES

from ..timing import Step
from . import Size
from .images import images
from .jax_layers import adam, adam_state, batch_norm, conv, conv_transpose, leaky

LATENT = 100
RATES = (2e-4, 0.5, 0.999)  # Adam's


def jitted(size: Size) -> Step:
    """A round: D's update and G's, one pass through G for both."""
    data = np.ascontiguousarray(images(size.image).transpose(0, 2, 3, 1))  # (N, H, W, C)
    rng, key = np.random.default_rng(0), jax.random.key(0)
    G, D = parameters(size, key)

    @jax.jit
    def update(players: Any, real: Any, key: Any) -> Any:
        (G, adam_g, run_g), (D, adam_d, run_d) = players
        z = jax.random.normal(key, (size.batch, 1, 1, LATENT))
        fake, back_to_g, run_g = jax.vjp(lambda G: generator(G, z, run_g), G, has_aux=True)

        def loss_d(D: Any) -> Any:
            on_real, once = discriminator(D, real / 127.5 - 1.0, run_d)
            on_fake, twice = discriminator(D, fake, once)
            value = jax.nn.softplus(-on_real).mean() + jax.nn.softplus(on_fake).mean()
            return value, (twice, jax.nn.sigmoid(on_real).mean(), jax.nn.sigmoid(on_fake).mean())

        (value_d, (run_d, *means)), g = jax.value_and_grad(loss_d, has_aux=True)(D)
        D, adam_d = adam(D, g, adam_d, *RATES)

        def loss_g(fake: Any) -> Any:
            on_fake, after = discriminator(D, fake, run_d)
            return jax.nn.softplus(-on_fake).mean(), after

        (value_g, run_d), g = jax.value_and_grad(loss_g, has_aux=True)(fake)
        G, adam_g = adam(G, back_to_g(g)[0], adam_g, *RATES)
        return ((G, adam_g, run_g), (D, adam_d, run_d)), (value_d, value_g, *means)

    run_g, run_d = ([moments(layer) for layer in net["norms"]] for net in (G, D))
    state = {"players": ((G, adam_state(G), run_g), (D, adam_state(D), run_d)), "key": key}

    def step() -> tuple[float, ...]:
        real = data[rng.integers(0, len(data), size.batch)]
        state["key"], key = jax.random.split(state["key"])
        state["players"], numbers = update(state["players"], real, key)
        return tuple(float(number) for number in numbers)

    return step


def parameters(size: Size, key: Any) -> tuple[Any, Any]:
    """G's and D's weights (k, k, in, out) and batch norms."""
    channels, side, _ = size.image
    planes = PLANES[side]
    widths = [size.width << i for i in range(len(planes))]  # from the image on
    kernels = [4 - plane % 2 for plane in planes[:0:-1]]
    down = [(4, channels, widths[0])]
    down += [(k, a, b) for k, (a, b) in zip(kernels, pairwise(widths), strict=True)]
    up = [(planes[0], LATENT, widths[-1])] + [(k, b, a) for k, a, b in down[::-1]]
    down.append((planes[0], widths[-1], 1))
    split = jax.random.split(key)
    return _network(up, widths[::-1], split[0]), _network(down, widths[1:], split[1])


def moments(layer: Any) -> Any:
    """Running moments at first."""
    return jnp.zeros_like(layer["beta"]), jnp.ones_like(layer["beta"])


def generator(p: Any, z: Any, running: Any) -> tuple[Any, Any]:
    """Images (N, H, W, C) in (-1, 1), and the new running moments."""
    after = []
    x = conv_transpose(z, p["weights"][0], 1, 0)
    for w, norm, old in zip(p["weights"][1:], p["norms"], running, strict=True):
        x, new = batch_norm(x, norm, old)
        after.append(new)
        x = conv_transpose(jax.nn.relu(x), w, 2, 1)
    return jnp.tanh(x), after


def discriminator(p: Any, x: Any, running: Any) -> tuple[Any, Any]:
    """Logits (N,), and the new running moments."""
    after = []
    first, *middle, last = p["weights"]
    x = leaky(conv(x, first, 2, 1))
    for w, norm, old in zip(middle, p["norms"], running, strict=True):
        x, new = batch_norm(conv(x, w, 2, 1), norm, old)
        after.append(new)
        x = leaky(x)
    return conv(x, last, 1, 0).reshape(-1), after


def _network(shapes: list[tuple[int, int, int]], norms: list[int], key: Any) -> Any:
    keys = jax.random.split(key, len(shapes))
    return {
        "weights": [
            0.02 * jax.random.normal(key, (k, k, a, b))
            for key, (k, a, b) in zip(keys, shapes, strict=True)
        ],
        "norms": [{"gamma": jnp.ones(c), "beta": jnp.zeros(c)} for c in norms],
    }
