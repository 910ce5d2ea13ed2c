"""What is kept with an array: never beyond a write, and never with an array that may be written."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import minigan_kernels as kernels
import numpy as np
import pytest
import tiny
from minigan_kernels import memo
from minigan_kernels.cpu.runtime.allocator import empty, empty_image
from minigan_kernels.memo import (
    LARGE,
    capturing,
    freeze,
    freeze_result,
    invalidate,
    memoize,
    writable,
)

from minigan import Generator, conv2d, grad, nn, no_grad, ops, optim
from minigan.tensor import PRIMITIVES, Tensor

SIDE = 128  # SIDE x SIDE float32 are LARGE


class Sums:
    """Derives an array's sum, and counts how often that was computed."""

    def __init__(self) -> None:
        self.computed = 0

    def __call__(self, array: np.ndarray, name: Any = "sum") -> float:
        def compute() -> float:
            self.computed += 1
            return float(array.sum())

        return memoize(array, name, compute)


@pytest.fixture
def total() -> Sums:
    return Sums()


def frozen(*shape: int) -> np.ndarray:
    array = np.ones(shape, np.float32)
    freeze(array)
    return array


def test_a_frozen_array_keeps_what_was_derived(total: Sums) -> None:
    x = frozen(3, 4)
    assert total(x) == total(x) == 12
    assert total.computed == 1
    assert total(x, ("sum", 2)) == 12  # another name
    assert total.computed == 2
    assert total(frozen(3, 4)) == 12  # another array
    assert total.computed == 3


def test_a_writable_array_keeps_nothing(total: Sums) -> None:
    x = np.ones(3, np.float32)
    assert total(x) == 3
    x[0] = 5
    assert total(x) == 7
    assert not memo.entries(x)


def read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    "view",
    [
        lambda x: read_only(x[:]),
        lambda x: read_only(x.T),
        lambda x: np.broadcast_to(x, (2, 3)),
        lambda x: read_only(np.frombuffer(memoryview(x), np.float32)),
        lambda x: read_only(x[:])[:].view(np.int32),
    ],
)
def test_a_read_only_view_of_a_writable_array_keeps_nothing(
    view: Callable[[np.ndarray], np.ndarray], total: Sums
) -> None:
    x = np.ones(3, np.float32)
    y = view(x)
    assert not y.flags.writeable
    before = total(y)
    x[:] = 5
    assert total(y) != before
    assert total.computed == 2


def test_a_view_of_a_buffer_keeps_nothing(total: Sums) -> None:
    buffer = bytearray(12)
    x = read_only(np.frombuffer(buffer, np.float32))
    assert total(x) == 0
    buffer[3] = 1
    assert total(x) != 0


def test_a_view_of_a_frozen_array_keeps_its_own(total: Sums) -> None:
    x = frozen(3, 4)
    half = x[:2]
    assert (total(x), total(half)) == (12, 8)
    assert (total(x), total(half), total.computed) == (12, 8, 2)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (4, 8, 64, 64)])
def test_results_of_the_pool_are_private(shape: tuple[int, ...], total: Sums) -> None:
    for x in (empty(shape, np.float32), empty_image(shape, np.float32)):
        x[...] = 1
        total(x)
        assert total(x) == x.size
        freeze(x)
        computed = total.computed
        assert total(x) == total(x) == x.size
        assert total.computed == computed + 1


def test_what_is_derived_dies_with_the_array() -> None:
    x = frozen(3)
    value = memoize(x, "copy", x.copy)
    gone = weakref.ref(value)
    del value
    gc.collect()
    assert gone() is not None
    assert memo.entries(x) == {"copy": gone()}
    count = memo.entry_count()
    del x
    gc.collect()
    assert gone() is None
    assert memo.entry_count() == count - 1


def test_a_new_array_in_the_same_place_has_nothing(total: Sums) -> None:
    for value in range(100):
        x = np.full(3, value, np.float32)
        freeze(x)
        assert total(x) == 3 * value


def test_writing_forgets(total: Sums) -> None:
    x = frozen(3, 4)
    part = x[1:]
    assert (total(x), total(part)) == (12, 8)
    with writable(x):
        x += 1
        assert total(x) == 24
        x += 1
        assert total(x) == 36  # nothing is kept within the block
    assert not x.flags.writeable
    assert (total(x), total(part)) == (36, 24)
    with writable(part):  # a view: its array changes too
        part += 1
    assert not part.flags.writeable
    assert not x.flags.writeable
    assert (total(x), total(part)) == (44, 32)
    invalidate(x)
    computed = total.computed
    total(x)
    assert total.computed == computed + 1


def test_writable_leaves_flags_as_they_were() -> None:
    x, y = frozen(3), np.ones(3, np.float32)
    with pytest.raises(KeyError), writable(x, y):
        {}[x.flags.writeable]
    assert not x.flags.writeable
    assert y.flags.writeable
    constant = np.frombuffer(b"abcd", np.uint8)
    with pytest.raises(ValueError, match="WRITEABLE"), writable(x, constant):
        pass
    assert not x.flags.writeable


def test_numpy_refuses_to_write_what_is_frozen() -> None:
    x = frozen(3)
    with pytest.raises(ValueError, match="read-only"):
        x[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        x += 1


def test_a_result_in_an_inputs_memory_stays_the_users() -> None:
    x = np.ones((4, 4), np.float32)
    for result in (x, x[1:], x.T, x.reshape(-1)):
        freeze_result(result, [x])
        assert result.flags.writeable
    result = (x + 1).reshape(2, 8).T
    freeze_result(result, [x])
    assert not result.flags.writeable
    assert not result.base.flags.writeable
    freeze_result("no array", [x])


# --- The engine ------------------------------------------------------------------------------


def test_the_engine_freezes_what_a_graph_holds() -> None:
    x = Tensor(np.ones((SIDE, SIDE), np.float32))
    assert x.data.nbytes == LARGE
    w = Tensor(np.ones((SIDE, SIDE), np.float32))
    y = ops.leaky_relu(x @ w, 0.2)
    z = ops.reshape(y, (-1,))
    g = grad(ops.sum(ops.square(z)), [x, w])
    bias = Tensor(np.ones(SIDE, np.float32))
    fused = ops.bias_leaky_relu(x, bias, slope=0.2)
    (of_fused,) = grad(ops.sum(ops.square(fused)), [x])
    small = Tensor(np.ones(3, np.float32))
    small.data[...] = 2  # nobody has used it
    of_small = ops.square(small)
    views = [ops.reshape(t, (-1, 1)) for t in (x, y, small)]
    for tensor in (x, w, bias, y, z, *g, fused, of_fused, small, of_small, *views):
        with pytest.raises(ValueError, match="read-only"):
            tensor.data[...] = 0


def test_the_engine_freezes_nothing_of_what_no_graph_holds() -> None:
    with no_grad():
        x = Tensor(np.ones(3, np.float32))
        y = PRIMITIVES["identity"](ops.reshape(x, (3, 1)))
        x.data[...] = 2
    np.testing.assert_array_equal(y.data, np.full((3, 1), 2))
    assert not y.data.flags.writeable  # as a result


def test_an_optimiser_freezes_its_parameters() -> None:
    net = nn.Conv2d(3, 4, 3, rng=Generator(0))
    net.weight.data[...] = 1
    rule = optim.SGD(net.parameters(), 0.1)
    for p in net.parameters().values():
        with pytest.raises(ValueError, match="read-only"):
            p.data[...] = 1
    rule.step({n: Tensor(np.ones_like(p.data)) for n, p in net.parameters().items()})
    assert not net.weight.data.flags.writeable
    np.testing.assert_allclose(net.weight.data, 0.9)
    assert net.copy().weight.data.flags.writeable
    assert net.astype(np.float64).weight.data.flags.writeable


WRITERS: dict[str, Callable[[nn.Module, optim.Optimizer], None]] = {
    "a step": lambda net, rule: rule.step(
        {n: Tensor(np.ones_like(p.data)) for n, p in net.parameters().items()}
    ),
    "clipping": lambda net, rule: optim.clip_weights(net.parameters(), 0.01),
    "loading": lambda net, rule: net.load_state({n: a + 1 for n, a in net.state().items()}),
    "averaging": lambda net, rule: optim.average(net, nn.Conv2d(3, 4, 3, rng=Generator(1)), 0.5),
}


@pytest.mark.parametrize("how", WRITERS)
@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_nothing_stale_after(how: str, backend: str, total: Sums) -> None:
    with kernels.use(backend):
        net = nn.Conv2d(3, 4, 3, rng=Generator(0))
        rule = optim.Adam(net.parameters(), 0.1)
        turned = net.weight.T.data  # a view, which a graph might keep
        for _ in range(3):
            for array in (net.weight.data, turned):
                assert total(array) == total(array) == float(array.sum())
            before = net.weight.data.copy()
            WRITERS[how](net, rule)
            assert not np.array_equal(before, net.weight.data) or how == "clipping"
            assert not net.weight.data.flags.writeable
        assert total.computed == 6


def test_a_convolution_sees_new_weights_and_images() -> None:
    """Through the public functions, with whatever the kernels keep."""
    rng = Generator(0)
    net = nn.Conv2d(16, 32, 4, stride=2, padding=1, rng=rng)
    rule = optim.SGD(net.parameters(), 0.5)
    x = Tensor(rng.normal((8, 16, 32, 32)))
    for _ in range(3):
        y, g = _images(net, x)
        fresh = Tensor(net.weight.data.copy(order="K")), Tensor(x.data.copy())
        plain = conv2d(fresh[1], fresh[0], stride=2, padding=1)
        plain = plain + ops.reshape(net.bias, (1, 32, 1, 1))
        np.testing.assert_array_equal(y.data, plain.data)
        rule.step(g)
        with writable(x.data):
            x.data[...] += 1


def _images(net: nn.Conv2d, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    y = net(x)
    return y, grad(ops.mean(ops.square(y)), net.parameters())


@pytest.mark.parametrize("fields", [{}, {"two_logits": True}])
def test_steps_are_the_same_bytes_with_nothing_kept(
    fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def rounds() -> bytes:
        data = tiny.images((3, 32, 32))
        state = tiny.state("dcgan", data, width=16, batch_size=8, **fields)
        for _ in range(3):
            state.advance()
        return b"".join(a.tobytes() for p in state.players.values() for a in p.state().values())

    def memory(array: np.ndarray, plain: Any = memo._memory) -> tuple[Any, bool]:
        return plain(array)[0], False  # no array counts as frozen

    kept = rounds()
    monkeypatch.setattr(memo, "_memory", memory)
    assert rounds() == kept


def test_under_no_grad_too() -> None:
    with no_grad():
        y = ops.square(Tensor(np.ones((SIDE, SIDE), np.float32)))
    assert not y.data.flags.writeable


# --- Arrays on a GPU -------------------------------------------------------------------------


class OnGpu:
    """An array that has no read-only flag; `base` is what it is a view of."""

    __cuda_array_interface__: Any = None
    nbytes = LARGE

    def __init__(self, base: OnGpu | None = None) -> None:
        self.base = base
        self.value = 1.0

    def sum(self) -> float:
        return self.value if self.base is None else self.base.value


def test_a_frozen_array_on_a_gpu_keeps_values_until_it_is_written(total: Sums) -> None:
    x = OnGpu()
    total(x), total(x)
    assert total.computed == 2  # not frozen: anybody may write it
    freeze(x)
    view = OnGpu(x)
    for written in (x, view):
        invalidate(x)
        total.computed = 0
        assert total(x) == total(x) == total(view) == total(view) == x.value
        assert total.computed == 2
        with writable(written):
            x.value += 1
            assert total(x) == x.value
            x.value += 1
            assert total(x) == total(view) == x.value
        assert total(x) == total(x) == total(view) == x.value
        assert total.computed == 7
        invalidate(written)
        assert total(x) == x.value
        assert total.computed == 8


def test_another_array_on_a_gpu_is_not_frozen_by_its_place() -> None:
    for _ in range(100):
        x = OnGpu()
        assert not memo._memory(x)[1]
        freeze(x)
        assert memo._memory(x)[1]
        del x
    gc.collect()
    assert not memo._frozen_on_gpu


@pytest.mark.parametrize("make", [lambda: frozen(3), OnGpu])
def test_captured_work_shares_no_values(make: Callable[[], Any], total: Sums) -> None:
    x, other = make(), make()
    for each in (x, other):
        freeze(each)
        total(each)
    total.computed = 0
    with capturing() as capture:
        total(x), total(x)
        assert total.computed == 1  # again, and once
        with writable(x):
            pass
        total(x), total(x), total(other)
        assert total.computed == 3
    total(other)  # was not written
    assert total.computed == 3
    total(x)
    assert total.computed == 4
    total(x)
    assert total.computed == 4
    capture.invalidate()  # it was run
    total(other)
    assert total.computed == 4
    total(x)
    assert total.computed == 5
    with capturing():
        total(x)
    assert total.computed == 6


def test_captured_work_that_fails_leaves_no_values(total: Sums) -> None:
    x = frozen(3)
    with pytest.raises(KeyError), capturing():
        {}[total(x)]
    total(x)
    assert total.computed == 2
