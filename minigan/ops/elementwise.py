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

add = primitive(np.add, doc="a + b.")
subtract = primitive(np.subtract, doc="a - b.")
multiply = primitive(np.multiply, doc="a * b.")
divide = primitive(np.divide, "divide", doc="a / b.")
power_p = primitive(np.power)
maximum = primitive(np.maximum, doc="The larger of a and b; equal values share the gradient.")
minimum = primitive(np.minimum, doc="The smaller of a and b; equal values share the gradient.")
log = primitive(np.log, doc="Natural logarithm of x > 0.")
sin = primitive(np.sin, doc="Sine of x in radians.")
cos = primitive(np.cos, doc="Cosine of x in radians.")
negative = primitive(np.negative, doc="-x.")
absolute = primitive(np.absolute, doc="|x|, with gradient 0 at 0.")
exp = primitive(np.exp, doc="e to the power x.")
sqrt = primitive(np.sqrt, doc="Square root of x; the gradient at 0 is infinite.")
square = primitive(np.square, doc="x times x.")
tanh = primitive(np.tanh, doc="Hyperbolic tangent of x, in (-1, 1).")
sigmoid = primitive(
    kernels.sigmoid, doc="1 / (1 + exp(-x)), in (0, 1), without overflow.", check=floats
)
softplus = primitive(kernels.softplus, doc="log(1 + exp(x)), without overflow.", check=floats)
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
    """a to the power b. For a gradient with respect to b, a must be positive."""
    return power_p(a, b)


def where(condition: Array | Tensor, a: Any, b: Any) -> Tensor:
    """a where the condition holds, b elsewhere; no gradient flows to the condition."""
    found = condition.data if isinstance(condition, Tensor) else condition
    return where_p(a, b, condition=found if is_array(found) else np.array(found))


def astype(x: Tensor, dtype: Any) -> Tensor:
    """x in another floating-point dtype, in which its gradient is that of x.

    Raises:
        TypeError: if the dtype is none of floats; there is no gradient with respect to integers.
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
    """
    if min is None and max is None:
        raise ValueError("clip needs a bound, as clip(x, 0, None)")
    if min is not None:
        x = maximum(x, min)
    return x if max is None else minimum(x, max)


def relu(x: Tensor) -> Tensor:
    """max(x, 0), with gradient 0 at 0 (Nair & Hinton 2010). NaN at -infinity, as 0 times it is."""
    return leaky_relu_p(x, slope=0.0)


def leaky_relu(x: Tensor, slope: float = 0.01) -> Tensor:
    """x where x > 0, else slope * x (Maas et al. 2013); 0 <= slope <= 1."""
    return leaky_relu_p(x, slope=float(slope))


def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """x where x > 0, else alpha (exp(x) - 1) (Clevert et al. 2016, arXiv:1511.07289)."""
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
    """leaky_relu(x + bias) in one pass; x is (N, C, ...), bias (C,)."""
    return leaky_relu(x + per_channel(bias, x), slope)


@_bias(kernels.bias_tanh, kernels.bias_tanh_backward)
def bias_tanh(x: Tensor, bias: Tensor) -> Tensor:
    """tanh(x + bias) in one pass; x is (N, C, ...), bias (C,)."""
    return tanh(x + per_channel(bias, x))


@_bias(kernels.bias_sigmoid, kernels.bias_sigmoid_backward)
def bias_sigmoid(x: Tensor, bias: Tensor) -> Tensor:
    """sigmoid(x + bias) in one pass; x is (N, C, ...), bias (C,)."""
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
