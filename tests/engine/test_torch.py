"""PyTorch, where it is installed, agrees to the last digits, second derivatives included."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from cases import SETTINGS, Source
from draw import normal
from hypothesis import given, settings
from hypothesis import strategies as st

import minigan as mg
from minigan import Generator, losses, nn, optim
from minigan.tensor import Tensor, grad

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # torch's own, while it is imported
    torch = pytest.importorskip("torch")
    F = torch.nn.functional

SOME = settings(SETTINGS, max_examples=25)
MANY = settings(SETTINGS, max_examples=500)


def assert_close(mine: np.ndarray, theirs: Any) -> None:
    theirs = theirs.detach().numpy()
    assert mine.shape == theirs.shape
    scale = max(1.0, float(np.abs(theirs).max(initial=0)))
    np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-10 * scale)


def agree(
    mine: Callable[..., Tensor], theirs: Callable[..., Any], arrays: Sequence[np.ndarray]
) -> None:
    """Values, gradients, and the gradients of the sum of the squared gradients."""
    xs = [Tensor(a) for a in arrays]
    ts = [torch.tensor(np.array(a, order="C"), requires_grad=True) for a in arrays]
    y, t = mine(*xs), theirs(*ts)
    assert_close(y.data, t)
    g = normal(*y.shape, seed=99)
    for create in (False, True):
        first = grad(y, xs, grad_output=Tensor(g), create_graph=create)
        other = torch.autograd.grad(t, ts, torch.tensor(g), create_graph=create, retain_graph=True)
        for a, b in zip(first, other, strict=True):
            assert_close(a.data, b)
    penalty = mg.sum(first[0] * first[0])
    for a in first[1:]:
        penalty = penalty + mg.sum(a * a)
    total = sum((b * b).sum() for b in other)
    if total.requires_grad:
        second = grad(penalty, xs, allow_unused=True)
        expected = torch.autograd.grad(total, ts, allow_unused=True)
        for a, b, like in zip(second, expected, ts, strict=True):
            assert_close(a.data, torch.zeros_like(like) if b is None else b)


@st.composite
def convolutions(draw: Any) -> tuple[dict[str, Any], np.ndarray, np.ndarray, np.ndarray]:
    s = Source(draw)
    options, window = s.windows(4)
    groups = options["groups"] = s.pick(1, 1, 2, 3)
    x = (s.int(1, 3), groups * s.int(1, 2), *s.plane(window))
    w = (groups * s.int(1, 2), x[1] // groups, *window.kernel)
    return options, s.normal(x), s.normal(w), s.normal(w[:1])


def conv_agrees(case: Any) -> None:
    options, x, w, b = case
    agree(lambda *a: mg.conv2d(*a, **options), lambda *a: F.conv2d(*a, **options), [x, w, b])


@SOME
@given(convolutions())
def test_conv2d(case: Any) -> None:
    conv_agrees(case)


@pytest.mark.slow
@MANY
@given(convolutions())
def test_many_of_conv2d(case: Any) -> None:
    conv_agrees(case)


@st.composite
def transposed(draw: Any) -> tuple[dict[str, Any], np.ndarray, np.ndarray, np.ndarray]:
    s = Source(draw)
    options, window = s.windows(4)
    groups = options["groups"] = s.pick(1, 1, 2, 3)
    # The result must have a pixel at least.
    sizes, extra = [], []
    for k, step, p, d in zip(*window, strict=True):
        extra.append(s.int(0, step - 1))
        least = 1
        while (least - 1) * step - 2 * p + d * (k - 1) + 1 < 1:
            least += 1
        sizes.append(s.int(least, least + 3))
    options["output_padding"] = tuple(extra)
    x = (s.int(1, 3), groups * s.int(1, 2), *sizes)
    out = s.int(1, 2)
    w = (x[1], out, *window.kernel)
    return options, s.normal(x), s.normal(w), s.normal((out * groups,))


def transposed_agrees(case: Any) -> None:
    options, x, w, b = case
    agree(
        lambda *a: mg.conv_transpose2d(*a, **options),
        lambda *a: F.conv_transpose2d(*a, **options),
        [x, w, b],
    )


@SOME
@given(transposed())
def test_conv_transpose2d(case: Any) -> None:
    transposed_agrees(case)


@pytest.mark.slow
@MANY
@given(transposed())
def test_many_of_conv_transpose2d(case: Any) -> None:
    transposed_agrees(case)


def test_output_padding_below_the_dilation() -> None:
    """It may reach the stride where the dilation is larger: the rows beyond get the bias alone."""
    options: dict[str, Any] = {"stride": 1, "dilation": 2, "output_padding": 1}
    transposed_agrees((options, normal(2, 2, 4, 3), normal(2, 3, 2, 2, seed=1), normal(3)))


@pytest.mark.parametrize("shape", [(5, 3), (2, 3, 4, 5), (2, 1, 1, 1), (1, 4, 3, 1)])
@pytest.mark.parametrize("momentum", [0.1, 0.7])
def test_batch_norm(shape: tuple[int, ...], momentum: float) -> None:
    channels = shape[1]
    mine = nn.BatchNorm(channels, momentum=momentum, eps=1e-3).astype(np.float64)
    kind = torch.nn.BatchNorm1d if len(shape) == 2 else torch.nn.BatchNorm2d
    theirs = kind(channels, momentum=momentum, eps=1e-3).double()

    def mine_of(x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        with mine.replaced({"gamma": gamma, "beta": beta}):
            return mine(x)

    def theirs_of(x: Any, gamma: Any, beta: Any) -> Any:
        values = {"weight": gamma, "bias": beta}
        return torch.func.functional_call(theirs, values, x)

    for step in range(3):
        arrays = [2 * normal(*shape, seed=step) + 1, normal(channels, seed=7), normal(channels)]
        agree(mine_of, theirs_of, arrays)
        assert_close(mine.running_mean, theirs.running_mean)
        assert_close(mine.running_var, theirs.running_var)
    mine.eval()
    theirs.eval()
    agree(mine_of, theirs_of, arrays)


@pytest.mark.parametrize("slope", [0.0, 0.2])
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_and_an_activation(slope: float, training: bool) -> None:
    mean, var = normal(3, seed=1), normal(3, seed=2) ** 2 + 0.5

    def mine(x: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
        if training:
            return mg.batch_norm(x, gamma, beta, slope=slope)
        return mg.batch_norm_inference(x, gamma, beta, mean=mean, var=var, slope=slope)

    def theirs(x: Any, gamma: Any, beta: Any) -> Any:
        running = torch.tensor(mean), torch.tensor(var)
        return F.leaky_relu(F.batch_norm(x, *running, gamma, beta, training), slope)

    agree(mine, theirs, [normal(4, 3, 5, 2), normal(3, seed=7), normal(3, seed=8)])


@pytest.mark.parametrize("own", [(5,), (4, 5)])
def test_layer_norm(own: tuple[int, ...]) -> None:
    agree(
        lambda *a: mg.layer_norm(*a, eps=1e-4),
        lambda x, gamma, beta: F.layer_norm(x, own, gamma, beta, eps=1e-4),
        [normal(2, 3, 4, 5), normal(*own, seed=1), normal(*own, seed=2)],
    )


def test_instance_norm() -> None:
    agree(
        lambda *a: mg.instance_norm(*a, eps=1e-4),
        lambda x, gamma, beta: F.instance_norm(x, weight=gamma, bias=beta, eps=1e-4),
        [normal(2, 3, 4, 5), normal(3, seed=1), normal(3, seed=2)],
    )


def test_linear() -> None:
    def mine(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        layer = nn.Linear(4, 3, rng=Generator(0))
        with layer.replaced({"weight": w, "bias": b}):
            return layer(x)

    agree(mine, F.linear, [normal(5, 4), normal(3, 4, seed=1), normal(3, seed=2)])


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [(2, None, 0), (3, 2, 1), ((2, 3), (1, 2), (1, 1)), (2, 3, 1), ((1, 4), 2, 0)],
)
@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d"])
def test_pooling(name: str, kernel: Any, stride: Any, padding: Any) -> None:
    agree(
        lambda x: mg.square(getattr(mg, name)(x, kernel, stride=stride, padding=padding)),
        lambda x: getattr(F, name)(x, kernel, stride=stride, padding=padding) ** 2,
        [normal(2, 3, 7, 6)],
    )


def test_upsampling() -> None:
    agree(
        lambda x: mg.tanh(mg.upsample_nearest(x, 3)),
        lambda x: torch.tanh(F.interpolate(x, scale_factor=3, mode="nearest")),
        [normal(2, 3, 4, 5)],
    )


ACTIVATIONS: dict[str, tuple[Callable[..., Tensor], Callable[..., Any]]] = {
    "relu": (mg.relu, F.relu),
    "leaky_relu": (lambda x: mg.leaky_relu(x, 0.2), lambda x: F.leaky_relu(x, 0.2)),
    "elu": (lambda x: mg.elu(x, 0.7), lambda x: F.elu(x, 0.7)),
    "tanh": (mg.tanh, torch.tanh),
    "sigmoid": (mg.sigmoid, torch.sigmoid),
    "softplus": (mg.softplus, F.softplus),
    "erf": (mg.erf, torch.erf),
    "silu": (mg.silu, F.silu),
    "gelu": (mg.gelu, F.gelu),
    "gelu, tanh": (lambda x: mg.gelu(x, "tanh"), lambda x: F.gelu(x, approximate="tanh")),
    "log_softmax": (mg.log_softmax, lambda x: F.log_softmax(x, -1)),
    "softmax": (lambda x: mg.softmax(x, 0), lambda x: F.softmax(x, 0)),
    "logsumexp": (lambda x: mg.logsumexp(x, 1), lambda x: torch.logsumexp(x, 1)),
    "var": (lambda x: mg.var(x, 0), lambda x: x.var(0, unbiased=False)),
    "power": (lambda x: mg.power(mg.absolute(x), 1.7), lambda x: x.abs() ** 1.7),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(name: str) -> None:
    agree(*ACTIVATIONS[name], [3 * normal(4, 5)])


LAYERS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Any], tuple[int, ...]]] = {
    "AvgPool1d": (lambda: nn.AvgPool1d(3, 2, 1), lambda: torch.nn.AvgPool1d(3, 2, 1), (2, 3, 8)),
    "AvgPool2d": (
        lambda: nn.AvgPool2d(3, 2, 1), lambda: torch.nn.AvgPool2d(3, 2, 1), (2, 3, 7, 6)
    ),
    "Conv1d": (
        lambda: nn.Conv1d(4, 6, 3, 2, 1, 2, 2, rng=Generator(0)),
        lambda: torch.nn.Conv1d(4, 6, 3, 2, 1, 2, 2),
        (3, 4, 9),
    ),
    "Conv1d without bias": (
        lambda: nn.Conv1d(4, 6, 2, bias=False, rng=Generator(0)),
        lambda: torch.nn.Conv1d(4, 6, 2, bias=False),
        (3, 4, 5),
    ),
    "Conv1d, same length": (
        lambda: nn.Conv1d(4, 6, 4, padding="same", rng=Generator(0)),
        lambda: torch.nn.Conv1d(4, 6, 4, padding="same"),
        (3, 4, 9),
    ),
    "GELU": (nn.GELU, torch.nn.GELU, (3, 4)),
    "GELU, tanh": (lambda: nn.GELU("tanh"), lambda: torch.nn.GELU("tanh"), (3, 4)),
    "GroupNorm": (
        lambda: nn.GroupNorm(2, 6, 1e-3), lambda: torch.nn.GroupNorm(2, 6, 1e-3), (3, 6, 4, 5)
    ),
    "GroupNorm of vectors": (
        lambda: nn.GroupNorm(2, 6), lambda: torch.nn.GroupNorm(2, 6), (3, 6)
    ),
    "GroupNorm, not affine": (
        lambda: nn.GroupNorm(3, 6, affine=False),
        lambda: torch.nn.GroupNorm(3, 6, affine=False),
        (2, 6, 7),
    ),
    "Identity": (lambda: nn.Identity(54, x=1), lambda: torch.nn.Identity(54, x=1), (3, 4)),
    "MaxPool1d": (lambda: nn.MaxPool1d(3, 2, 1), lambda: torch.nn.MaxPool1d(3, 2, 1), (2, 3, 8)),
    "MaxPool2d": (
        lambda: nn.MaxPool2d((2, 3), (1, 2), (1, 0)),
        lambda: torch.nn.MaxPool2d((2, 3), (1, 2), (1, 0)),
        (2, 3, 7, 6),
    ),
    "PReLU": (nn.PReLU, torch.nn.PReLU, (3, 4, 5)),
    "PReLU of channels": (lambda: nn.PReLU(4, 0.1), lambda: torch.nn.PReLU(4, 0.1), (3, 4, 5)),
    "PixelShuffle": (
        lambda: nn.PixelShuffle(3), lambda: torch.nn.PixelShuffle(3), (2, 18, 4, 5)
    ),
    "SiLU": (nn.SiLU, torch.nn.SiLU, (3, 4)),
    "Softmax": (lambda: nn.Softmax(1), lambda: torch.nn.Softmax(1), (3, 4, 5)),
    "Unflatten": (
        lambda: nn.Unflatten(1, (2, -1)), lambda: torch.nn.Unflatten(1, (2, -1)), (3, 6, 2)
    ),
    "Upsample": (
        lambda: nn.Upsample(scale_factor=2), lambda: torch.nn.Upsample(scale_factor=2), (2, 3, 4, 5)
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")  # torch's copy
@pytest.mark.parametrize("name", LAYERS)
def test_a_layer(name: str) -> None:
    """By x and by all parameters, which are in the same order."""
    make, make_theirs, shape = LAYERS[name]
    mine, theirs = make().astype(np.float64), make_theirs().double()
    names, their_names = list(mine.parameters()), [n for n, _ in theirs.named_parameters()]
    found = list(mine.parameters().values())

    def mine_of(x: Tensor, *values: Tensor) -> Tensor:
        with mine.replaced(dict(zip(names, values, strict=True))):
            return mg.square(mine(x))

    def theirs_of(x: Any, *values: Any) -> Any:
        values = dict(zip(their_names, values, strict=True))
        return torch.func.functional_call(theirs, values, x) ** 2

    agree(mine_of, theirs_of, [normal(*shape), *(normal(*p.shape, seed=7) for p in found)])
    for p, t in zip(found, theirs.parameters(), strict=True):
        if "Conv" not in name:  # the initial values
            assert_close(p.data, t)


@pytest.mark.parametrize("name", ["relu", "silu", "gelu", "prelu"])
def test_a_convolution_and_an_activation(name: str) -> None:
    layers = {"relu": nn.ReLU, "silu": nn.SiLU, "gelu": nn.GELU, "prelu": lambda: nn.PReLU(3)}
    mine = nn.Conv2d(2, 3, 3, rng=Generator(0), activation=layers[name]()).astype(np.float64)
    names = list(mine.parameters())

    def mine_of(x: Tensor, *values: Tensor) -> Tensor:
        with mine.replaced(dict(zip(names, values, strict=True))):
            return mine(x)

    def theirs_of(x: Any, w: Any, b: Any, *more: Any) -> Any:
        return getattr(F, name)(F.conv2d(x, w, b), *more)

    arrays = [normal(*p.shape, seed=i) for i, p in enumerate(mine.parameters().values())]
    agree(mine_of, theirs_of, [normal(2, 2, 5, 4), *arrays])


def test_losses() -> None:
    x, target, labels = 3 * normal(6, 4), np.random.default_rng(1).random((6, 4)), np.arange(6) % 4
    t, y = torch.tensor(target), torch.tensor(labels)
    agree(
        lambda x: losses.binary_cross_entropy_with_logits(x, target),
        lambda x: F.binary_cross_entropy_with_logits(x, t),
        [x],
    )
    agree(lambda x: losses.softmax_cross_entropy(x, labels), lambda x: F.cross_entropy(x, y), [x])
    agree(
        lambda real, fake: losses.discriminator_loss(real, fake, smooth=0.9),
        lambda real, fake: (
            F.binary_cross_entropy_with_logits(real, torch.full_like(real, 0.9))
            + F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))
        ),
        [normal(5), normal(3, seed=1)],
    )
    agree(
        losses.non_saturating_loss,
        lambda fake: F.binary_cross_entropy_with_logits(fake, torch.ones_like(fake)),
        [normal(5)],
    )


def test_gradient_penalty_of_a_network() -> None:
    """WGAN-GP's penalty by all weights, through convolution, batch norm and leaky ReLU."""
    names = ("w", "gamma", "beta", "v")
    arrays = [
        normal(3, 1, 3, 3, seed=1),
        normal(3, seed=2),
        normal(3, seed=3),
        normal(1, 48, seed=4),
    ]
    x = normal(4, 1, 8, 8)

    def mine(w: Tensor, gamma: Tensor, beta: Tensor, v: Tensor) -> Tensor:
        image = Tensor(x)
        h = mg.batch_norm(mg.conv2d(image, w, stride=2, padding=1), gamma, beta)
        scores = mg.flatten(mg.leaky_relu(h, 0.2)) @ v.T
        g = grad(scores.sum(), image, create_graph=True)
        return mg.mean(mg.square(mg.sqrt(mg.sum(g * g, (1, 2, 3))) - 1))

    def theirs(w: Any, gamma: Any, beta: Any, v: Any) -> Any:
        image = torch.tensor(x, requires_grad=True)
        h = F.batch_norm(F.conv2d(image, w, stride=2, padding=1), None, None, gamma, beta, True)
        scores = F.leaky_relu(h, 0.2).flatten(1) @ v.T
        (g,) = torch.autograd.grad(scores.sum(), image, create_graph=True)
        return (((g * g).sum((1, 2, 3)).sqrt() - 1) ** 2).mean()

    xs = dict(zip(names, map(Tensor, arrays), strict=True))
    ts = [torch.tensor(a, requires_grad=True) for a in arrays]
    penalty, expected = mine(*xs.values()), theirs(*ts)
    assert_close(penalty.data, expected)
    found = grad(penalty, xs, allow_unused=True)
    other = torch.autograd.grad(expected, ts, allow_unused=True)
    for a, b, t in zip(found.values(), other, ts, strict=True):
        assert_close(a.data, torch.zeros_like(t) if b is None else b)


RULES: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "sgd": (lambda p: optim.SGD(p, 0.1), lambda p: torch.optim.SGD(p, 0.1)),
    "momentum": (
        lambda p: optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.1),
        lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.1),
    ),
    "nesterov": (
        lambda p: optim.SGD(p, 0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
        lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    ),
    "rmsprop": (
        lambda p: optim.RMSProp(p, 0.01, alpha=0.9, weight_decay=0.1),
        lambda p: torch.optim.RMSprop(p, 0.01, alpha=0.9, weight_decay=0.1),
    ),
    "adam": (
        lambda p: optim.Adam(p, 0.01, (0.5, 0.9)),
        lambda p: torch.optim.Adam(p, 0.01, (0.5, 0.9)),
    ),
    "adam with L2": (
        lambda p: optim.Adam(p, 0.01, weight_decay=0.1),
        lambda p: torch.optim.Adam(p, 0.01, weight_decay=0.1),
    ),
    "adamw": (
        lambda p: optim.AdamW(p, 0.01, weight_decay=0.1),
        lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.1),
    ),
}


@pytest.mark.parametrize("name", RULES)
def test_five_steps_of_training(name: str) -> None:
    mine = nn.Sequential(
        nn.Conv2d(1, 3, 3, stride=2, padding=1, rng=Generator(0), activation=nn.LeakyReLU(0.2)),
        nn.BatchNorm2d(3),
        nn.Flatten(),
        nn.Linear(27, 1, rng=Generator(1)),
    ).astype(np.float64)
    theirs = torch.nn.Sequential(
        torch.nn.Conv2d(1, 3, 3, stride=2, padding=1),
        torch.nn.LeakyReLU(0.2),
        torch.nn.BatchNorm2d(3),
        torch.nn.Flatten(),
        torch.nn.Linear(27, 1),
    ).double()
    parameters = mine.parameters()
    with torch.no_grad():
        for p, t in zip(parameters.values(), theirs.parameters(), strict=True):
            t.copy_(torch.tensor(p.data))
    rule, other = RULES[name][0](parameters), RULES[name][1](theirs.parameters())
    for step in range(5):
        x, target = normal(4, 1, 6, 6, seed=step), (np.arange(4) % 2)[:, None].astype(float)
        rule.step(
            grad(losses.binary_cross_entropy_with_logits(mine(Tensor(x)), target), parameters)
        )
        other.zero_grad()
        F.binary_cross_entropy_with_logits(theirs(torch.tensor(x)), torch.tensor(target)).backward()
        other.step()
    for p, t in zip(parameters.values(), theirs.parameters(), strict=True):
        assert_close(p.data, t)
    x = normal(4, 1, 6, 6)
    assert_close(mine.eval()(Tensor(x)).data, theirs.eval()(torch.tensor(x)))
