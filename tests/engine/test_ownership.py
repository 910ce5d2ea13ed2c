"""What a graph holds, nobody writes: arrays that come in, arrays that go out, copies."""

from __future__ import annotations

import copy
import pickle
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from draw import normal, tensor

import minigan as mg
from minigan import losses, nn
from minigan.tensor import PRIMITIVES, Tensor, adopt, grad, no_grad

f32 = np.float32


# --- In: a buffer that is filled again between forward and backward --------------------------


def buffer() -> np.ndarray:
    return np.array([[1.0, 2.0], [3.0, 4.0]], f32)


def view_of(array: np.ndarray) -> np.ndarray:
    """A read-only view, which its owner can still write."""
    view = array[:]
    view.setflags(write=False)
    return view


INTO: dict[str, Callable[[np.ndarray], Tensor]] = {
    "a tensor": Tensor,
    "a tensor with its dtype": lambda a: Tensor(a, f32),
    "a read-only view": lambda a: Tensor(view_of(a)),
    "a view": lambda a: Tensor(a[:, ::-1]),
    "a broadcast view": lambda a: Tensor(np.broadcast_to(a, (2, 2, 2))),
    "memory": lambda a: Tensor(memoryview(a)),
    "a subclass": lambda a: Tensor(a.view(np.recarray)),
    "a parameter's write": lambda a: Tensor(np.asarray(a)),
}


@pytest.mark.parametrize("way", INTO)
def test_a_tensor_does_not_see_what_its_array_becomes(way: str) -> None:
    array = buffer()
    x = INTO[way](array)
    before = x.numpy().copy()
    loss = (x * x).sum()
    array[...] = 100
    np.testing.assert_array_equal(grad(loss, x).numpy(), 2 * before)


OPERANDS: dict[str, Callable[[Tensor, np.ndarray], Tensor]] = {
    "x * array": lambda x, a: x * a,
    "array * x": lambda x, a: a * x,
    "x @ array": lambda x, a: x @ a,
    "array @ x": lambda x, a: a @ x,
    "maximum": lambda x, a: mg.maximum(x, a),
    "where": lambda x, a: mg.where(np.array([True, False]), x * x, a),
    "einsum": lambda x, a: mg.einsum("ij,jk->ik", x, a),
    "concatenate": lambda x, a: mg.concatenate([x * x, a]) * 2,
    "numpy.multiply": lambda x, a: np.multiply(x, a),
    "conv2d": lambda x, a: mg.conv2d(mg.reshape(x, (1, 1, 2, 2)), a.reshape(1, 1, 2, 2)),
    "a loss": lambda x, a: losses.binary_cross_entropy_with_logits(x, a),
}
OPTIONS: dict[str, tuple[Callable[[Tensor, Any], Tensor], Any, Any]] = {
    "condition": (lambda x, a: mg.where(a, x, 0.0), [True, False], [False, True]),
    "index": (lambda x, a: x[a], [0, 0], [1, 1]),
    "indices": (lambda x, a: x[a, a], [0, 0], [1, 1]),
    "labels": (lambda x, a: losses.softmax_cross_entropy(x, a), [0, 0], [1, 1]),
    "embedded": (lambda x, a: nn.Module.__call__(_Table(x), a), [0, 0], [1, 1]),
    "mean": (
        lambda x, a: mg.batch_norm_inference(x * x, Tensor([1.0, 1.0]), Tensor([0.0, 0.0]), mean=a,
                                             var=np.ones(2, f32)),
        [0.0, 0.0], [5.0, 5.0],
    ),
    "var": (
        lambda x, a: mg.batch_norm_inference(x, Tensor([1.0, 1.0]), Tensor([0.0, 0.0]), var=a,
                                             mean=np.zeros(2, f32)),
        [1.0, 1.0], [5.0, 5.0],
    ),
}  # fmt: skip


class _Table(nn.Module):
    def __init__(self, weight: Tensor) -> None:
        self.rows = lambda labels: weight[labels]

    def forward(self, labels: np.ndarray) -> Tensor:
        return self.rows(labels)


@pytest.mark.parametrize("name", OPERANDS)
def test_an_operand_may_be_filled_again(name: str) -> None:
    x, array = Tensor(buffer()), buffer()[::-1].copy()
    expected = grad(OPERANDS[name](x, array.copy()).sum(), x).numpy()
    y = OPERANDS[name](x, array).sum()
    array[...] = 100
    np.testing.assert_array_equal(grad(y, x).numpy(), expected)


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("kind", ["an array", "a list"])
def test_an_option_may_be_filled_again(name: str, kind: str) -> None:
    call, before, after = OPTIONS[name]
    if kind == "a list" and name in ("mean", "var"):
        pytest.skip("takes arrays alone")
    x = Tensor(buffer())
    is_float = isinstance(before[0], float)
    option = np.array(before, f32 if is_float else None) if kind == "an array" else list(before)
    expected = grad(call(x, copy.copy(option)).sum(), x).numpy()
    y = call(x, option).sum()
    option[:] = after
    np.testing.assert_array_equal(grad(y, x).numpy(), expected)


def test_an_option_of_a_new_primitive_may_be_filled_again() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules["minigan.tensor"], "PRIMITIVES", dict(PRIMITIVES))
        masked = mg.primitive(lambda x, *, mask: x * mask, "masked")
        masked.gradients(lambda g, y, x, mask: g * mask)
        x, mask = Tensor([1.0, 2.0]), np.array([1.0, 0.0], f32)
        y = masked(x, mask=mask).sum()
        mask[:] = 7
        np.testing.assert_array_equal(grad(y, x).numpy(), [1, 0])


def test_a_read_only_array_is_not_copied_nor_is_one_that_is_adopted() -> None:
    array = normal(3, dtype=f32)
    assert adopt(array).data is array
    array.setflags(write=False)
    assert Tensor(array).data is array
    assert Tensor(array[1:]).data.base is array
    assert not np.shares_memory(Tensor(array, np.float64).data, array)


def test_a_copy_keeps_the_layout_in_memory() -> None:
    for array in (normal(3, 4).T, normal(2, 3, 4, 5).transpose(0, 3, 1, 2)):
        assert Tensor(array).data.strides == array.strides


# --- Out: whatever a tensor gives ------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 3, 100_000])
@pytest.mark.parametrize(
    "make",
    [
        lambda x: x * 2,
        lambda x: mg.reshape(x, (-1, 1)),
        lambda x: mg.broadcast_to(x, (2, x.size)),
        lambda x: x[::2],
        lambda x: mg.leaky_relu(x, 0.2),
        lambda x: grad((x * x).sum(), x),
        lambda x: grad(mg.bias_tanh(mg.reshape(x, (1, -1)), x * 1).sum(), x),
        lambda x: x,
    ],
)
def test_no_array_that_leaves_a_graph_can_be_written(make: Any, size: int) -> None:
    x = Tensor(np.ones(size, f32))
    y = (x * x).sum()
    for t in (make(x), x, y):
        for array in (t.data, t.numpy(), t.detach().numpy(), t.detach().data):
            with pytest.raises(ValueError, match="read-only"):
                array[...] = 0
        with no_grad(), pytest.raises(ValueError, match="read-only"):
            np.asarray(t)[...] = 0
        assert memoryview(t.numpy()).readonly
    mine = x.numpy().copy()
    mine[...] = 0
    np.testing.assert_array_equal(grad(y, x).numpy(), np.full(size, 2))


def test_numpy_cannot_be_written_whoever_made_the_tensor() -> None:
    x = Tensor([1.0, 2.0])
    with pytest.raises(ValueError, match="read-only"):
        x.numpy()[0] = 5
    with no_grad(), pytest.raises(ValueError, match="read-only"):
        np.asarray(x)[0] = 5
    x.data[0] = 5  # so a parameter is set before it is used
    assert x.numpy()[0] == 5


def test_an_optimiser_still_writes_its_parameters() -> None:
    layer = nn.Linear(2, 1, rng=mg.Generator(0))
    rule = mg.optim.SGD(layer.parameters(), 0.5)
    seen = layer.weight.numpy()
    before = seen.copy()
    rule.step(grad(layer(Tensor(buffer())).sum(), layer.parameters()))
    np.testing.assert_array_equal(layer.weight.numpy(), before - 0.5 * buffer().sum(0))
    np.testing.assert_array_equal(seen, layer.weight.numpy())  # a view


# --- Copies and pickles ----------------------------------------------------------------------


def test_the_history_stays_where_it_is() -> None:
    x = Tensor(buffer())
    for t in (x, x * 2, mg.exp(x)[0], grad((x * x).sum(), x, create_graph=True)):
        for other in (pickle.loads(pickle.dumps(t)), copy.deepcopy(t)):
            assert other.node is None
            assert other.dtype == t.dtype
            np.testing.assert_array_equal(other.numpy(), t.numpy())
            assert not np.shares_memory(other.data, t.data)
    y = pickle.loads(pickle.dumps(x * 2))
    with pytest.raises(mg.GraphError, match="has no influence on the output"):
        grad(y.sum(), x)


def test_a_shallow_copy_has_the_history() -> None:
    x = Tensor(buffer())
    y = copy.copy(x * x)
    np.testing.assert_array_equal(grad(y.sum(), x).numpy(), 2 * buffer())


def test_a_history_says_why_it_is_not_pickled() -> None:
    y = Tensor([1.0]) * 2
    for take in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError, match=r"history .* multiply of \(1,\).*pickle the tensor"):
            take(y.node)


def test_primitives_are_pickled_by_name_and_are_one_each() -> None:
    for p in (mg.tanh, mg.batch_norm, mg.bias_tanh, PRIMITIVES["conv2d_activated"]):
        assert pickle.loads(pickle.dumps(p)) is copy.deepcopy(p) is copy.copy(p) is p


def test_a_network_with_a_primitive_and_a_read_only_array_is_pickled_and_copied() -> None:
    class Kept(nn.Module):
        def __init__(self) -> None:
            self.act = mg.tanh

    net = Kept()
    net.seen = net.act(tensor(3)).numpy()  # type: ignore[attr-defined]
    found = net.copy()
    assert found.act is mg.tanh
    np.testing.assert_array_equal(found.seen, net.seen)  # type: ignore[attr-defined]


def test_a_primitive_that_was_replaced_says_so() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules["minigan.tensor"], "PRIMITIVES", registered := dict(PRIMITIVES))
        patch.setattr("minigan.ops.protocols.PRIMITIVES", registered)
        old = mg.primitive(lambda x: x, "twice")
        data = pickle.dumps(old)
        mg.primitive(lambda x: x, "twice")
        with pytest.raises(TypeError, match="twice cannot be pickled: another"):
            pickle.dumps(old)
        del registered["twice"]
        with pytest.raises(TypeError, match="twice is not known here"):
            pickle.loads(data)
