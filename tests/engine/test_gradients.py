"""Every primitive, layer and loss against central differences, orders 1 and 2, in float64."""

from __future__ import annotations

from collections.abc import Callable

import minigan_kernels as kernels
import numpy as np
import pytest
from cases import (
    LAYER_CASES,
    LOSS_CASES,
    MANY,
    PRIMITIVE_CASES,
    QUICK,
    SETTINGS,
    TWIN,
    Case,
    check,
    layer_classes,
    loss_functions,
    op,
    run,
)
from draw import normal
from hypothesis import settings

import minigan as mg
from minigan import nn
from minigan.fused import Fused
from minigan.tensor import PRIMITIVES, Tensor, grad
from minigan.testing import GradientError, check_gradients

ALL = {
    **{f"op {name}": case for name, case in PRIMITIVE_CASES.items()},
    **{f"layer {name}": case for name, case in LAYER_CASES.items()},
    **{f"loss {name}": case for name, case in LOSS_CASES.items()},
}
# What runs through kernels that have twins of their own.
TWINS = [
    name
    for name, p in PRIMITIVES.items()
    if isinstance(p, Fused) or p.kernel in [getattr(kernels, k) for k in kernels.KERNELS]
]


def test_everything_has_a_case() -> None:
    assert set(PRIMITIVE_CASES) == set(PRIMITIVES)
    assert set(LAYER_CASES) == set(layer_classes())
    assert set(LOSS_CASES) == set(loss_functions())


@pytest.mark.parametrize("name", ALL)
def test_gradients(name: str) -> None:
    with kernels.use("reference"):
        run(ALL[name], QUICK, check)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["reference", "cpu"])
@pytest.mark.parametrize("name", ALL)
def test_gradients_of_many(name: str, backend: str) -> None:
    with kernels.use(backend):
        run(ALL[name], MANY, check)


@pytest.mark.parametrize("name", TWINS)
def test_gradients_of_the_fast_twins(name: str) -> None:
    with kernels.use("cpu"):
        run(PRIMITIVE_CASES[name], TWIN, check)


@pytest.mark.parametrize("name", ["Conv2d", "ConvTranspose2d", "BatchNorm2d", "MaxPool2d"])
def test_gradients_of_layers_on_the_fast_twins(name: str) -> None:
    with kernels.use("cpu"):
        run(LAYER_CASES[name], TWIN, check)


THIRD = ["multiply", "tanh", "power", "conv2d", "matmul", "softplus", "bias_tanh", "batch_norm"]


@pytest.mark.parametrize("name", THIRD)
def test_third_order(name: str) -> None:
    with kernels.use("reference"):
        run(
            PRIMITIVE_CASES[name],
            settings(SETTINGS, max_examples=2),
            lambda case: check_gradients(case.f, case.inputs, order=3),
        )


@pytest.mark.parametrize("name", PRIMITIVES)
def test_a_constant_gradient_that_lies_anywhere(name: str) -> None:
    """A sum's gradient is one number repeated with strides of 0; kernels must read it too."""

    def body(case: Case) -> None:
        xs = [Tensor(x) for x in case.inputs]
        y = case.f(*xs)
        repeated = grad(y.sum(), xs, allow_unused=True)
        ones = grad(y, xs, grad_output=Tensor(np.ones(y.shape)), allow_unused=True)
        for a, b in zip(repeated, ones, strict=True):
            np.testing.assert_allclose(a.data, b.data, rtol=1e-12, atol=1e-12)

    run(PRIMITIVE_CASES[name], TWIN, body)


# --- Chains: what a GAN differentiates ---------------------------------------------------------


def rng() -> mg.Generator:
    return mg.Generator(7, "chains")


def as_function(
    network: nn.Module, loss: Callable[..., Tensor]
) -> tuple[Callable[..., Tensor], list[np.ndarray]]:
    """A loss of a network as a function of the inputs and all parameters."""
    network.astype(np.float64)
    names = list(network.parameters())
    for seed, p in enumerate(network.parameters().values()):
        p.data += 0.3 * normal(*p.shape, seed=seed + 100)

    def f(*tensors: Tensor) -> Tensor:
        inputs, values = tensors[: -len(names)], tensors[-len(names) :]
        with network.replaced(dict(zip(names, values, strict=True))):
            return loss(network, *inputs)

    return f, [p.data for p in network.parameters().values()]


def discriminator(norm: type[nn.Module] = nn.BatchNorm2d) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 2, 3, stride=2, padding=1, rng=rng(), activation=nn.LeakyReLU(0.2)),
        nn.Conv2d(2, 3, 2, stride=2, rng=rng(), bias=False),
        norm(3),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(3, 1, rng=rng()),
    )


def generator() -> nn.Module:
    return nn.Sequential(
        nn.Linear(2, 2 * 4, rng=rng(), bias=False),
        nn.BatchNorm1d(8),
        nn.ELU(),
        nn.Reshape(2, 2, 2),
        nn.ConvTranspose2d(2, 1, 4, stride=2, padding=1, rng=rng(), activation=nn.Tanh()),
    )


def penalty(D: nn.Module, x: Tensor) -> Tensor:
    """E[(|grad D(x)| - 1)^2] (Gulrajani et al. 2017, equation 3)."""
    g = grad(D(x).sum(), x, create_graph=True)
    norms = mg.sqrt(mg.sum(g * g, (1, 2, 3)) + 1e-12)
    return mg.mean(mg.square(norms - 1))


@pytest.mark.parametrize("backend", ["reference", "cpu"])
@pytest.mark.parametrize("norm", [nn.BatchNorm2d, nn.InstanceNorm2d])
def test_gradient_penalty(backend: str, norm: type[nn.Module]) -> None:
    """The gradient of a loss that holds a gradient, through convolution, norm and leaky ReLU."""
    side = 5 if norm is nn.BatchNorm2d else 7
    network = discriminator(norm)
    if norm is nn.InstanceNorm2d:
        network.layers[4:] = [nn.Flatten(), nn.Linear(12, 1, rng=rng())]
    f, parameters = as_function(network, penalty)
    inputs = [normal(3, 1, side, side), *parameters]
    with kernels.use(backend):
        for order in (1, 2):
            check_gradients(f, inputs, order=order)


def test_gradient_penalty_in_inference_mode() -> None:
    f, parameters = as_function(discriminator().eval(), penalty)
    for order in (1, 2):
        check_gradients(f, [normal(2, 1, 5, 5), *parameters], order=order)


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_generator_through_discriminator(backend: str) -> None:
    """A generator's loss by its own parameters, batch norm in both networks."""
    D = discriminator().astype(np.float64)
    D.layers[1:2] = [nn.Conv2d(2, 3, 2, stride=2, rng=rng(), bias=False).astype(np.float64)]
    f, parameters = as_function(
        generator(), lambda G, z: mg.losses.non_saturating_loss(D(mg.pad(G(z), _BORDER)))
    )
    with kernels.use(backend):
        for order in (1, 2):
            check_gradients(f, [normal(3, 2), *parameters], order=order)


_BORDER = ((0, 0), (0, 0), (0, 1), (1, 0))


def test_unrolled_step() -> None:
    """The gradient through one step of descent on another loss (Metz et al. 2017)."""

    def f(w: Tensor, v: Tensor, x: Tensor) -> Tensor:
        inner = mg.softplus(mg.tanh(x @ w) @ v).mean()
        w_after = w - 0.5 * grad(inner, w, create_graph=True)
        return mg.softplus(-(mg.tanh(x @ w_after) @ v)).mean()

    inputs = [normal(2, 3), normal(3, 1, seed=1), normal(4, 2, seed=2)]
    for order in (1, 2):
        check_gradients(f, inputs, order=order)


def test_kernel_and_reference_disagree_only_in_rounding() -> None:
    """A second derivative taken through recorded gradients equals one through the plain chain."""
    x = normal(4, 3)
    fused = Case(lambda x: op("bias_tanh")(x, np.zeros(3)), [x])
    plain = Case(mg.tanh, [x])
    for case in (fused, plain):
        check(case)
    second = [
        grad(grad(c.f(t := Tensor(x)).sum(), t, create_graph=True).sum(), t).data
        for c in (fused, plain)
    ]
    np.testing.assert_allclose(second[0], second[1], rtol=1e-12)


# --- The check itself --------------------------------------------------------------------------


def test_the_check_wants_float64() -> None:
    with pytest.raises(ValueError, match="input 1 is float32"):
        check_gradients(mg.add, [np.ones(2), np.ones(2, np.float32)])


def test_the_check_sees_an_error_of_one_in_ten_thousand() -> None:
    def wrong(x: Tensor) -> Tensor:  # value exp(x), derivative 1.0001 exp(x)
        y = mg.exp(x)
        return 1.0001 * y - 0.0001 * y.detach()

    with pytest.raises(GradientError, match=r"order 1 with respect to input 0 of shape \(3,\)"):
        check_gradients(wrong, [normal(3)], order=1)


def test_the_check_names_the_order() -> None:
    def wrong(x: Tensor) -> Tensor:  # derivative y x, with y taken for a constant
        y = mg.exp(x)
        return x * y.detach() + (y - x * y).detach()

    check_gradients(wrong, [x := normal(3)], order=1)
    with pytest.raises(GradientError, match="order 2 with respect to input 0"):
        check_gradients(wrong, [x], order=2)


def test_the_check_reports_the_largest_error() -> None:
    errors = [check_gradients(mg.tanh, [normal(3)], order=2) for _ in range(2)]
    assert 0 < errors[0] < 1e-7
    assert errors[0] == errors[1]
