"""Operations on each value alone, with NumPy's broadcasting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import minigan_kernels as kernels
import numpy as np

from ..arrays import floats
from ..device import is_array, on_host
from ..fused import Fused, fused
from ..hints import also
from ..tensor import Array, Tensor, adopt, primitive, tensors
from ..tensor import astype as astype_p
from .shape import reshape, sum_to

add = primitive(
    np.add,
    doc="""a + b.

    >>> mg.add([1.0, 2.0], 3.0).numpy()
    array([4., 5.], dtype=float32)
    """,
)
subtract = primitive(
    np.subtract,
    doc="""a - b.

    >>> mg.subtract([1.0, 2.0], 3.0).numpy()
    array([-2., -1.], dtype=float32)
    """,
)
multiply = primitive(
    np.multiply,
    doc="""a * b.

    >>> mg.multiply([1.0, 2.0], 3.0).numpy()
    array([3., 6.], dtype=float32)
    """,
)
divide = primitive(
    np.divide,
    "divide",
    doc="""a / b.

    >>> mg.divide([1.0, 2.0], 4.0).numpy()
    array([0.25, 0.5 ], dtype=float32)
    """,
)
power_p = primitive(np.power)
maximum = primitive(
    np.maximum,
    doc="""The larger of a and b; equal values share the gradient.

    >>> mg.maximum([1.0, 5.0], 3.0).numpy()
    array([3., 5.], dtype=float32)
    """,
)
minimum = primitive(
    np.minimum,
    doc="""The smaller of a and b; equal values share the gradient.

    >>> mg.minimum([1.0, 5.0], 3.0).numpy()
    array([1., 3.], dtype=float32)
    """,
)
log = primitive(
    np.log,
    doc="""Natural logarithm of x > 0.

    >>> mg.log([1.0]).numpy()
    array([0.], dtype=float32)
    """,
)
sin = primitive(
    np.sin,
    doc="""Sine of x in radians.

    >>> mg.sin([0.0]).numpy()
    array([0.], dtype=float32)
    """,
)
cos = primitive(
    np.cos,
    doc="""Cosine of x in radians.

    >>> mg.cos([0.0]).numpy()
    array([1.], dtype=float32)
    """,
)
negative = primitive(
    np.negative,
    doc="""-x.

    >>> mg.negative([1.0, -2.0]).numpy()
    array([-1.,  2.], dtype=float32)
    """,
)
absolute = primitive(
    np.absolute,
    doc="""|x|, with gradient 0 at 0.

    >>> mg.absolute([1.0, -2.0]).numpy()
    array([1., 2.], dtype=float32)
    """,
)
exp = primitive(
    np.exp,
    doc="""e to the power x.

    >>> mg.exp([0.0]).numpy()
    array([1.], dtype=float32)
    """,
)
sqrt = primitive(
    np.sqrt,
    doc="""Square root of x; the gradient at 0 is infinite.

    >>> mg.sqrt([4.0, 9.0]).numpy()
    array([2., 3.], dtype=float32)
    """,
)
square = primitive(
    np.square,
    doc="""x times x.

    >>> mg.square([2.0, 3.0]).numpy()
    array([4., 9.], dtype=float32)
    """,
)
tanh = primitive(
    np.tanh,
    doc="""Hyperbolic tangent of x, in (-1, 1).

    >>> mg.tanh([0.0]).numpy()
    array([0.], dtype=float32)
    """,
)
sigmoid = primitive(
    kernels.sigmoid,
    doc="""1 / (1 + exp(-x)), in (0, 1), without overflow.

    >>> mg.sigmoid([0.0]).numpy()
    array([0.5], dtype=float32)
    """,
    check=floats,
)
softplus = primitive(
    kernels.softplus,
    doc="""log(1 + exp(x)), without overflow.

    >>> mg.softplus([-200.0, 200.0]).numpy()
    array([  0., 200.], dtype=float32)
    """,
    check=floats,
)
where_p = primitive(lambda a, b, *, condition: np.where(condition, a, b), "where")

add.gradients(
    lambda g, y, a, b: sum_to(g, a.shape),
    lambda g, y, a, b: sum_to(g, b.shape),
)
subtract.gradients(
    lambda g, y, a, b: sum_to(g, a.shape),
    lambda g, y, a, b: sum_to(-g, b.shape),
)
multiply.gradients(
    lambda g, y, a, b: sum_to(g * b, a.shape),
    lambda g, y, a, b: sum_to(g * a, b.shape),
)
divide.gradients(
    lambda g, y, a, b: sum_to(g / b, a.shape),
    lambda g, y, a, b: sum_to(-g * y / b, b.shape),
)
power_p.gradients(
    lambda g, y, a, b: sum_to(g * b * a ** _one_less(a, b), a.shape),
    lambda g, y, a, b: sum_to(g * y * log(a), b.shape),
)
maximum.gradients(
    lambda g, y, a, b: sum_to(g * _share(a.data > b.data, a.data == b.data, g), a.shape),
    lambda g, y, a, b: sum_to(g * _share(b.data > a.data, a.data == b.data, g), b.shape),
)
minimum.gradients(
    lambda g, y, a, b: sum_to(g * _share(a.data < b.data, a.data == b.data, g), a.shape),
    lambda g, y, a, b: sum_to(g * _share(b.data < a.data, a.data == b.data, g), b.shape),
)
where_p.gradients(
    lambda g, y, a, b, condition: sum_to(where(condition, g, 0.0), a.shape),
    lambda g, y, a, b, condition: sum_to(where(condition, 0.0, g), b.shape),
)

negative.gradients(lambda g, y, x: -g)
absolute.gradients(lambda g, y, x: g * adopt(np.sign(x.data)))
exp.gradients(lambda g, y, x: g * y)
log.gradients(lambda g, y, x: g / x)
sqrt.gradients(lambda g, y, x: g / (2 * y))
square.gradients(lambda g, y, x: 2 * g * x)
sin.gradients(lambda g, y, x: g * cos(x))
cos.gradients(lambda g, y, x: -g * sin(x))
tanh.gradients(lambda g, y, x: g * (1 - y * y))
sigmoid.gradients(lambda g, y, x: g * y * (1 - y))
softplus.gradients(lambda g, y, x: g * sigmoid(x))

leaky_relu_p = primitive(kernels.leaky_relu, check=floats)
leaky_relu_dx = primitive(kernels.leaky_relu_dx, check=floats)
leaky_relu_p.gradients(lambda g, y, x, **k: leaky_relu_dx(g, x, **k))
leaky_relu_dx.gradients(lambda g, y, dy, x, **k: leaky_relu_dx(g, x, **k), None)


def _elu(x: np.ndarray, *, alpha: float) -> np.ndarray:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


elu_p = primitive(_elu, "elu", check=floats)
elu_p.gradients(lambda g, y, x, alpha: g * where(x.data > 0, 1.0, y + alpha))


def power(a: Any, b: Any) -> Tensor:
    """a to the power b. For a gradient with respect to b, a must be positive.

    >>> mg.power([2.0, 3.0], 2).numpy()
    array([4., 9.], dtype=float32)
    """
    return power_p(a, b)


def where(condition: Array | Tensor, a: Any, b: Any) -> Tensor:
    """a where the condition holds, b elsewhere; no gradient flows to the condition.

    >>> mg.where(np.array([True, False]), [1.0, 2.0], 0.0).numpy()
    array([1., 0.], dtype=float32)
    """
    found = condition.data if isinstance(condition, Tensor) else condition
    return where_p(a, b, condition=found if is_array(found) else np.array(found))


def astype(x: Tensor, dtype: Any) -> Tensor:
    """x in another floating-point dtype, in which its gradient is that of x.

    Raises:
        TypeError: if the dtype is none of floats; there is no gradient with respect to integers.

    >>> mg.astype(mg.Tensor([1.0]), np.float64).dtype
    dtype('float64')
    """
    dtype = np.dtype(dtype).newbyteorder("=")
    if dtype.kind != "f":
        raise TypeError(f"a tensor becomes floats, not {dtype}; say x.numpy().astype({dtype})")
    return x if x.dtype == dtype else astype_p(x, dtype=dtype)


def real(x: Any) -> Tensor:
    """x as floats, float32 in place of integers: unsigned ones would wrap where x is subtracted."""
    (x,) = tensors(x)
    (array,) = floats([x.data])
    return x if array is x.data else adopt(array)


@also(low="min", high="max", a_min="min", a_max="max")
def clip(x: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """x limited to [min, max], each a number, an array, or None for no bound on that side; the
    gradient is zero outside, and 1/2 at a bound.

    Raises:
        ValueError: if there is no bound.

    >>> mg.clip(mg.Tensor([-3.0, 0.5, 3.0]), -1, 1).numpy()
    array([-1. ,  0.5,  1. ], dtype=float32)
    """
    if min is None and max is None:
        raise ValueError("clip needs a bound, as clip(x, 0, None)")
    if min is not None:
        x = maximum(x, min)
    return x if max is None else minimum(x, max)


def relu(x: Tensor) -> Tensor:
    """max(x, 0), with gradient 0 at 0 (Nair & Hinton 2010). NaN at -infinity, as 0 times it is.

    >>> mg.relu(mg.Tensor([1.0, 2.0])).numpy()
    array([1., 2.], dtype=float32)
    """
    return leaky_relu_p(x, slope=0.0)


def leaky_relu(x: Tensor, slope: float = 0.01) -> Tensor:
    """x where x > 0, else slope * x (Maas et al. 2013); 0 <= slope <= 1.

    >>> mg.leaky_relu(mg.Tensor([-2.0, 2.0]), 0.5).numpy()
    array([-1.,  2.], dtype=float32)
    """
    return leaky_relu_p(x, slope=float(slope))


def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """x where x > 0, else alpha (exp(x) - 1) (Clevert et al. 2016, arXiv:1511.07289).

    >>> mg.elu(mg.Tensor([-200.0, 2.0])).numpy()
    array([-1.,  2.], dtype=float32)
    """
    return elu_p(x, alpha=float(alpha))


def _bias(
    kernel: Callable[..., Array], backward_kernel: Callable[..., tuple[Array, Array]]
) -> Callable[[Callable[..., Tensor]], Fused]:
    """Fused bias and activation: the backward pass needs only the output."""
    return fused(
        lambda x, bias, **k: (kernel(x, bias, **k), ()),
        lambda g, y, residuals, x, bias, **k: backward_kernel(g, y, **k),
        check=floats,
    )


@_bias(kernels.bias_leaky_relu, kernels.bias_leaky_relu_backward)
def bias_leaky_relu(x: Tensor, bias: Tensor, *, slope: float) -> Tensor:
    """leaky_relu(x + bias) in one pass; x is (N, C, ...), bias (C,).

    >>> x, bias = mg.Tensor([[-3.0, 1.0]]), mg.Tensor([1.0, 1.0])
    >>> mg.bias_leaky_relu(x, bias, slope=0.5).numpy()
    array([[-1.,  2.]], dtype=float32)
    """
    return leaky_relu(x + per_channel(bias, x), slope)


@_bias(kernels.bias_tanh, kernels.bias_tanh_backward)
def bias_tanh(x: Tensor, bias: Tensor) -> Tensor:
    """tanh(x + bias) in one pass; x is (N, C, ...), bias (C,).

    >>> mg.bias_tanh(mg.Tensor([[-1.0]]), mg.Tensor([1.0])).numpy()
    array([[0.]], dtype=float32)
    """
    return tanh(x + per_channel(bias, x))


@_bias(kernels.bias_sigmoid, kernels.bias_sigmoid_backward)
def bias_sigmoid(x: Tensor, bias: Tensor) -> Tensor:
    """sigmoid(x + bias) in one pass; x is (N, C, ...), bias (C,).

    >>> mg.bias_sigmoid(mg.Tensor([[-1.0]]), mg.Tensor([1.0])).numpy()
    array([[0.5]], dtype=float32)
    """
    return sigmoid(x + per_channel(bias, x))


def per_channel(vector: Tensor, x: Tensor) -> Tensor:
    """A vector (C,) shaped to broadcast against x (N, C, ...)."""
    if x.ndim < 2:
        raise ValueError(f"a bias of each channel needs x (N, C, ...), but x is {x.shape}")
    return reshape(vector, (1, -1, *(1,) * (x.ndim - 2)))


def _one_less(a: Tensor, b: Tensor) -> Tensor:
    """b - 1, but 1 where a and b are both 0: b a^(b - 1) would be 0 times infinity there.

    Not wherever b is 0, because the derivative of b a^(b - 1) with respect to b is 1 / a there.
    """
    if on_host(b.data) and b.data.all():  # the usual case; on a GPU reading b would wait
        return b - 1
    return where((a.data == 0) & (b.data == 0), 1.0, b - 1)


def _share(wins: Array, ties: Array, g: Tensor) -> Tensor:
    """1 where an argument wins, 1/2 where both tie, in g's dtype."""
    return adopt((wins + 0.5 * ties).astype(g.dtype))
