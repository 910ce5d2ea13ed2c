"""The engine: what `grad` answers, leaves out and keeps, and what it says when it fails."""

from __future__ import annotations

import inspect
import sys
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from draw import tensor

import minigan as mg
from minigan import nn
from minigan.recording import _recording
from minigan.tensor import (
    PRIMITIVES,
    GraphError,
    Primitive,
    Tensor,
    grad,
    history,
    no_grad,
)


def line() -> int:
    """The caller's line."""
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


@pytest.fixture(autouse=True)
def recording() -> Iterator[None]:
    """A test that fails leaves the engine recording for the next one."""
    yield
    _recording.set(True)


@pytest.fixture
def primitives() -> Iterator[None]:
    """What a test registers is gone afterwards."""
    with mock.patch.dict(PRIMITIVES):
        yield


# --- Structure -------------------------------------------------------------------------------


def test_the_answer_has_the_structure_of_the_inputs() -> None:
    a, b = tensor(2, 3), tensor(3, seed=1)
    loss = mg.sum(a * b)
    one = grad(loss, a)
    assert isinstance(one, Tensor)
    np.testing.assert_allclose(one.data, np.broadcast_to(b.data, (2, 3)))
    as_list, as_tuple = grad(loss, [a, b]), grad(loss, (a, b))
    assert (type(as_list), type(as_tuple)) == (list, tuple)
    as_dict = grad(loss, {"b": b, "a": a})
    assert list(as_dict) == ["b", "a"]
    for found in (as_list[1], as_tuple[1], as_dict["b"]):
        np.testing.assert_allclose(found.data, a.data.sum(0))
        assert found.shape == b.shape
    assert grad(loss, []) == []
    assert grad(loss, {}) == {}


def test_of_any_other_iterable_the_answer_is_a_list() -> None:
    a, b = tensor(3), tensor(3, seed=1)
    pair = namedtuple("pair", "a b")(a, b)
    for inputs in ({"a": a, "b": b}.values(), (t for t in (a, b)), pair):
        of_a, of_b = grad((a * b).sum(), inputs)
        np.testing.assert_array_equal(of_a.data, b.data)
        np.testing.assert_array_equal(of_b.data, a.data)


def test_what_cannot_be_differentiated_is_refused() -> None:
    """An integer's gradient would lose its fractions: that of a maximum shared by two is 1/2."""
    x, counts = tensor(3), Tensor([1, 3, 3])
    calls: list[tuple[Callable[[], Any], str]] = [
        (lambda: grad(counts.max(), counts), r"the output of shape \(\) is int64.*numpy\.float32"),
        (lambda: grad((x * counts).sum(), {"n": counts}), r"input 'n' of shape \(3,\) is int64"),
        (lambda: grad(Tensor(x.data * 1j).sum(), x), "the output .* is complex128"),
        (lambda: grad(x.sum(), [x, 1.0]), "input 1 is of type float, and no Tensor"),
        (lambda: grad(x.data.sum(), x), "the output is of type float64, and no Tensor"),
        (lambda: grad(x * 2, x, grad_output=counts), r"grad_output of shape \(3,\) is int64"),
    ]
    for call, words in calls:
        with pytest.raises(GraphError, match=words):
            call()
    np.testing.assert_array_equal(grad((x * counts).sum(), x).data, [1, 3, 3])


def test_grad_output_may_be_an_array_or_numbers() -> None:
    x = Tensor([1.0, 2.0])
    for g in (np.array([1.0, 3.0]), [1, 3]):
        found = grad(x * 2, x, grad_output=g)
        np.testing.assert_array_equal(found.data, [2, 6])
        assert found.dtype == x.dtype
    with pytest.raises(GraphError, match=r"grad_output is \(3,\), but the output is \(2,\)"):
        grad(x * 2, x, grad_output=np.ones(3))


def test_parameters_of_a_network_are_a_structure() -> None:
    net = nn.Linear(3, 2, rng=mg.Generator(0))
    g = grad(net(Tensor(np.ones((4, 3), np.float32))).sum(), net.parameters())
    assert {k: v.shape for k, v in g.items()} == {"weight": (2, 3), "bias": (2,)}
    np.testing.assert_array_equal(g["bias"].data, [4, 4])


def test_an_output_that_is_not_one_number_needs_its_gradient() -> None:
    x = tensor(2, 3)
    with pytest.raises(GraphError, match=r"output of shape \(2, 3\) needs grad_output"):
        grad(x * 2, x)
    g = tensor(2, 3, seed=1)
    np.testing.assert_allclose(grad(x * 2, x, grad_output=g).data, 2 * g.data)
    with pytest.raises(GraphError, match=r"grad_output is \(3,\), but the output is \(2, 3\)"):
        grad(x * 2, x, grad_output=tensor(3))


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_one_number_may_have_axes(shape: tuple[int, ...]) -> None:
    x = Tensor(np.full(shape, 3.0))
    np.testing.assert_array_equal(grad(x * x, x).data, np.full(shape, 6.0))


def test_grad_output_may_itself_be_differentiated() -> None:
    x, u = tensor(3), tensor(3, seed=1)
    g = grad(mg.exp(x), x, grad_output=u, create_graph=True)
    np.testing.assert_allclose(grad(g.sum(), u).data, np.exp(x.data))


def test_an_input_without_influence_is_an_error_that_names_it() -> None:
    a, b = tensor(2), tensor(3)
    loss = (a * a).sum()
    with pytest.raises(GraphError, match=r"input 'bias' of shape \(3,\) has no influence"):
        grad(loss, {"weight": a, "bias": b})
    with pytest.raises(GraphError, match=r"input 1 of shape \(3,\).*sum of \(2,\).*test_engine.py"):
        grad(loss, [a, b])
    found = grad(loss, {"weight": a, "bias": b}, allow_unused=True)
    np.testing.assert_array_equal(found["bias"].data, np.zeros(3))
    assert found["bias"].dtype == b.dtype


def test_an_output_that_nothing_computed() -> None:
    x = Tensor(3.0)
    assert grad(x, x).item() == 1  # itself
    with pytest.raises(GraphError, match="that nothing computed"):
        grad(x, Tensor(1.0))
    with no_grad():
        y = x * x
    with pytest.raises(GraphError, match="that nothing computed"):
        grad(y, x)


def test_the_same_input_may_be_asked_for_twice() -> None:
    x = tensor(3)
    first, second = grad(mg.exp(x).sum(), [x, x])
    np.testing.assert_array_equal(first.data, np.exp(x.data))
    np.testing.assert_array_equal(second.data, first.data)


# --- Total derivatives -----------------------------------------------------------------------


def test_a_tensor_used_twice() -> None:
    x = Tensor(3.0)
    assert grad(x * x, x).item() == 6
    assert grad(x * x * x + x, x).item() == 28
    assert grad(mg.concatenate([x.reshape(1), x.reshape(1)]).sum(), x).item() == 2


def test_interior_tensors() -> None:
    x = tensor(3)
    y = mg.exp(x)
    z = mg.sin(y)
    loss = (z * y).sum()
    by_z, by_y, by_loss = grad(loss, [z, y, loss])
    np.testing.assert_allclose(by_z.data, y.data)
    np.testing.assert_allclose(by_y.data, np.cos(y.data) * y.data + z.data)
    assert by_loss.item() == 1


def test_an_input_that_is_computed_from_another_gives_total_derivatives() -> None:
    x = Tensor(2.0)
    y = x * x
    z = y * x
    by_x, by_y = grad(z, [x, y])
    assert (by_x.item(), by_y.item()) == (12, 2)  # d(x^3)/dx, and z by y with x fixed
    for order in ([y, x], [x, y]):
        assert {t.item() for t in grad(z, order)} == {12, 2}


def test_fused_with_one_input_computed_from_another() -> None:
    """Recorded or not, the reference must not follow the path between its own inputs."""
    x = tensor(4, 3)
    found = []
    for record in (False, True):
        bias = mg.sum(x, 0)
        y = mg.bias_tanh(x, bias)
        found += [grad(y.sum(), [x, bias], create_graph=record)]
    slope = 1 - y.data**2
    for by_x, by_bias in found:
        np.testing.assert_allclose(by_x.data, slope + slope.sum(0))
        np.testing.assert_allclose(by_bias.data, slope.sum(0))


def test_fused_with_the_same_tensor_for_two_inputs() -> None:
    x = tensor(3, 3)
    v = tensor(3)
    for record in (False, True):
        by_v = grad(mg.sum(mg.batch_norm(x, v, v) * x), v, create_graph=record)
        gamma, beta = Tensor(v.data), Tensor(v.data)
        parts = grad(mg.sum(mg.batch_norm(x, gamma, beta) * x), [gamma, beta])
        np.testing.assert_allclose(by_v.data, parts[0].data + parts[1].data)


def test_a_gradient_does_not_change_the_graph() -> None:
    x = tensor(3)
    loss = mg.exp(mg.sin(x) * x).sum()
    first = grad(loss, x).data.copy()
    for _ in range(2):
        np.testing.assert_array_equal(grad(loss, x).data, first)


def test_contributions_are_not_written_into_one_another() -> None:
    """Sums must be new arrays: the gradient of an addition is one array for both operands."""
    x, y = tensor(3), tensor(3, seed=1)
    g = Tensor(np.ones(3))
    by_x, by_y = grad((x + y) + x, [x, y], grad_output=g)
    np.testing.assert_array_equal(by_x.data, [2, 2, 2])
    np.testing.assert_array_equal(by_y.data, [1, 1, 1])
    np.testing.assert_array_equal(g.data, [1, 1, 1])


# --- Pruning ---------------------------------------------------------------------------------


def forbidden(*args: Any, **options: Any) -> Any:
    raise AssertionError("this rule must not run")


def test_a_rule_that_nobody_asked_for_is_not_run() -> None:
    a, b = tensor(3), tensor(3, seed=1)
    p = PRIMITIVES["multiply"]
    y = (a * b).sum()
    with mock.patch.object(p, "rules", (p.rules[0], forbidden)):
        np.testing.assert_array_equal(grad(y, a).data, b.data)
        with pytest.raises(GraphError, match="must not run"):
            grad(y, b)


def test_a_generator_step_does_not_compute_the_discriminators_weight_gradients() -> None:
    rng = mg.Generator(0)
    D = nn.Sequential(nn.Conv2d(1, 2, 3, rng=rng), nn.LeakyReLU(0.2), nn.Flatten())
    G = nn.Sequential(nn.Reshape(2, 4, 4), nn.ConvTranspose2d(2, 1, 4, stride=2, rng=rng))
    z = Tensor(rng.normal((2, 32)))
    fake = G(z)
    loss = mg.losses.non_saturating_loss(D(fake))
    dw = PRIMITIVES["conv2d_dw"]
    counting = mock.Mock(side_effect=dw.kernel)
    with mock.patch.object(dw, "kernel", counting):
        grad(loss, G.parameters())
    assert counting.call_count == 1  # G's own
    with mock.patch.object(dw, "kernel", forbidden):
        grad(loss, fake)


def test_a_discriminator_step_does_not_enter_a_detached_generator() -> None:
    a, w = tensor(3), tensor(3, seed=1)
    fake = mg.exp(a).detach()
    exp = PRIMITIVES["exp"]
    with mock.patch.object(exp, "rules", (forbidden,)):
        np.testing.assert_array_equal(grad((fake * w).sum(), w).data, np.exp(a.data))
        with pytest.raises(GraphError, match="no influence"):
            grad((fake * w).sum(), a)


def test_a_side_path_that_only_a_rule_without_flow_reads() -> None:
    """The second derivative of leaky ReLU by its argument is nothing, also through a longer way."""
    x = tensor(4)
    h = x * 2
    y = mg.ops.elementwise.leaky_relu_dx(Tensor(np.ones(4)), h, slope=0.1)
    np.testing.assert_array_equal(grad(y.sum(), x, allow_unused=True).data, np.zeros(4))
    mixed = (y * x).sum()
    np.testing.assert_allclose(grad(mixed, x).data, np.where(x.data > 0, 1, 0.1))


def test_the_history_is_pruned_of_what_does_not_lead_to_an_input() -> None:
    x, c = tensor(3), tensor(3, seed=1)
    sin = PRIMITIVES["sin"]
    with mock.patch.object(sin, "rules", (forbidden,)):
        grad((mg.sin(c) * x).sum(), x)


# --- What it says ----------------------------------------------------------------------------


def test_a_forward_mismatch_names_the_operation_and_both_shapes() -> None:
    with pytest.raises(GraphError, match=r"^add of \(2, 3\) and \(4,\): .*broadcast"):
        tensor(2, 3) + tensor(4)
    with pytest.raises(GraphError, match=r"^matmul of \(2, 3\) and \(2, 3\)"):
        tensor(2, 3) @ tensor(2, 3)
    with pytest.raises(GraphError, match=r"^conv2d of \(1, 2, 5, 5\) and \(1, 3, 3, 3\)"):
        mg.conv2d(tensor(1, 2, 5, 5), tensor(1, 3, 3, 3))
    with pytest.raises(GraphError, match=r"^concatenate of \(2, 3\) and \(2, 4\)"):
        mg.concatenate([tensor(2, 3), tensor(2, 4)])
    with pytest.raises(GraphError, match=r"^reshape of \(2, 3\)"):
        tensor(2, 3).reshape(5)
    with pytest.raises(GraphError, match=r"^getitem of \(2, 3\)"):
        tensor(2, 3)[5]
    with pytest.raises(GraphError, match=r"^batch_norm of \(4, 3\) and \(2,\) and \(3,\)"):
        mg.batch_norm(tensor(4, 3), tensor(2), tensor(3))


def test_a_failing_rule_names_the_operation_its_shapes_and_where_it_was_built() -> None:
    x = tensor(2, 3)
    y, built = mg.exp(x), line()
    with (
        mock.patch.object(PRIMITIVES["exp"], "rules", (lambda g, y, x: {}["key"],)),
        pytest.raises(GraphError) as caught,
    ):
        grad(y.sum(), x)
    said = str(caught.value)
    assert "exp of (2, 3)" in said
    assert f"{Path(__file__).name}:{built} in test_a_failing_rule" in said
    assert "key" in said
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_rule_whose_own_operations_do_not_fit_says_where_it_was_built() -> None:
    x = tensor(2, 3)
    y, built = mg.exp(x), line()
    with (
        mock.patch.object(PRIMITIVES["exp"], "rules", (lambda g, y, x: g * np.ones(7),)),
        pytest.raises(GraphError) as caught,
    ):
        grad(y.sum(), x)
    said = str(caught.value)
    assert "multiply of (2, 3) and (7,)" in said
    assert "exp of (2, 3)" in said
    assert f"{Path(__file__).name}:{built}" in said


def test_a_rule_that_gives_another_shape_is_reported() -> None:
    x, b = tensor(2, 3), tensor(3)
    y, built = x * b, line()
    p = PRIMITIVES["multiply"]
    forgot_to_sum = (p.rules[0], lambda g, y, a, b: g * a)
    with mock.patch.object(p, "rules", forgot_to_sum), pytest.raises(GraphError) as caught:
        grad(y.sum(), b)
    said = str(caught.value)
    assert "multiply of (2, 3) and (3,)" in said
    assert "it is (2, 3) for argument 1" in said
    assert f"{Path(__file__).name}:{built}" in said


def test_the_place_is_the_caller_of_a_layer_not_the_layer() -> None:
    net = nn.Sequential(nn.Linear(3, 2, rng=mg.Generator(0), activation=nn.Tanh()))
    y, built = net(Tensor(np.ones((1, 3), np.float32))), line()
    places = {node.site[1] for node in history(y)}
    assert places == {built}
    assert {Path(node.site[0].co_filename).name for node in history(y)} == {Path(__file__).name}


def test_the_place_of_an_operator_and_of_a_method() -> None:
    x = tensor(3)
    for build in (lambda: x + 1, lambda: x.sum(), lambda: mg.mean(x), lambda: x[0]):
        node = build().node
        assert node is not None
        assert Path(node.site[0].co_filename).name == Path(__file__).name
        assert node.site[1] == build.__code__.co_firstlineno


UFUNCS = {name: p for name, p in PRIMITIVES.items() if isinstance(p.kernel, np.ufunc)}


@pytest.mark.parametrize("records", [True, False], ids=["recording", "not recording"])
@pytest.mark.parametrize("name", UFUNCS)
def test_a_function_of_numpy_takes_its_arguments_alone(name: str, records: bool) -> None:
    """NumPy writes to an argument beyond them, and to `out`."""
    assert len(UFUNCS) > 10
    p = UFUNCS[name]
    given = [Tensor([4.0, 9.0]) for _ in range(p.kernel.nin)]
    out = np.array([5.0, 6.0], np.float32)
    beyond = Tensor([5.0, 6.0])
    kept = beyond.numpy()
    calls: dict[str, tuple[list[Any], dict[str, Any]]] = {
        "too many positional": ([*given, beyond], {}),
        "too many positional arguments;": ([*given, out], {}),
        "too many positional .*": ([*given, beyond, beyond], {}),
        "argument 'out'": (given, {"out": out}),
        "argument 'where'": (given, {"where": np.array([True, False])}),
        "missing a required argument": (given[1:], {}),
        "nothing: missing a required": ([], {}),
    }
    with mg.enable_grad() if records else no_grad():
        p(*given)
        for words, (args, options) in calls.items():
            with pytest.raises(GraphError, match=f"^{p.shown} of .*{words}.*it is {p.shown}\\("):
                p(*args, **options)
    np.testing.assert_array_equal(out, [5.0, 6.0])
    np.testing.assert_array_equal(kept, [5.0, 6.0])


def test_no_public_primitive_writes_to_an_argument_beyond_its_own() -> None:
    one, beyond = tensor(2, 2), tensor(2, 2, seed=1)
    before = beyond.numpy().copy()
    tried = 0
    for name in mg.ops.__all__:
        p = getattr(mg, name)
        if isinstance(p, Primitive):
            parameters = inspect.signature(p).parameters.values()
            most = [k for k in parameters if k.kind is not k.KEYWORD_ONLY]
            with no_grad(), pytest.raises(GraphError, match=f"^{name} of "):
                p(*[one] * len(most), beyond)
            tried += 1
    assert tried > 15
    np.testing.assert_array_equal(beyond.numpy(), before)


@pytest.mark.usefixtures("primitives")
def test_a_new_primitive() -> None:
    cube = mg.primitive(lambda x: x**3, "cube").gradients(lambda g, y, x: 3 * g * x * x)
    x = Tensor(2.0)
    y = cube(x)
    g = grad(y, x, create_graph=True)
    assert (y.item(), g.item(), grad(g, x).item()) == (8, 12, 12)
    assert "from cube" in repr(y)


@pytest.mark.usefixtures("primitives")
def test_a_primitive_may_be_defined_again() -> None:
    """As a notebook does when a cell is run again; what was built with the old one keeps it."""
    x = Tensor(2.0)
    old = mg.primitive(lambda x: 2 * x, "thrice").gradients(lambda g, y, x: 2 * g)(x)
    new = mg.primitive(lambda x: 3 * x, "thrice").gradients(lambda g, y, x: 3 * g)(x)
    assert (grad(old, x).item(), grad(new, x).item()) == (2, 3)
    assert PRIMITIVES["thrice"].kernel(1) == 3


def test_no_two_primitives_of_the_package_share_a_name() -> None:
    modules = [m for name, m in sys.modules.items() if name.startswith("minigan.")]
    ours = {id(v): v for m in modules for v in vars(m).values() if isinstance(v, Primitive)}
    names = [p.name for p in ours.values()]
    assert len(names) > 50
    assert sorted(names) == sorted(set(names))


@pytest.mark.usefixtures("primitives")
def test_a_primitive_without_a_rule_is_named() -> None:
    scale = mg.primitive(lambda x, k: x * k, "scale_by").gradients(lambda g, y, x, k: g * k)
    x, k = tensor(3), Tensor(2.0)
    np.testing.assert_array_equal(grad(scale(x, k).sum(), x).data, [2, 2, 2])
    with pytest.raises(
        GraphError, match=r"scale_by has no gradient rule for argument 1; .*scale_by"
    ):
        grad(scale(x, k).sum(), k)


@pytest.mark.usefixtures("primitives")
def test_a_new_fused_operation() -> None:
    @mg.fused(lambda x, *, k: (k * x, (k,)), lambda g, y, residuals, x, *, k: (residuals[0] * g,))
    def scale(x: Tensor, *, k: float = 2.0) -> Tensor:
        """k x."""
        return x * k

    x = tensor(3)
    np.testing.assert_array_equal(scale(x).data, 2 * x.data)
    for record in (True, False):
        np.testing.assert_array_equal(
            grad(scale(x, k=3.0).sum(), x, create_graph=record).data, [3, 3, 3]
        )
    assert scale.__doc__ == "k x."


def test_repr() -> None:
    x = Tensor([1.0, 2.0])
    assert repr(x) == "Tensor([1., 2.], float32)"
    assert repr(x * 2) == "Tensor([2., 4.], float32, from multiply)"
    assert repr(Tensor(3)) == "Tensor(3, int64)"
    assert len(repr(Tensor(np.zeros((1000, 1000))))) < 1000
