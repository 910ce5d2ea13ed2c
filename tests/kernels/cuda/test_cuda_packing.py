"""Weights are packed once for each update, never stale, in captured graphs as well."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import minigan_kernels as kernels
import numpy as np
import pytest
from cuda_tools import needs_gxx
from minigan_kernels.cuda import tiling
from minigan_kernels.cuda.launch import Kernel, planning
from minigan_kernels.epilogue import Epilogue
from minigan_kernels.memo import Capture, capturing, freeze, writable

from minigan import Generator, Tensor, grad, nn, ops, optim

pytestmark = needs_gxx

Launch = tuple[Kernel, tuple[Any, ...], dict[str, Any]]


@contextmanager
def launches(run: bool = True) -> Iterator[list[Launch]]:
    """The launches in the block, which are only noted unless `run`."""
    noted: list[Launch] = []
    real = Kernel.__call__

    def note(self: Kernel, *arguments: Any, **options: Any) -> None:
        noted.append((self, arguments, options))
        if run:
            real(self, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch, kernels.use("cuda"):
        patch.setattr(Kernel, "__call__", note)
        yield noted


def packs(noted: list[Launch]) -> int:
    return sum(kernel.name == "pack" for kernel, *_ in noted)


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def images(*shape: int) -> np.ndarray:
    """(N, C, H, W), channels last: float32 kernels read it as it is."""
    n, c, h, w = shape
    return random(n, h, w, c).transpose(0, 3, 1, 2)


X, G = images(2, 8, 6, 6), images(2, 16, 4, 4)
CALLS: dict[str, tuple[tuple[int, ...], Callable[[np.ndarray], np.ndarray]]] = {
    "conv2d": ((16, 8, 3, 3), lambda w: kernels.conv2d(X, w)),
    "conv2d_activated": (
        (16, 8, 3, 3),
        lambda w: kernels.conv2d_activated(X, w, random(16), epilogue=Epilogue("tanh")),
    ),
    "few filters": ((3, 8, 3, 3), lambda w: kernels.conv2d(X, w)),
    "conv2d_dx": ((16, 8, 3, 3), lambda w: kernels.conv2d_dx(G, w, shape=X.shape)),
    "in groups": ((16, 4, 3, 3), lambda w: kernels.conv2d(X, w, groups=2)),
    "in groups, dx": ((16, 4, 3, 3), lambda w: kernels.conv2d_dx(G, w, shape=X.shape, groups=2)),
    "float64": ((16, 8, 3, 3), lambda w: kernels.conv2d(X.astype(np.float64), w)),
    "linear": ((8, 6), lambda w: kernels.matmul(random(5, 6), w.T)),
    "linear, dx": ((8, 6), lambda w: kernels.matmul(random(5, 8), w)),
}


@pytest.mark.parametrize("precision", tiling.PRECISIONS)
@pytest.mark.parametrize("name", CALLS)
def test_weights_are_packed_once_for_each_update(name: str, precision: str) -> None:
    shape, call = CALLS[name]
    w = random(*shape)
    with launches() as noted, tiling.precision(precision):
        fresh = call(w)
        each = packs(noted)  # of the images too
        noted.clear()
        assert call(w).tobytes() == fresh.tobytes()
        assert packs(noted) == each  # an array that anybody may write is packed in each call
        freeze(w)
        for step in range(3):
            with writable(w):
                w += step
            fresh = call(w.copy())
            noted.clear()
            results = {call(w).tobytes() for _ in range(3)}
            assert results == {fresh.tobytes()}
            assert packs(noted) == 3 * each - 2


def test_weights_that_need_no_packing_do_not_outlive_their_array() -> None:
    w = np.ascontiguousarray(random(16, 3, 3, 8)).transpose(0, 3, 1, 2)
    freeze(w)
    with launches() as noted:
        kernels.conv2d(X, w)
        assert not packs(noted)
        kernels.conv2d_dx(G, w, shape=X.shape)
        assert packs(noted) == 1
    gone = weakref.ref(w.base)
    del w
    gc.collect()
    noted.clear()
    assert gone() is None


def test_nothing_is_kept_where_launches_are_only_listed() -> None:
    w = random(16, 8, 3, 3)
    freeze(w)
    with kernels.use("cuda"):
        with planning() as listed:
            kernels.conv2d(X, w)
        assert "pack" in [kernel.name for kernel in listed]
        assert kernels.conv2d(X, w).tobytes() == kernels.conv2d(X, w.copy()).tobytes()


def test_a_layer_packs_once_for_all_that_it_is_applied_to() -> None:
    layer = nn.Conv2d(8, 16, 3, rng=Generator(0))
    rule = optim.SGD(layer.parameters(), 0.1)
    x = Tensor(X)
    with launches() as noted:
        for _ in range(2):
            noted.clear()
            loss = ops.mean(ops.square(layer(x)) + ops.square(layer(x + 1)))
            assert packs(noted) == 1
            rule.step(grad(loss, layer.parameters()))


class Graph:
    """Launches of emulated kernels that are captured, and run on the same addresses later.

    `lasting` are the arrays that hold their values from one run to the next. As on a GPU nothing
    else does: what the captured work allocates is overwritten before each run, and so is memory
    that was free before.
    """

    def __init__(self, work: Callable[[], Any], *lasting: np.ndarray) -> None:
        with launches(run=False) as self.launches, capturing() as self.memo:
            self.result = work()
        arrays = [a for _, arguments, _ in self.launches for a in arguments
                  if isinstance(a, np.ndarray) and a.ndim]  # fmt: skip
        self.fresh = [a for a in arrays if not any(np.may_share_memory(a, b) for b in lasting)]

    def run(self) -> None:
        for array in self.fresh:
            array.view(np.uint8)[...] = 0xFF
        for kernel, arguments, options in self.launches:
            kernel(*arguments, **options)
        self.memo.invalidate()


class Round:
    """Two convolutions, an input gradient, an update of the weights, a convolution with them."""

    def __init__(self) -> None:
        # In the memory order of the weight gradient: so an update consists of kernels alone.
        self.w = random(3, 3, 8, 16).transpose(3, 2, 0, 1) / 8
        self.velocity = np.zeros_like(self.w)
        self.lasting = self.w, self.velocity, X, G

    def __call__(self) -> tuple[np.ndarray, ...]:
        with kernels.use("cuda"):
            y = kernels.conv2d(X, self.w)
            dw = kernels.conv2d_dw(X, kernels.conv2d(X, self.w), shape=self.w.shape)
            dx = kernels.conv2d_dx(y, self.w, shape=X.shape)
            with writable(self.w):
                options = {"lr": 0.01, "momentum": 0.5, "nesterov": False, "weight_decay": 0.0}
                kernels.sgd([self.w], [dw], [self.velocity], **options)
            return y, dx, kernels.conv2d(X, self.w)

    def values(self) -> list[bytes]:
        return [array.tobytes() for array in (self.w, self.velocity)]


def replayed_as_usual() -> bool:
    """Whether rounds of a graph, and what is computed between them, are those of usual rounds."""
    usual, replayed = Round(), Round()
    freeze(replayed.w)  # the usual one's weights are packed in each call
    with kernels.use("cuda"):
        for each in (usual, replayed):
            each()
        graph = Graph(replayed, *replayed.lasting)
        for _ in range(3):
            now = [kernels.conv2d(X, each.w).tobytes() for each in (usual, replayed)]
            expected = usual()
            graph.run()
            found = [a.tobytes() for a in graph.result]
            if now[0] != now[1] or found != [a.tobytes() for a in expected]:
                return False
            if usual.values() != replayed.values():
                return False
    assert packs(graph.launches) == 3  # forwards, backwards, forwards after the update
    return True


def test_a_graph_packs_again_after_each_update() -> None:
    assert replayed_as_usual()


@contextmanager
def not_capturing() -> Iterator[Capture]:
    yield Capture()


def test_values_from_before_a_capture_would_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "capturing", not_capturing)
    assert not replayed_as_usual()


def test_values_from_between_two_runs_would_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Capture, "invalidate", lambda self: None)
    assert not replayed_as_usual()
