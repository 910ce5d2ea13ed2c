"""Numbers beside tensors: what is float32 stays float32, and nothing is truncated."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import minigan_kernels as kernels
import numpy as np
import pytest
import tiny
from draw import normal

import minigan as mg
from minigan import gans, losses, nn, penalties
from minigan.arrays import promoting
from minigan.tensor import GraphError, Node, Tensor, grad
from minigan.training.state import State

f32, f64 = np.float32, np.float64


def x32(*shape: int, seed: int = 0) -> Tensor:
    return Tensor(normal(*shape, seed=seed, dtype=f32))


# --- Beside a tensor -------------------------------------------------------------------------

HALVES: dict[str, Any] = {
    "a number": 0.5,
    "NumPy's float64": f64(0.5),
    "NumPy's float32": f32(0.5),
    "NumPy's float16": np.float16(0.5),
    "a mean": np.array([0.25, 0.75]).mean(),
    "an array of no axes": np.array(0.5),
    "an array": np.array([0.5, 0.5]),
    "a big-endian array": np.array([0.5, 0.5], ">f8"),
    "a list": [0.5, 0.5],
}
BESIDE: dict[str, Callable[[Any, Any], Any]] = {
    "+": lambda x, a: x + a,
    "r+": lambda x, a: a + x,
    "-": lambda x, a: x - a,
    "r-": lambda x, a: a - x,
    "*": lambda x, a: x * a,
    "r*": lambda x, a: a * x,
    "/": lambda x, a: x / a,
    "r/": lambda x, a: a / x,
    "**": lambda x, a: x**a,
    "r**": lambda x, a: a**x,
    "maximum": mg.maximum,
    "minimum": lambda x, a: mg.minimum(a, x),
    "where": lambda x, a: mg.where(np.array([True, False]), x, a),
}


@pytest.mark.parametrize("dtype", [f32, f64])
@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("name", BESIDE)
def test_what_is_beside_a_tensor_takes_its_dtype(name: str, half: str, dtype: Any) -> None:
    x = Tensor(np.array([[1.5, 2.0], [0.25, 3.0]], dtype))
    if half == "a list" and name.startswith("r"):
        pytest.skip("a list has operators of its own")
    y = BESIDE[name](x, HALVES[half])
    expected = BESIDE[name](x, 0.5)
    assert isinstance(y, Tensor)
    assert y.dtype == grad(y.sum(), x).dtype == dtype
    np.testing.assert_allclose(y.numpy(), expected.numpy(), rtol=1e-6)  # a root, or a power


@pytest.mark.parametrize("name", ["+", "r-", "*", "r/", "maximum", "where"])
@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.bool_, ">i4"])
@pytest.mark.parametrize("kind", ["an array", "a tensor"])
def test_integers_beside_floats_become_those(name: str, dtype: Any, kind: str) -> None:
    x = Tensor(np.array([1.5, 2.0], f32))
    ones = np.array([1, 1], dtype)
    y = BESIDE[name](x, Tensor(ones) if kind == "a tensor" else ones)
    assert y.dtype == f32
    np.testing.assert_array_equal(y.numpy(), BESIDE[name](x, 1.0).numpy())
    assert grad(y.sum(), x).dtype == f32


@pytest.mark.parametrize("half", ["a number", "NumPy's float64", "an array of no axes"])
def test_floats_beside_integers_become_float32(half: str) -> None:
    for y in (Tensor([1, 2]) * HALVES[half], HALVES[half] + Tensor([1, 2])):
        assert y.dtype == f32


def test_two_tensors_of_different_floats_promote_as_in_numpy() -> None:
    x, y = x32(3), Tensor(normal(3))
    assert (x * y).dtype == f64
    by_x, by_y = grad((x * y).sum(), [x, y])
    assert (by_x.dtype, by_y.dtype) == (f32, f64)
    again = grad(grad((x * x * y).sum(), x, create_graph=True).sum(), x)
    assert again.dtype == f32
    np.testing.assert_allclose(again.numpy(), 2 * y.numpy(), rtol=1e-6)


def test_astype() -> None:
    x = x32(3)
    y = x.astype(f64)
    assert (y.dtype, x.astype(f32)) == (f64, x)
    g = grad((y * y).sum(), x, create_graph=True)
    assert (g.dtype, grad(g.sum(), x).dtype) == (f32, f32)
    np.testing.assert_allclose(grad(g.sum(), x).numpy(), [2, 2, 2])
    with pytest.raises(TypeError, match=r"becomes floats, not int64; say x\.numpy\(\)"):
        x.astype(np.int64)


def test_the_gradient_of_an_output_has_its_dtype() -> None:
    x = x32(3)
    assert grad(x * 2, x, grad_output=np.ones(3)).dtype == f32
    with pytest.raises(GraphError, match="grad_output is float64, but the output is float32"):
        grad(x * 2, x, grad_output=Tensor(np.ones(3)))


# --- Functions of reals ----------------------------------------------------------------------

w4, b4 = np.ones((1, 1, 1, 1)), np.array([0.5])
REAL: dict[str, Callable[[Tensor], Tensor]] = {
    "leaky_relu": lambda x: mg.leaky_relu(x, 0.2),
    "relu": mg.relu,
    "softplus": mg.softplus,
    "elu": mg.elu,
    "tanh": mg.tanh,
    "sigmoid": mg.sigmoid,
    "exp": mg.exp,
    "log": lambda x: mg.log(abs(x)),
    "sqrt": lambda x: mg.sqrt(abs(x)),
    "sin": mg.sin,
    "cos": mg.cos,
    "divide": lambda x: x / 2,
    "divided": lambda x: 1 / x,
    "divide tensors": lambda x: x / (x + 1),
    "power": lambda x: abs(x) ** 0.5,
    "times a half": lambda x: x * 0.5,
    "clip": lambda x: mg.clip(x, -1.5, 1.5),
    "mean": lambda x: x.mean(),
    "mean of an axis": lambda x: mg.mean(x, 1, keepdims=True),
    "var": lambda x: x.var(1),
    "softmax": mg.softmax,
    "log_softmax": mg.log_softmax,
    "logsumexp": mg.logsumexp,
    "batch_norm": lambda x: mg.batch_norm(x, *_pair(x)),
    "batch_norm_inference": lambda x: mg.batch_norm_inference(
        x, *_pair(x), mean=np.full(3, 0.5, f32), var=np.full(3, 2.0, f32)
    ),
    "instance_norm": lambda x: mg.instance_norm(mg.reshape(x, (1, 1, 2, 3)), Tensor([1.0]),
                                                Tensor([0.5])),
    "layer_norm": lambda x: mg.layer_norm(x, *_pair(x)),
    "bias_leaky_relu": lambda x: mg.bias_leaky_relu(x, _pair(x)[1], slope=0.2),
    "bias_tanh": lambda x: mg.bias_tanh(x, _pair(x)[1]),
    "bias_sigmoid": lambda x: mg.bias_sigmoid(x, _pair(x)[1]),
    "matmul": lambda x: x @ np.full((3, 2), 0.5, f32),
    "matmul of tensors": lambda x: x @ Tensor(np.full((3, 2), 0.5, f32)),
    "einsum": lambda x: mg.einsum("ij,kj->ik", x, Tensor(np.full((2, 3), 0.5, f32))),
    "conv2d": lambda x: mg.conv2d(_image(x), Tensor(w4 / 2, f32)),
    "conv2d with bias": lambda x: mg.conv2d(_image(x), Tensor(w4 / 2, f32), Tensor(b4, f32)),
    "conv_transpose2d": lambda x: mg.conv_transpose2d(_image(x), Tensor(w4 / 2, f32)),
    "avg_pool2d": lambda x: mg.avg_pool2d(_image(x), (2, 1)),
    "softmax_cross_entropy": lambda x: mg.softmax_cross_entropy(x, labels=np.array([0, 2])),
    "binary_cross_entropy_with_logits": lambda x: losses.binary_cross_entropy_with_logits(x, 1.0),
    "least_squares": lambda x: losses.least_squares_generator_loss(x, c=0.5),
    "hinge": lambda x: losses.hinge_discriminator_loss(x, x),
    "gaussian_kl": lambda x: penalties.gaussian_kl(x, x * 2),
    "numpy.exp": np.exp,
    "Linear": lambda x: nn.Linear(3, 2, rng=mg.Generator(0))(x),
}  # fmt: skip


def _pair(x: Tensor) -> tuple[Tensor, Tensor]:
    return Tensor([1.0, 1.0, 1.0]), Tensor([0.5, 0.5, 0.5])


def _image(x: Tensor) -> Tensor:
    return mg.reshape(x, (1, 1, 2, 3))


@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.uint8, np.bool_])
@pytest.mark.parametrize("name", REAL)
def test_integers_become_float32_in_functions_of_reals(name: str, dtype: Any) -> None:
    values = np.array([[3, 2, 1], [1, 2, 7]]).astype(dtype)
    if dtype == np.int64:
        values -= 4
    with np.errstate(all="ignore"):
        given = REAL[name](Tensor(values))
        expected = REAL[name](Tensor(values.astype(f32)))
    assert given.dtype == f32
    if dtype == np.bool_ and name in ("divide tensors", "gaussian_kl", "batch_norm", "layer_norm"):
        return  # True + True is True
    np.testing.assert_allclose(given.numpy(), expected.numpy(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "f",
    [lambda x: x + 1, lambda x: x * x, abs, lambda x: -x, lambda x: x @ x.T, lambda x: x.sum(),
     lambda x: x.max(), lambda x: x[0], lambda x: mg.maximum(x, 0), mg.square,
     lambda x: mg.concatenate([x, x]), lambda x: mg.einsum("ij->j", x), lambda x: x**2,
     lambda x: mg.pad(x, ((1, 1), (0, 0)))],
)  # fmt: skip
def test_functions_of_integers_keep_them(f: Callable[[Tensor], Tensor]) -> None:
    assert f(Tensor([[1, 2], [3, 4]])).dtype == np.int64


# --- Two dtypes ------------------------------------------------------------------------------


def rng() -> mg.Generator:
    return mg.Generator(0)


MIXED: dict[str, Callable[[Tensor], Tensor]] = {
    "matmul": lambda x: x @ x32(4, 2),
    "einsum": lambda x: mg.einsum("ij,kj->ik", x, x32(2, 4)),
    "Linear": lambda x: nn.Linear(4, 2, rng=rng())(x),
    "Maxout": lambda x: nn.Maxout(4, 2, 2, rng=rng())(x),
    "WeightNormLinear": lambda x: nn.WeightNormLinear(4, 2, rng=rng())(x),
    "Conv2d": lambda x: nn.Conv2d(1, 2, 2, rng=rng())(mg.reshape(x, (2, 1, 2, 2))),
    "Conv2d without bias": lambda x: nn.Conv2d(1, 2, 2, bias=False, rng=rng())(
        mg.reshape(x, (2, 1, 2, 2))
    ),
    "ConvTranspose2d": lambda x: nn.ConvTranspose2d(1, 2, 2, rng=rng())(
        mg.reshape(x, (2, 1, 2, 2))
    ),
    "BatchNorm": lambda x: nn.BatchNorm(4)(x),
    "BatchNorm in inference": lambda x: nn.BatchNorm(4).eval()(x),
    "InstanceNorm2d": lambda x: nn.InstanceNorm2d(1)(mg.reshape(x, (2, 1, 2, 2))),
    "LayerNorm": lambda x: nn.LayerNorm(4)(x),
    "bias_tanh": lambda x: mg.bias_tanh(x, x32(4)),
    "SpectralNorm": lambda x: nn.SpectralNorm(nn.Linear(4, 2, rng=rng()), rng=rng())(x),
}


@pytest.mark.parametrize("name", MIXED)
def test_a_layer_refuses_data_of_another_dtype(name: str) -> None:
    with pytest.raises(
        GraphError,
        match=r"float64 and float32.*x\.astype\(numpy\.float32\).*net\.astype\(numpy\.float64\)",
    ):
        MIXED[name](Tensor(normal(2, 4)))
    assert MIXED[name](Tensor(normal(2, 4)).astype(f32)).dtype == f32


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        (name, dtype)
        for name in ("matmul", "Linear", "WeightNormLinear", "LayerNorm", "bias_tanh")
        for dtype in (f64, ">f4", np.int64)
    ]
    # Of integers it says that they are none of its numbers.
    + [("BatchNorm in inference", f64), ("BatchNorm in inference", ">f4")],
)
def test_but_an_array_is_data_and_is_converted(name: str, dtype: Any) -> None:
    array = normal(2, 4)
    y = MIXED[name](array.astype(dtype))  # type: ignore[arg-type]
    assert y.dtype == f32
    np.testing.assert_allclose(
        y.numpy(), MIXED[name](Tensor(array.astype(dtype).astype(f32))).numpy(), rtol=1e-6
    )


# --- The other byte order --------------------------------------------------------------------


@pytest.mark.parametrize("order", [">f4", ">f8", ">f2", ">i4", ">u2"])
@pytest.mark.parametrize("name", REAL)
def test_the_other_byte_order_is_converted(name: str, order: str) -> None:
    values = np.array([[3, 2, 1], [1, 2, 7]])
    dtype = np.dtype(order)
    native = dtype.newbyteorder("=")
    for make in (lambda: Tensor(values.astype(order)), lambda: Tensor(values, order)):
        x = make()
        assert x.dtype == native
        assert x.dtype.isnative
    if dtype.kind == "f" and dtype.itemsize != 4:
        return  # of another dtype than the weights here
    np.testing.assert_array_equal(
        REAL[name](x).numpy(), REAL[name](Tensor(values.astype(native))).numpy()
    )


@pytest.mark.parametrize("order", [">i4", ">i8", ">u2"])
def test_labels_and_indices_of_the_other_byte_order(order: str) -> None:
    x, labels = x32(3, 4), np.array([3, 0, 1])
    swapped = labels.astype(order)
    pairs = [
        (losses.softmax_cross_entropy(x, swapped), losses.softmax_cross_entropy(x, labels)),
        (x.T[swapped], x.T[labels]),
        (x[np.arange(3), swapped], x[np.arange(3), labels]),
        (nn.Embedding(4, 2, rng=mg.Generator(0))(swapped),
         nn.Embedding(4, 2, rng=mg.Generator(0))(labels)),
    ]  # fmt: skip
    for mine, theirs in pairs:
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy())
        np.testing.assert_array_equal(
            mg.where(np.array([1.0, 0.0], ">f4"), Tensor([1.0, 2.0]), 0.0).numpy(), [1, 0]
        )


# --- Whole steps -----------------------------------------------------------------------------


class Seen:
    """The dtypes of all arrays that operations computed."""

    def __init__(self) -> None:
        self.float64: set[str] = set()
        self.count = 0


@contextmanager
def watching_dtypes() -> Iterator[Seen]:
    seen, before = Seen(), Node.__init__

    def noted(node: Node, primitive: Any, inputs: Any, *args: Any) -> None:
        before(node, primitive, inputs, *args)
        seen.count += 1
        wrong = [a for a in (node.data, *(t.data for t in inputs)) if a.dtype == f64]
        if wrong:
            seen.float64.add(str(node))

    with mock.patch.object(Node, "__init__", noted):
        yield seen


def in_numpys_numbers(recipe: Any) -> Any:
    """The recipe with each of its floats as NumPy's float64, as a sweep would make them."""
    floats = {
        f.name: f64(value)
        for f in dataclasses.fields(recipe)
        if type(value := getattr(recipe, f.name)) is float
    }
    return dataclasses.replace(recipe, **floats)


@pytest.mark.parametrize("name", gans.names())
def test_a_step_of_each_recipe_is_float32(name: str) -> None:
    recipe = in_numpys_numbers(tiny.recipe(name))
    state = State.fresh(recipe, tiny.images((1, 32, 32)), seed=0)
    with watching_dtypes() as seen:
        state.advance()
    assert seen.count > 10
    assert not seen.float64
    for player in state.players.values():
        assert {a.dtype for a in player.state().values() if a.dtype.kind == "f"} == {np.dtype(f32)}
    for rule in state.optimizers.values():
        assert {a.dtype for a in rule.slot.values()} <= {np.dtype(f32)}


OF_NUMBERS: dict[str, Callable[[Tensor, Any], Any]] = {
    "elu": lambda x, v: mg.elu(x, v),
    "leaky_relu": lambda x, v: mg.leaky_relu(x, v),
    "bias_leaky_relu": lambda x, v: mg.bias_leaky_relu(x, x32(3), slope=v),
    "clip": lambda x, v: mg.clip(x, -v, v),
    "pad": lambda x, v: mg.pad(x, ((1, 1), (0, 0)), v),
    "batch_norm": lambda x, v: mg.batch_norm(x, x32(3), x32(3), eps=v, slope=v),
    "batch_norm_inference": lambda x, v: mg.batch_norm_inference(
        x, x32(3), x32(3), mean=np.zeros(3, f32), var=np.ones(3, f32), eps=v, slope=v
    ),
    "layer_norm": lambda x, v: mg.layer_norm(x, x32(3), x32(3), eps=v),
    "LeakyReLU": lambda x, v: nn.LeakyReLU(v)(x),
    "ELU": lambda x, v: nn.ELU(v)(x),
    "Dropout": lambda x, v: nn.Dropout(v, rng=mg.Generator(0))(x),
    "GaussianNoise": lambda x, v: nn.GaussianNoise(v, rng=mg.Generator(0))(x),
    "binary_cross_entropy_with_logits": lambda x, v: losses.binary_cross_entropy_with_logits(x, v),
    "discriminator_loss": lambda x, v: losses.discriminator_loss(x, x, smooth=v),
    "least_squares": lambda x, v: losses.least_squares_discriminator_loss(x, x, a=v, b=v),
    "gradient_penalty": lambda x, v: penalties.gradient_penalty(
        lambda x: (x * x).sum(1), x, x, mg.Generator(0), eps=v
    ),
    "gaussian_kl": lambda x, v: penalties.gaussian_kl(x, x, eps=v),
}


@pytest.mark.parametrize("backend", ["reference", "cpu"])
@pytest.mark.parametrize("name", OF_NUMBERS)
def test_options_may_be_numpys_numbers(name: str, backend: str) -> None:
    x = x32(4, 3)
    with kernels.use(backend), watching_dtypes() as seen:
        y = OF_NUMBERS[name](x, f64(0.25))
        g = grad(y.sum(), x, create_graph=True, allow_unused=True)
        assert grad(y.sum(), x, allow_unused=True).dtype == f32
    assert (y.dtype, g.dtype) == (f32, f32)
    assert not seen.float64
    np.testing.assert_allclose(y.numpy(), OF_NUMBERS[name](x, 0.25).numpy(), rtol=1e-6)


def test_what_is_stacked_takes_the_dtype_of_the_tensors() -> None:
    assert mg.stack([Tensor(normal(3).astype(f32)), normal(3)]).dtype == f32


def test_a_sequence_takes_arrays_as_its_layers_do() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, rng=rng()))
    assert net(normal(3, 2, 2)).dtype == f32


def test_where_two_dtypes_are_promoted_the_gradient_reaches_the_narrower_one() -> None:
    x, w = Tensor(normal(2, 4).astype(f32)), Tensor(normal(4, 3))
    with promoting():
        y = mg.matmul(x, w)
        assert y.dtype == f64
        g = mg.grad(mg.sum(y), x)
    assert g.dtype == f32
    np.testing.assert_allclose(g.numpy(), np.tile(w.numpy().sum(1), (2, 1)), rtol=1e-6)
