"""Functions show their true arguments, and faults name the one that was called."""

from __future__ import annotations

import inspect
import pydoc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from draw import normal, tensor
from sentences import one_sentence

import minigan as mg
from minigan import Tensor, signatures

A = normal(2, 3, seed=3)


def x() -> Tensor:
    return Tensor(A)


# --- Signatures ------------------------------------------------------------------------------

SIGNATURES = {
    "exp": "(x)",
    "add": "(a, b)",
    "sigmoid": "(x)",
    "batch_norm": "(x, gamma, beta, *, eps=1e-05, slope=1.0, moments=None)",
    "batch_norm_inference": "(x, gamma, beta, *, mean, var, eps=1e-05, slope=1.0)",
    "bias_leaky_relu": "(x, bias, *, slope)",
    "softmax_cross_entropy": "(x, labels)",
    "sum": "(x, axis=None, *, keepdims=False)",
    "clip": "(x, min=None, max=None)",
    "grad": "(output, inputs, *, grad_output=None, create_graph=False, allow_unused=False)",
    "Tensor": "(data, dtype=None)",
    "zeros": "(*shape, dtype=<class 'numpy.float32'>)",
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures_are_the_true_ones(name: str) -> None:
    assert signatures.plain(inspect.signature(getattr(mg, name))) == SIGNATURES[name]


def test_every_public_function_shows_its_arguments_and_itself() -> None:
    from minigan.tensor import Primitive

    for name in mg.ops.__all__:
        function = getattr(mg, name)
        parameters = inspect.signature(function).parameters
        assert not {"args", "options"} & parameters.keys() or name == "einsum", name
        assert function.__name__ == name
        if isinstance(function, Primitive):
            assert function.__module__ == "minigan"
            assert repr(function).startswith(f"<minigan.{name}(")


def test_help_shows_the_true_arguments() -> None:
    text = pydoc.render_doc(mg.batch_norm, renderer=pydoc.plaintext)
    assert "batch_norm(x, gamma, beta, *, eps=1e-05, slope=1.0, moments=None)" in text
    assert "Normalise each channel" in text
    assert "axis: 'Axes' = None" in pydoc.render_doc(mg.Tensor.sum, renderer=pydoc.plaintext)


def test_a_primitive_of_ones_own_shows_itself() -> None:
    def cube(x: np.ndarray, *, scale: float = 1.0) -> np.ndarray:
        return scale * x**3

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(mg.ops.PRIMITIVES, "cube", None)
        mine = mg.primitive(cube)
        assert repr(mine) == f"<{__name__}.cube(x, *, scale=1.0)>"
        with pytest.raises(ValueError, match=r"unexpected keyword.*it is cube\(x, \*, scale=1.0\)"):
            mine(x(), factor=2.0)


# --- Faults name public functions ------------------------------------------------------------

PUBLIC: dict[str, Callable[[], Any]] = {
    "conv2d of": lambda: mg.conv2d(mg.ones(2, 1, 8, 8), mg.ones(8, 3, 3, 3), mg.ones(8)),
    "conv_transpose2d": lambda: mg.conv_transpose2d(mg.ones(2, 1, 4, 4), mg.ones(8, 3, 3, 3)),
    "batch_norm of": lambda: mg.batch_norm(tensor(2, 3), 1.0, 2.0, 3.0),
    "batch_norm_inference of": lambda: mg.batch_norm_inference(tensor(2, 3), 1.0, 2.0, 3.0, 4.0),
    "sigmoid of": lambda: mg.sigmoid(tensor(2), tensor(2)),
    "exp of": lambda: mg.exp(tensor(2), tensor(2)),
    "add of": lambda: mg.add(tensor(2)),
    "tanh of": lambda: mg.tanh(tensor(2), dim=1),
}


@pytest.mark.parametrize("name", PUBLIC)
def test_a_fault_names_the_function_that_was_called(name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}") as caught:
        PUBLIC[name]()
    text = one_sentence(caught.value)
    assert "_activated" not in text
    assert "lambda" not in text
    assert "_inference()" not in text


def test_the_line_that_called_is_named_and_not_one_of_ours() -> None:
    """Also through the decorators that take other names of arguments."""
    t = x()
    for result in (mg.clip(t, 0, 1), mg.pad(t, 1), t.sum(dim=1), t.flatten(), t.std(), t.view(-1)):
        assert result.node.site[0].co_filename == __file__


def test_results_are_named_after_the_function_that_was_called() -> None:
    image, w = mg.ones(1, 1, 4, 4), mg.ones(1, 1, 3, 3)
    assert repr(mg.conv2d(image, w, mg.ones(1))).endswith("from conv2d)")
    assert repr(mg.max_pool2d(image, 2)).endswith("from max_pool2d)")


def test_a_check_of_float32_says_what_to_give() -> None:
    with pytest.raises(ValueError, match=r"input 0 is float32.*x\.astype\(numpy\.float64\)"):
        mg.testing.check_gradients(mg.tanh, [A.astype(np.float32)])
    for inputs in (A, [A], Tensor(A), [Tensor(A)]):
        assert mg.testing.check_gradients(mg.tanh, inputs, order=1) < 1e-6
