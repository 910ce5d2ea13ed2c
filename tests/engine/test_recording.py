"""The engine: what is recorded, how deep, and that it is freed."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import minigan_kernels as kernels
import numpy as np
import pytest
from draw import tensor

import minigan as mg
from minigan.recording import _recording
from minigan.tensor import (
    PRIMITIVES,
    GraphError,
    Node,
    Tensor,
    enable_grad,
    grad,
    no_grad,
)


@pytest.fixture(autouse=True)
def recording() -> Iterator[None]:
    """A test that fails leaves the engine recording for the next one."""
    yield
    _recording.set(True)


# --- Recording -------------------------------------------------------------------------------


def is_recording() -> bool:
    return (Tensor(1.0) * 2).node is not None


def test_no_grad_as_context_and_as_decorator() -> None:
    assert is_recording()
    with no_grad():
        assert not is_recording()
        with no_grad():
            assert not is_recording()
        assert not is_recording()
    assert is_recording()
    decorated = no_grad()(is_recording)
    assert not decorated()
    assert not decorated()
    assert is_recording()


def test_no_grad_is_over_after_an_exception() -> None:
    with pytest.raises(KeyError), no_grad():
        raise KeyError
    assert is_recording()

    @no_grad()
    def fails() -> None:
        raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert is_recording()


def test_one_no_grad_may_be_entered_again_within_itself() -> None:
    """A recursive function that is decorated enters one and the same context several times."""

    @no_grad()
    def recursive(depth: int) -> bool:
        return is_recording() or (depth > 0 and recursive(depth - 1))

    assert not recursive(3)
    assert is_recording()


def test_enable_grad_records_within_no_grad_and_no_longer() -> None:
    with no_grad():
        with enable_grad():
            assert is_recording()
            x = tensor(3)
            np.testing.assert_allclose(grad((x * x).sum(), x).data, 2 * x.data)
            with no_grad():
                assert not is_recording()
            assert is_recording()
        assert not is_recording()
        assert enable_grad()(is_recording)()
        assert not is_recording()
    assert is_recording()


def fails(*args: Any, **options: Any) -> Any:
    raise ValueError("a rule that fails")


def test_recording_is_restored_when_a_rule_fails() -> None:
    x = tensor(3)
    y = mg.exp(x).sum()
    for create in (True, False):
        with (
            mock.patch.object(PRIMITIVES["exp"], "rules", (fails,)),
            pytest.raises(GraphError),
        ):
            grad(y, x, create_graph=create)
        assert is_recording()


def test_gradients_are_recorded_just_where_asked_for() -> None:
    x = tensor(3)
    y = (mg.exp(x) * x).sum()
    assert grad(y, x).node is None
    assert grad(y, x, create_graph=True).node is not None
    with no_grad():  # the wish outweighs the surroundings
        assert grad(y, x, create_graph=True).node is not None
        assert not is_recording()


def test_recording_belongs_to_a_thread() -> None:
    seen: list[bool] = []
    with no_grad():
        other = threading.Thread(target=lambda: seen.append(is_recording()))
        other.start()
        other.join()
        assert not is_recording()
    assert seen == [True]
    inside, done = threading.Event(), threading.Event()

    def elsewhere() -> None:
        with no_grad():
            inside.set()
            done.wait()

    other = threading.Thread(target=elsewhere)
    other.start()
    inside.wait()
    seen.append(is_recording())
    done.set()
    other.join()
    assert seen == [True, True]


def test_detach_shares_the_array_and_forgets_the_history() -> None:
    x = tensor(3)
    y = x * 2
    d = y.detach()
    assert d.data is y.data
    assert d.node is None
    assert y.node is not None


# --- Depth and leaks -------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [100_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_a_graph_of_any_depth(depth: int) -> None:
    """Neither building, nor differentiating, nor freeing it overflows the stack."""
    x = Tensor(np.zeros(1))
    y = x
    for _ in range(depth):
        y = y + 1.0
    assert y.item() == depth
    alive = weakref.ref(y)
    assert grad(y, x).item() == 1
    del y
    assert alive() is None


def test_a_deep_recorded_gradient() -> None:
    x = Tensor(np.full(1, 0.1))
    y = x
    for _ in range(3000):
        y = mg.sin(y)
    g = grad(y.sum(), x, create_graph=True)
    assert np.isfinite(grad(g.sum(), x).item())
    del y, g


class Watch:
    """Counts the results that a graph keeps alive, with the garbage collector switched off."""

    def __init__(self) -> None:
        self.alive = 0

    def __enter__(self) -> Watch:
        before = Node.__init__

        def noted(node: Node, *args: Any) -> None:
            before(node, *args)
            if not any(node.data is t.data for t in node.inputs):  # else it is counted already
                self.alive += 1
                weakref.finalize(node.data, self._gone)

        self._patch = mock.patch.object(Node, "__init__", noted)
        self._patch.start()
        self._collecting = gc.isenabled()
        gc.collect()
        gc.disable()
        return self

    def _gone(self) -> None:
        self.alive -= 1

    def __exit__(self, *exception: object) -> None:
        self._patch.stop()
        if self._collecting:
            gc.enable()


def chain(x: Tensor, w: Tensor) -> Tensor:
    y = mg.conv2d(x, w, padding=1)
    gamma = Tensor(np.ones(y.shape[1]))
    y = mg.batch_norm(y, gamma, gamma)
    y = mg.bias_leaky_relu(y, gamma, slope=0.2)
    y = mg.max_pool2d(y, 2)
    y = mg.concatenate([y[:1], mg.softmax(y[1:]), mg.einsum("nchw->nchw", y)])
    return mg.mean(mg.logsumexp(y, 1) * mg.where(y[:, 0] > 0, 1.0, 2.0)) + y.max()


def first_order(loss: Tensor, inputs: list[Tensor]) -> None:
    grad(loss, inputs)


def second_order(loss: Tensor, inputs: list[Tensor]) -> None:
    first = grad(loss, inputs, create_graph=True)
    grad(mg.sum(first[0] * first[0]) + mg.sum(first[1] * first[1]), inputs)


def failing(loss: Tensor, inputs: list[Tensor]) -> None:
    with pytest.raises(GraphError):
        grad(loss, [Tensor(1.0)])


@pytest.mark.parametrize("use", [lambda *_: None, first_order, second_order, failing])
def test_a_graph_is_freed_without_the_garbage_collector(use: Callable[..., None]) -> None:
    x, w = tensor(2, 2, 5, 5), tensor(3, 2, 3, 3, seed=1)
    first_order(chain(x, w), [x, w])  # what is imported or cached at the first call
    second_order(chain(x, w), [x, w])
    with Watch() as watch:
        loss = chain(x, w)
        assert watch.alive > 10
        use(loss, [x, w])
        del loss
        assert watch.alive == 0


def test_a_recorded_gradient_keeps_the_graph_and_frees_it() -> None:
    x, w = tensor(2, 2, 5, 5), tensor(3, 2, 3, 3, seed=1)
    with Watch() as watch:
        g = grad(chain(x, w), x, create_graph=True)
        assert watch.alive > 10
        del g
        assert watch.alive == 0


def test_nothing_is_kept_without_recording() -> None:
    x, w = tensor(2, 2, 5, 5), tensor(3, 2, 3, 3, seed=1)
    with Watch() as watch, no_grad():
        loss = chain(x, w)
        assert watch.alive == 0
        assert np.isfinite(loss.item())


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_no_operation_writes_its_inputs(backend: str) -> None:
    x, w = tensor(2, 2, 5, 5), tensor(3, 2, 3, 3, seed=1)
    before = x.data.copy(), w.data.copy()
    with kernels.use(backend):
        second_order(chain(x, w), [x, w])
    np.testing.assert_array_equal(x.data, before[0])
    np.testing.assert_array_equal(w.data, before[1])
