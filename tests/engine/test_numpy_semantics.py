"""Tensors follow NumPy: dtypes, broadcasting, indexing, reductions, products, joins."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cases import SETTINGS
from draw import normal, tensor
from hypothesis import given, settings
from hypothesis import strategies as st

import minigan as mg
from minigan.tensor import GraphError, Tensor, grad

SOME = settings(SETTINGS, max_examples=40)


# --- Tensors as NumPy arrays -----------------------------------------------------------------


def test_what_becomes_of_python_values() -> None:
    assert Tensor(1.5).dtype == np.float32
    assert Tensor([1.5, 2]).dtype == np.float32
    assert Tensor([1, 2]).dtype == np.int64
    assert Tensor([True]).dtype == np.bool_
    assert Tensor(np.ones(2)).dtype == np.float64
    assert Tensor([1, 2], np.float64).dtype == np.float64
    assert Tensor(np.float64(1.5)).dtype == np.float64


def test_a_tensor_of_a_tensor_refuses() -> None:
    with pytest.raises(TypeError, match="detach"):
        Tensor(Tensor(1.0))


def test_a_tensor_cannot_be_written() -> None:
    x = tensor(3)
    with pytest.raises(TypeError, match="where, pad or concatenate"):
        x[0] = 1.0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_take_the_dtype_of_their_neighbour(dtype: Any) -> None:
    x = Tensor(np.full((2, 3), 0.5, dtype))
    results = [
        x + 1, 1 + x, x - 1.5, 1.5 - x, x * 2, 2 * x, x / 3, 3 / x, x**2, 2**x, -x, abs(x),
        x * True, mg.maximum(x, 0), mg.where(x > 0, x, 0.0), mg.clip(x, 0, 1), x.mean(), x.var(),
        mg.leaky_relu(x), mg.elu(x), mg.sigmoid(x), mg.softplus(x), mg.logsumexp(x), mg.softmax(x),
        mg.pad(x, ((1, 1), (0, 0)), 2.0), x.max(1),
    ]  # fmt: skip
    for y in results:
        assert y.dtype == dtype, y
        g = grad(y.sum(), x)
        assert (g.dtype, g.shape) == (dtype, x.shape), y


def test_operators_equal_numpy() -> None:
    a, b = normal(2, 3) + 3, normal(3, seed=1) + 3
    s, t = Tensor(a), Tensor(b)
    pairs = [
        (s + t, a + b), (s - t, a - b), (s * t, a * b), (s / t, a / b), (s**t, a**b),
        (s + 1, a + 1), (1 - s, 1 - a), (2 / s, 2 / a), (2.0**s, 2.0**a), (-s, -a), (abs(-s), a),
        (s @ t, a @ b), (s.T, a.T), (a * t, a * b), (a - t, a - b), (a / t, a / b), (b + s, b + a),
        (s * b, a * b), (a @ t, a @ b), (s @ b, a @ b), (np.float64(2) * s, 2 * a),
    ]  # fmt: skip
    for mine, theirs in pairs:
        assert isinstance(mine, Tensor)
        np.testing.assert_allclose(mine.data, theirs, rtol=1e-15)


def test_comparisons_give_arrays() -> None:
    a, b = normal(4), normal(4, seed=1)
    s, t = Tensor(a), Tensor(b)
    for mine, theirs in [(s > t, a > b), (s >= b, a >= b), (s < 0, a < 0), (a <= t, a <= b)]:
        assert isinstance(mine, np.ndarray)
        np.testing.assert_array_equal(mine, theirs)
    assert bool(Tensor(1.0) > 0)


def test_equality_compares_values_as_the_others_do() -> None:
    a, b = np.array([1.0, 2.0, 3.0]), np.array([1.0, 0.0, 3.0])
    s, t = Tensor(a), Tensor(b)
    for mine, theirs in [(s == t, a == b), (s != b, a != b), (a == t, a == b), (s == 2, a == 2)]:
        assert isinstance(mine, np.ndarray)
        np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_array_equal(mg.where(s == 2.0, s, 0.0).data, [0, 2, 0])
    with pytest.raises(ValueError, match=r"ambiguous"):
        bool(s == t)


def test_dicts_and_sets_tell_tensors_by_identity() -> None:
    """Of shapes that could not even be compared, or of equal values."""
    tensors = [tensor(3) for _ in range(500)] + [tensor(2), Tensor(1.0), Tensor(1.0)]
    found = {t: i for i, t in enumerate(tensors)}
    assert [found[t] for t in tensors] == list(range(len(tensors)))
    assert len(set(tensors)) == len(tensors)
    assert Tensor(1.0) not in found


def test_a_tensor_is_gone_through_along_its_first_axis() -> None:
    x = tensor(3, 2)
    rows = list(x)
    assert [row.shape for row in rows] == [(2,)] * 3
    np.testing.assert_array_equal(
        grad(sum(rows[1:], rows[1]).sum(), x).data, [[0] * 2, [2] * 2, [1] * 2]
    )
    *_, third = x
    np.testing.assert_array_equal(third.data, x.data[2])
    with pytest.raises(TypeError, match="a tensor of one number has no parts"):
        iter(Tensor(1.0))


def test_numpy_takes_no_tensor_whose_gradient_it_would_lose() -> None:
    x = tensor(2, 3)
    with pytest.raises(TypeError, match=r"x\.numpy\(\).*minigan\.stack.*no_grad"):
        np.asarray(x)
    with pytest.raises(TypeError, match=r"minigan\.stack.*x\.numpy\(\)"):
        Tensor([x])
    with mg.no_grad():
        assert np.asarray(x).base is x.data
        assert not np.shares_memory(np.array(x), x.data)
        assert np.asarray(x, np.float32).dtype == np.float32
        np.testing.assert_array_equal(np.concatenate([x, x]), np.concatenate([x.data, x.data]))


@pytest.mark.parametrize("name", ["sum", "max"])
def test_one_number_has_no_axes_and_reductions_ignore_theirs(name: str) -> None:
    x = Tensor(3.0)
    assert getattr(x, name)(0).item() == getattr(np.array(3.0), name)(0) == 3.0
    assert grad(getattr(x, name)(0), x).item() == 1.0


def test_size_and_number() -> None:
    x = tensor(2, 3)
    assert (x.shape, x.ndim, x.size, len(x)) == ((2, 3), 2, 6, 2)
    assert float(Tensor(1.5)) == Tensor([[1.5]]).item() == 1.5
    with pytest.raises(ValueError, match=r"one element|size 1"):
        x.item()


def test_methods() -> None:
    a = normal(2, 3)
    x = Tensor(a)
    np.testing.assert_array_equal(x.reshape(3, 2).data, a.reshape(3, 2))
    np.testing.assert_array_equal(x.reshape((3, -1)).data, a.reshape(3, 2))
    np.testing.assert_array_equal(x.transpose().data, a.T)
    np.testing.assert_array_equal(x.transpose(1, 0).data, a.T)
    np.testing.assert_array_equal(x.transpose((-1, 0)).data, a.T)
    np.testing.assert_allclose(x.sum(0, keepdims=True).data, a.sum(0, keepdims=True))
    np.testing.assert_allclose(x.var(1).data, a.var(1))


def test_results_are_arrays_not_numpy_scalars() -> None:
    x = tensor(3)
    for y in (x.sum(), x[0], x @ x, x.max(), mg.mean(x), Tensor(2.0) * 3):
        assert isinstance(y.data, np.ndarray)
        assert y.shape == ()


# --- Against NumPy, over shapes --------------------------------------------------------------

shapes = st.lists(st.integers(1, 4), max_size=4).map(tuple)


@st.composite
def shape_and_axes(draw: Any) -> tuple[tuple[int, ...], Any]:
    shape = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple))
    signed = st.integers(-len(shape), len(shape) - 1)
    several = st.lists(signed, max_size=len(shape), unique_by=lambda a: a % len(shape)).map(tuple)
    return shape, draw(st.one_of(st.none(), signed, several))


@SOME
@given(shape_and_axes(), st.booleans(), st.sampled_from(["sum", "mean", "var", "max", "min"]))
def test_reductions(drawn: Any, keepdims: bool, name: str) -> None:
    shape, axis = drawn
    a = normal(*shape)
    expected = getattr(np, name)(a, axis=axis, keepdims=keepdims)
    for y in (
        getattr(mg, name)(Tensor(a), axis, keepdims=keepdims),
        getattr(Tensor(a), name)(axis, keepdims=keepdims),
    ):
        np.testing.assert_allclose(y.data, expected, rtol=1e-12, atol=1e-14)
        assert y.shape == np.shape(expected)


@SOME
@given(shape_and_axes(), st.booleans())
def test_logsumexp(drawn: Any, keepdims: bool) -> None:
    shape, axis = drawn
    a = normal(*shape)
    y = mg.logsumexp(Tensor(a), axis, keepdims=keepdims)
    np.testing.assert_allclose(y.data, np.log(np.exp(a).sum(axis=axis, keepdims=keepdims)))
    assert y.shape == a.sum(axis=axis, keepdims=keepdims).shape


def test_logsumexp_and_softmax_of_extreme_values() -> None:
    a = np.array([[1000.0, 1000.0], [-1000.0, -1001.0], [0.0, -np.inf]])
    y = mg.logsumexp(Tensor(a), 1).data
    np.testing.assert_allclose(y, [1000 + np.log(2), -1000 + np.log1p(np.exp(-1)), 0])
    np.testing.assert_allclose(mg.softmax(Tensor(a)).data.sum(1), [1, 1, 1])
    with np.errstate(divide="ignore"):
        assert mg.logsumexp(Tensor(np.full(3, -np.inf))).item() == -np.inf


@SOME
@given(shapes, st.data())
def test_broadcasting(shape: tuple[int, ...], data: st.DataObject) -> None:
    ones = data.draw(st.tuples(*(st.booleans() for _ in shape)))
    other = tuple(1 if one else n for one, n in zip(ones, shape, strict=True))
    other = other[data.draw(st.integers(0, len(shape))) :]
    a, b = normal(*shape) + 3, normal(*other, seed=1)
    for name in ("add", "subtract", "multiply", "divide", "maximum", "minimum"):
        for first, second in ((a, b), (b, a)):
            y = getattr(mg, name)(Tensor(first), Tensor(second))
            np.testing.assert_array_equal(y.data, getattr(np, name)(first, second))
    np.testing.assert_array_equal(mg.broadcast_to(Tensor(b), shape).data, np.broadcast_to(b, shape))
    summed = mg.sum_to(Tensor(a), other).data
    product = np.sum(summed * b)  # <sum_to(a), b> = <a, broadcast_to(b)>
    np.testing.assert_allclose(product, np.sum(a * np.broadcast_to(b, shape)), atol=1e-12)


INDICES: list[Any] = [
    0, -1, slice(1, None), slice(None, None, -2), (), Ellipsis, None, (Ellipsis, 0), (0, None, 1),
    (slice(None), 2), ([0, 0, 2],), (slice(None), [1, 1, 1]), ([0, 2], [1, 3]),
    np.array([True, False, True]),
    (slice(None), np.array([True, False, True, True])), normal(3, 4, 2) > 0,
    (np.array([[0], [2]]), [0, 1]),
    ((0, 0, 1),), (slice(None), (1, 1)), (((0, 0), (1, 1)), 0), (range(2), 0), True, (False, 0),
    (0, slice(None), [0, 0]), np.int64(1), (np.array(1), slice(None)), [0, 1, 1, 0], np.array(2),
]  # fmt: skip


@pytest.mark.parametrize("index", INDICES, ids=repr)
def test_indexing(index: Any) -> None:
    a = normal(3, 4, 2)
    x = Tensor(a)
    y = x[index]
    np.testing.assert_array_equal(y.data, a[index])
    expected = np.zeros_like(a)
    g = normal(*y.shape, seed=1)
    np.add.at(expected, index, g)
    np.testing.assert_array_equal(grad(y, x, grad_output=Tensor(g)).data, expected)


def test_indexing_by_a_tensor() -> None:
    x, labels = tensor(3, 2), Tensor([2, 0, 2])
    np.testing.assert_array_equal(x[labels].data, x.data[[2, 0, 2]])
    np.testing.assert_array_equal(x[labels, Tensor([0, 0, 1])].data, x.data[[2, 0, 2], [0, 0, 1]])
    np.testing.assert_array_equal(grad(x[labels].sum(), x).data, [[1, 1], [0, 0], [2, 2]])


@pytest.mark.parametrize(
    ("subscripts", "given_shapes"),
    [
        ("ij,jk->ik", [(2, 3), (3, 4)]),
        ("ij,jk", [(2, 3), (3, 4)]),
        ("ba", [(2, 3)]),
        ("ij", [(2, 3)]),
        ("i,i", [(3,), (3,)]),
        ("i,j", [(3,), (2,)]),
        ("ij->", [(2, 3)]),
        ("...ij,...jk->...ik", [(5, 2, 3), (5, 3, 4)]),
        ("...ij,...jk", [(5, 2, 3), (5, 3, 4)]),
        ("...ij,jk->...ik", [(5, 6, 2, 3), (3, 4)]),
        ("...i,...i->...", [(2, 5, 3), (5, 3)]),
        ("i...,i...->...", [(3, 2), (3, 4, 2)]),
        ("b...->...", [(2, 3, 4)]),
        ("...b->b...", [(2, 3, 4)]),
        (" i j , j k -> i k ", [(2, 3), (3, 4)]),
        ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 2)]),
        ("bi,bj->bij", [(2, 3), (2, 4)]),
        ("Ab,bA->A", [(2, 3), (3, 2)]),
        ("ij,ij->ij", [(2, 3), (1, 3)]),
        ("...ij,...jk->...ik", [(1, 2, 3), (5, 3, 4)]),
    ],
)
def test_einsum(subscripts: str, given_shapes: list[tuple[int, ...]]) -> None:
    arrays = [normal(*shape, seed=i) for i, shape in enumerate(given_shapes)]
    tensors = [Tensor(a) for a in arrays]
    y = mg.einsum(subscripts, *tensors)
    np.testing.assert_allclose(y.data, np.einsum(subscripts, *arrays), atol=1e-13)
    g = normal(*y.shape, seed=9)
    # Linear in each operand: <g, f(.., v, ..)> = <gradient, v>.
    for i, found in enumerate(grad(y, tensors, grad_output=Tensor(g))):
        assert found.shape == given_shapes[i]
        v = normal(*given_shapes[i], seed=20)
        moved = np.einsum(subscripts, *[v if j == i else a for j, a in enumerate(arrays)])
        np.testing.assert_allclose(np.sum(found.data * v), np.sum(g * moved), atol=1e-12)


@pytest.mark.parametrize(
    ("subscripts", "count", "words"),
    [("ii->i", 1, "repeats a label"), ("ij,jk->ik", 1, "names 2 inputs but was given 1")],
)
def test_einsum_refuses(subscripts: str, count: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        mg.einsum(subscripts, *[tensor(2, 2)] * count)


@pytest.mark.parametrize("a", [(3,), (2, 3), (5, 2, 3), (4, 1, 2, 3)])
@pytest.mark.parametrize("b", [(3,), (3, 2), (5, 3, 2), (1, 5, 3, 2)])
def test_matmul_of_all_ranks(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    x, w = normal(*a), normal(*b, seed=1)
    s, t = Tensor(x), Tensor(w)
    expected = x @ w
    y = s @ t
    np.testing.assert_allclose(y.data, expected, rtol=1e-12, atol=1e-14)
    assert y.shape == np.shape(expected)
    g = normal(*y.shape, seed=2)
    by_x, by_w = grad(y, [s, t], grad_output=Tensor(g))
    v, u = normal(*a, seed=3), normal(*b, seed=4)
    np.testing.assert_allclose(np.sum(by_x.data * v), np.sum(g * (v @ w)), atol=1e-12)
    np.testing.assert_allclose(np.sum(by_w.data * u), np.sum(g * (x @ u)), atol=1e-12)
    of_array = x @ t  # NumPy asks the tensor
    np.testing.assert_array_equal(of_array.data, y.data, strict=True)
    again = grad(of_array, t, grad_output=Tensor(g))
    np.testing.assert_array_equal(again.data, by_w.data, strict=True)


@pytest.mark.parametrize(
    ("a", "b"), [((2, 3, 0), (0, 4)), ((0, 3), (3, 2)), ((2, 0), (0,)), ((2, 0, 3), (3, 4))]
)
def test_matmul_of_nothing(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    s, t = tensor(*a), tensor(*b)
    y = s @ t
    np.testing.assert_array_equal(y.data, s.data @ t.data)
    for x, g in zip((s, t), grad(y.sum(), [s, t]), strict=True):
        np.testing.assert_array_equal(g.data, np.zeros(x.shape))


def test_matmul_refuses() -> None:
    with pytest.raises(GraphError, match="matmul"):
        tensor(2, 3) @ tensor(2, 3)
    with pytest.raises(ValueError, match=r"\(\)|0"):
        tensor() @ tensor(3)


@SOME
@given(shapes.filter(bool), st.data())
def test_joins_and_moves(shape: tuple[int, ...], data: st.DataObject) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    new = data.draw(st.integers(-len(shape) - 1, len(shape)))
    a, b = normal(*shape), normal(*shape, seed=1)
    s, t = Tensor(a), Tensor(b)
    width = [data.draw(st.tuples(st.integers(0, 2), st.integers(0, 2))) for _ in shape]
    axes = data.draw(st.permutations(range(len(shape))))
    other = data.draw(st.integers(-len(shape), len(shape) - 1))
    pairs = [
        (mg.concatenate([s, t, s], axis), np.concatenate([a, b, a], axis)),
        (mg.stack([s, t], new), np.stack([a, b], new)),
        (mg.pad(s, width, 1.5), np.pad(a, width, constant_values=1.5)),
        (mg.transpose(s, axes), a.transpose(axes)),
        (mg.transpose(s, *(axes if axes != [0, 1] else [axes])), a.transpose(axes)),
        (mg.swapaxes(s, axis, other), a.swapaxes(axis, other)),
        (mg.expand_dims(s, new), np.expand_dims(a, new)),
        (mg.squeeze(mg.expand_dims(s, new), new), a),
        (mg.flatten(s, 0), a.reshape(-1)),
    ]
    for mine, theirs in pairs:
        np.testing.assert_array_equal(mine.data, theirs)
    back = grad(mg.sum(mg.concatenate([s, t, s], axis) * 2.0), [s, t])
    np.testing.assert_array_equal(back[0].data, np.full(shape, 4.0))
    np.testing.assert_array_equal(back[1].data, np.full(shape, 2.0))


def test_an_axis_that_is_not_there_is_refused() -> None:
    """As by NumPy; it is not the one that is left after a division."""
    x = tensor(2, 3)
    for name, move in [
        ("concatenate", lambda axis: mg.concatenate([x, x], axis)),
        ("squeeze", lambda axis: mg.squeeze(x, axis)),
        ("transpose", lambda axis: mg.transpose(x, (0, axis))),
    ]:
        for axis in (2, -3):
            with pytest.raises(ValueError, match=rf"{name}: axis {axis} is out of bounds"):
                move(axis)
    for axis in (3, -4):
        with pytest.raises(ValueError, match=rf"axis {axis} is out of bounds"):
            mg.expand_dims(x, axis)
        with pytest.raises(ValueError, match=rf"axis {axis} is out of bounds"):
            mg.stack([x, x], axis)


def test_no_mean_of_nothing() -> None:
    with pytest.raises(ValueError, match=r"mean: a tensor of shape \(0, 3\) has no values$"):
        mg.mean(tensor(0, 3))
    with pytest.raises(ValueError, match=r"shape \(0, 3\) has no values over axis 0"):
        tensor(0, 3).mean(0)
    assert tensor(0, 3).mean(1).shape == (0,)


def test_squeeze_refuses_an_axis_that_is_not_single() -> None:
    with pytest.raises(ValueError, match=r"axis 1 of shape \(2, 3\) has length 3"):
        mg.squeeze(tensor(2, 3), -1)


@SOME
@given(shapes)
def test_functions_of_each_value(shape: tuple[int, ...]) -> None:
    a = normal(*shape)
    x = Tensor(a)
    pairs = [
        (mg.exp(x), np.exp(a)), (mg.log(mg.exp(x)), a), (mg.sqrt(mg.square(x)), np.abs(a)),
        (mg.sin(x), np.sin(a)), (mg.cos(x), np.cos(a)), (mg.tanh(x), np.tanh(a)),
        (mg.sigmoid(x), 1 / (1 + np.exp(-a))), (mg.softplus(x), np.log1p(np.exp(a))),
        (mg.relu(x), np.maximum(a, 0)), (mg.leaky_relu(x, 0.2), np.where(a > 0, a, 0.2 * a)),
        (mg.elu(x), np.where(a > 0, a, np.exp(a) - 1)),
        (mg.clip(x, -0.5, 0.5), np.clip(a, -0.5, 0.5)),
        (mg.absolute(x), np.abs(a)), (mg.where(a > 0, x, -x), np.abs(a)), (mg.negative(x), -a),
        (mg.power(mg.absolute(x), 1.5), np.abs(a) ** 1.5),
    ]  # fmt: skip
    for mine, theirs in pairs:
        np.testing.assert_allclose(mine.data, theirs, rtol=1e-12, atol=1e-14)


# --- At kinks and poles ----------------------------------------------------------------------


def test_ties_share_the_gradient() -> None:
    a, b = Tensor([1.0, 2.0, 3.0]), Tensor([1.0, 3.0, 2.0])
    for f, shares in ((mg.maximum, [0.5, 0, 1]), (mg.minimum, [0.5, 1, 0])):
        by_a, by_b = grad(f(a, b).sum(), [a, b])
        np.testing.assert_array_equal(by_a.data, shares)
        np.testing.assert_array_equal(by_b.data, 1 - np.array(shares))
    x = Tensor([[2.0, 2.0, 1.0], [1.0, 1.0, 1.0]])
    np.testing.assert_allclose(
        grad(x.max(1).sum(), x).data, [[0.5, 0.5, 0], [1 / 3] * 3], rtol=1e-6
    )
    np.testing.assert_allclose(grad(x.min(1).sum(), x).data, [[0, 0, 1], [1 / 3] * 3], rtol=1e-6)


def test_at_zero() -> None:
    x = Tensor([0.0])
    assert grad(mg.relu(x), x).item() == 0
    assert grad(mg.leaky_relu(x, 0.2), x).item() == np.float32(0.2)
    assert grad(mg.absolute(x), x).item() == 0
    assert grad(mg.square(x), x).item() == 0


@pytest.mark.parametrize(("exponent", "second"), [(1, 0), (2, 2), (3, 0)])
def test_whole_powers_at_zero(exponent: int, second: float) -> None:
    """x^2 at 0 has a second derivative, and x^1 one that is 0: neither may be lost in 0 * inf."""
    x = Tensor([0.0])
    first = grad(x**exponent, x, create_graph=True)
    assert first.item() == (exponent == 1)
    assert grad(first, x).item() == second


def test_the_mixed_derivative_of_a_power_whose_exponent_is_zero() -> None:
    """d/db of b a^(b-1) is 1 / a at b = 0."""
    a, b = Tensor(2.0), Tensor(0.0)
    by_a = grad(a**b, a, create_graph=True)
    assert by_a.item() == 0
    assert grad(by_a, b).item() == 0.5
    x = Tensor([0.0, 2.0])
    np.testing.assert_array_equal(grad((x**0).sum(), x).data, [0, 0])  # not 0 times infinity


def test_clip_halves_the_gradient_at_its_bounds() -> None:
    x = Tensor([-2.0, -1.0, 0.0, 1.0, 2.0])
    np.testing.assert_array_equal(grad(mg.clip(x, -1, 1).sum(), x).data, [0, 0.5, 1, 0.5, 0])


def test_sigmoid_and_softplus_do_not_overflow() -> None:
    x = Tensor([-1000.0, -100.0, 0.0, 100.0, 1000.0])
    np.testing.assert_allclose(mg.sigmoid(x).data, [0, 0, 0.5, 1, 1], atol=1e-30)
    np.testing.assert_allclose(
        mg.softplus(x).data, [0, 0, np.log(2), 100, 1000], rtol=1e-6, atol=1e-30
    )
    for f in (mg.sigmoid, mg.softplus, mg.elu):
        first = grad(f(x).sum(), x, create_graph=True)
        assert np.isfinite(first.data).all()
        assert np.isfinite(grad(first.sum(), x).data).all()
