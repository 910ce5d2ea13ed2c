"""Convolution, transposed convolution, pooling and up-sampling of images (N, C, H, W).

`conv2d`, `conv2d_dx` and `conv2d_dw` are linear in both arguments and each other's gradients. They
are a closed family, so one line for each argument gives derivatives of every order.
"""

from __future__ import annotations

import minigan_kernels as kernels
from minigan_kernels.checks import Pair, pair
from minigan_kernels.epilogue import LINEAR, Epilogue

from ..arrays import floats
from ..hints import also
from ..tensor import Tensor, primitive, tensors
from .fused_bias import ConvBiasActivation
from .shape import pad

conv2d_p = primitive(kernels.conv2d, check=floats)
conv2d_dx = primitive(kernels.conv2d_dx, check=floats)
conv2d_dw = primitive(kernels.conv2d_dw, check=floats)

conv2d_p.gradients(
    lambda g, y, x, w, **k: conv2d_dx(g, w, shape=x.shape, **k),
    lambda g, y, x, w, **k: conv2d_dw(x, g, shape=w.shape, **k),
)
conv2d_dx.gradients(
    lambda g, y, dy, w, shape, **k: conv2d_p(g, w, **k),
    lambda g, y, dy, w, shape, **k: conv2d_dw(g, dy, shape=w.shape, **k),
)
conv2d_dw.gradients(
    lambda g, y, x, dy, shape, **k: conv2d_dx(dy, g, shape=x.shape, **k),
    lambda g, y, x, dy, shape, **k: conv2d_p(x, g, **k),
)

conv2d_activated = ConvBiasActivation(kernels.conv2d_activated, conv2d_p)
conv2d_dx_activated = ConvBiasActivation(kernels.conv2d_dx_activated, conv2d_dx)
conv2d_activated.shown = "conv2d"
conv2d_dx_activated.shown = "conv_transpose2d"

gather_plane = primitive(kernels.gather_plane)
scatter_plane = primitive(kernels.scatter_plane)
gather_plane.shown = "max_pool2d"
gather_plane.gradients(lambda g, y, x, index: scatter_plane(g, index=index, shape=x.shape))
scatter_plane.gradients(lambda g, y, dy, index, shape: gather_plane(g, index=index))

avg_pool2d_p = primitive(kernels.avg_pool2d, check=floats)
avg_pool2d_dx = primitive(kernels.avg_pool2d_dx)
avg_pool2d_p.gradients(lambda g, y, x, **k: avg_pool2d_dx(g, shape=x.shape, **k))
avg_pool2d_dx.gradients(lambda g, y, dy, shape, **k: avg_pool2d_p(g, **k))

upsample_nearest_p = primitive(kernels.upsample_nearest)
upsample_nearest_dx = primitive(kernels.upsample_nearest_dx)
upsample_nearest_p.gradients(lambda g, y, x, **k: upsample_nearest_dx(g, **k))
upsample_nearest_dx.gradients(lambda g, y, dy, **k: upsample_nearest_p(g, **k))


def conv2d(
    x: Tensor,
    w: Tensor,
    bias: Tensor | None = None,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
    *,
    epilogue: Epilogue = LINEAR,
) -> Tensor:
    """Convolution (strictly: cross-correlation) of images with a bank of filters.

    x is (N, C, H, W), w (O, C/groups, kH, kW), bias (O,); the result is (N, O, H', W') with
    H' = (H + 2 padding - dilation (kH - 1) - 1) // stride + 1 (Dumoulin & Visin 2016). With a bias
    the activation of `epilogue` is applied, in the same pass where the kernel can.

    Raises:
        ValueError: if the shapes do not fit one another, or an activation has no bias.

    >>> x, w = mg.Tensor(rng.normal((1, 3, 8, 8))), mg.Tensor(rng.normal((4, 3, 4, 4)))
    >>> mg.conv2d(x, w, stride=2, padding=1).shape
    (1, 4, 4, 4)
    """
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    if bias is None:
        _check_no_activation(epilogue)
        return conv2d_p(x, w, **options)
    return conv2d_activated(x, w, bias, epilogue=epilogue, **options)


def conv_transpose2d(
    x: Tensor,
    w: Tensor,
    bias: Tensor | None = None,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    output_padding: int | Pair = 0,
    *,
    dilation: int | Pair = 1,
    groups: int = 1,
    epilogue: Epilogue = LINEAR,
) -> Tensor:
    """Transposed convolution: the adjoint of `conv2d` with the same w, stride and padding.

    x is (N, C, H, W), w (C, O/groups, kH, kW), bias (O,); the result is (N, O, H', W') with H' = (H
    - 1) stride - 2 padding + dilation (kH - 1) + 1 + output_padding. Images of several sizes have
    the same size after a convolution; `output_padding`, below stride or dilation, chooses one.
    With a bias the activation of `epilogue` is applied, in the same pass where the kernel can.

    Raises:
        ValueError: if the shapes do not fit one another, or an activation has no bias.

    >>> x, w = mg.Tensor(rng.normal((1, 3, 4, 4))), mg.Tensor(rng.normal((3, 4, 4, 4)))
    >>> mg.conv_transpose2d(x, w, stride=2, padding=1).shape
    (1, 4, 8, 8)
    """
    if len(x.shape) != 4 or len(w.shape) != 4:
        raise ValueError(
            f"conv_transpose2d wants x and w of four axes, not {x.shape} and {w.shape}"
        )
    if x.shape[1] != w.shape[0]:
        raise ValueError(
            f"conv_transpose2d: an image of {x.shape[1]} channels, x {x.shape}, needs a weight of "
            f"as many input channels, but w is {w.shape}"
        )
    steps, gaps = pair(stride, "stride", least=1), pair(dilation, "dilation", least=1)
    edges, extra = (
        pair(padding, "padding", least=0),
        pair(output_padding, "output_padding", least=0),
    )
    if any(e and e >= max(s, d) for e, s, d in zip(extra, steps, gaps, strict=True)):
        raise ValueError(
            f"output_padding {extra} must be below the stride {steps} or dilation {gaps}"
        )
    height, width = (
        (n - 1) * s - 2 * p + d * (k - 1) + 1 + e
        for n, k, s, p, d, e in zip(
            x.shape[2:], w.shape[2:], steps, edges, gaps, extra, strict=True
        )
    )
    if height < 1 or width < 1:
        raise ValueError(
            f"x {x.shape} and w {w.shape} with stride {steps}, padding {edges}, output_padding "
            f"{extra} and dilation {gaps} would give images of {height}x{width}, without a pixel; "
            "lower the padding"
        )
    beyond = [e // s for e, s in zip(extra, steps, strict=True)]
    if any(beyond):  # rows of zeros: the convolution reaches one more for every stride
        x = pad(x, ((0, 0), (0, 0), (0, beyond[0]), (0, beyond[1])))
    options = {
        "shape": (x.shape[0], w.shape[1] * groups, height, width),
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "groups": groups,
    }
    if bias is None:
        _check_no_activation(epilogue)
        return conv2d_dx(x, w, **options)
    return conv2d_dx_activated(x, w, bias, epilogue=epilogue, **options)


def _check_no_activation(epilogue: Epilogue) -> None:
    if epilogue != LINEAR:
        raise ValueError("the activation of an epilogue needs a bias before it, but there is none")


@also(kernel_size="kernel")
def max_pool2d(
    x: Tensor, kernel: int | Pair, stride: int | Pair | None = None, padding: int | Pair = 0
) -> Tensor:
    """Maximum of each window of x (N, C, H, W); `stride` is the kernel's size by default.

    The gradient goes to the first maximum of each window.

    >>> mg.max_pool2d(mg.Tensor([[[[1.0, 2.0], [3.0, 4.0]]]]), 2).item()
    4.0
    """
    (x,) = tensors(x)
    size = pair(kernel, "kernel", least=1)
    x = x if isinstance(x, Tensor) else Tensor(x)
    index = kernels.max_pool2d_index(
        x.data, kernel=size, stride=size if stride is None else stride, padding=padding
    )
    return gather_plane(x, index=index)


@also(kernel_size="kernel")
def avg_pool2d(
    x: Tensor, kernel: int | Pair, stride: int | Pair | None = None, padding: int | Pair = 0
) -> Tensor:
    """Mean of each window of x (N, C, H, W), padding counted as zeros; `stride` is the kernel's
    size by default.

    >>> mg.avg_pool2d(mg.Tensor([[[[1.0, 2.0], [3.0, 4.0]]]]), 2).item()
    2.5
    """
    size = pair(kernel, "kernel", least=1)
    return avg_pool2d_p(x, kernel=size, stride=size if stride is None else stride, padding=padding)


@also(scale_factor="factor")
def upsample_nearest(x: Tensor, factor: int) -> Tensor:
    """Each pixel of x (N, C, H, W) as a block of factor x factor: (N, C, factor H, factor W).

    >>> mg.upsample_nearest(mg.Tensor([[[[1.0, 2.0]]]]), 2).numpy()[0, 0]
    array([[1., 1., 2., 2.],
           [1., 1., 2., 2.]], dtype=float32)
    """
    return upsample_nearest_p(x, factor=factor)
