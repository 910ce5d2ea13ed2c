"""Who takes which step: the networks that are compared, and all their peers, in one place."""

from __future__ import annotations

from dataclasses import dataclass

from .peers import Peer, Size, peer

OURS = "minigan"
IM2COL = "minigan with im2col, as Chainer"
EAGER = "PyTorch eager, as its example"
TUNED = "PyTorch channels_last, frozen D, fused"
COMPILED = "PyTorch torch.compile"
JAX = "JAX jit"


@dataclass(frozen=True)
class Workload:
    """One step of one GAN, and everybody who can take it; ours is the first."""

    key: str
    title: str
    peers: list[Peer]
    budget: float  # seconds that it deserves


def workloads(quick: bool = False) -> list[Workload]:
    """All of them; so small that they only show whether they run if `quick`."""
    shrink = (8, 8) if quick else (64, 64)
    large, little = Size((3, 64, 64), *shrink), Size((1, 32, 32), *shrink)
    batch = 16 if quick else 100
    return [
        Workload("dcgan-64", f"DCGAN {large}", dcgan_peers(large), 80),
        Workload("dcgan-32", f"DCGAN {little}", dcgan_peers(little), 15),
        Workload("wgan-gp", f"WGAN-GP critic step {large}", wgan_gp_peers(large), 50),
        Workload("dense", f"dense GAN 28x28x1, batch {batch}", dense_peers(batch), 10),
    ]


def dcgan_peers(size: Size) -> list[Peer]:
    """One update of D, one of G."""
    return [
        peer(OURS, "ours.dcgan", size),
        peer(IM2COL, "ours.forced", "im2col", "ours.dcgan", size),
        peer(EAGER, "torch_dcgan.eager", size),
        peer(TUNED, "torch_dcgan.tuned", size, channels_last=True),
        peer(TUNED.replace("last", "first"), "torch_dcgan.tuned", size, channels_last=False),
        peer(COMPILED, "torch_dcgan.compiled", size),
        peer(JAX, "jax_dcgan.jitted", size),
    ]


def wgan_gp_peers(size: Size) -> list[Peer]:
    """One update of the critic, with its gradient's gradient."""
    fast = {"channels_last": True, "fused": True}
    return [
        peer(OURS, "minigan_wgan_gp.critic_step", size),
        peer(IM2COL, "ours.forced", "im2col", "minigan_wgan_gp.critic_step", size),
        peer(EAGER, "torch_wgan_gp.critic_step", size),
        peer("PyTorch channels_last, fused", "torch_wgan_gp.critic_step", size, **fast),
        peer(JAX, "jax_wgan_gp.critic_step", size),
    ]


def dense_peers(batch: int) -> list[Peer]:
    """One update of D, one of G, each with its own latent vectors; no convolution."""
    return [
        peer(OURS, "ours.dense", batch),
        peer(EAGER, "torch_dense.eager", batch),
        peer("PyTorch frozen D, fused", "torch_dense.eager", batch, frozen=True, fused=True),
        peer(JAX, "jax_dense.jitted", batch),
    ]
