"""What kernels accept at the edge: nothing at all, NumPy's numbers, tuples, keywords."""

from __future__ import annotations

import minigan_kernels as kernels
import numpy as np
import pytest
from minigan_kernels.checks import Pair, pair

EMPTY = [
    ((0, 3, 4, 4), (5, 3, 1, 1), 1),  # no images
    ((0, 3, 4, 4), (5, 3, 3, 3), 1),
    ((0, 4, 4, 4), (4, 2, 3, 3), 2),
    ((0, 300, 40, 40), (100, 300, 1, 1), 1),
    ((2, 0, 4, 4), (5, 0, 1, 1), 1),  # no channels
    ((2, 0, 4, 4), (5, 0, 3, 3), 1),
    ((2, 0, 4, 4), (5, 0, 4, 4), 1),
    ((2, 0, 4, 4), (4, 0, 3, 3), 2),
    ((2, 3, 4, 4), (0, 3, 1, 1), 1),  # no filters
    ((2, 3, 4, 4), (0, 3, 3, 3), 1),
    ((2, 4, 4, 4), (0, 2, 3, 3), 2),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("backend", ["reference", "cpu", "im2col", "direct", "winograd"])
@pytest.mark.parametrize(("image", "weight", "groups"), EMPTY)
def test_a_convolution_of_nothing_is_zeros(
    image: tuple[int, ...], weight: tuple[int, ...], groups: int, backend: str, dtype: type
) -> None:
    x, w = np.ones(image, dtype), np.ones(weight, dtype)
    size = (image[2] - weight[2] + 1, image[3] - weight[3] + 1)
    g = np.ones((image[0], weight[0], *size), dtype)
    with kernels.use(backend):
        found = {
            g.shape: kernels.conv2d(x, w, groups=groups),
            image: kernels.conv2d_dx(g, w, shape=image, groups=groups),
            weight: kernels.conv2d_dw(x, g, shape=weight, groups=groups),
        }
    for shape, array in found.items():
        assert (array.shape, array.dtype) == (shape, dtype)
        assert not array.any()


@pytest.mark.parametrize("stacked", [(0, 300, 200), (0, 1, 200)])
def test_a_product_of_no_matrices_is_none(stacked: tuple[int, ...]) -> None:
    a = np.ones((100, stacked[1]), np.float32)
    assert kernels.matmul(a, np.ones(stacked, np.float32)).shape == (0, 100, 200)


@pytest.mark.parametrize("value", [np.int64(2), (np.int32(2), 2), [2, np.uint8(2)], np.array(2)])
def test_numpys_whole_numbers_are_whole_numbers(value: int | Pair) -> None:
    found = pair(value, "stride", least=1)
    assert found == (2, 2)
    assert [type(v) for v in found] == [int, int]


@pytest.mark.parametrize("value", [1.5, None, np.float32(2), "2", (1, 2.0), (1, 2, 3), (), 0])
def test_what_is_no_whole_number_is_a_value_error(value: int | Pair) -> None:
    with pytest.raises(ValueError, match="stride must be an integer of at least 1, or a pair"):
        pair(value, "stride", least=1)


def test_parameters_may_be_a_tuple() -> None:
    options = {"lr": 1.0, "momentum": 0.0, "nesterov": False, "weight_decay": 0.0}
    found = []
    for kind in (list, tuple):
        ps, gs, vs = (kind(np.full(3, v) for v in (value, value + 1)) for value in (5.0, 1.0, 0.0))
        kernels.sgd(ps, gs, vs, **options)
        found.append(np.array(ps))
    np.testing.assert_array_equal(*found)
    np.testing.assert_array_equal(found[0], [[4.0] * 3] * 2)


def test_arrays_go_by_their_names_as_well() -> None:
    x, w = np.ones((1, 1, 3, 3), np.float32), np.ones((1, 1, 2, 2), np.float32)
    for found in (kernels.conv2d(x=x, w=w), kernels.conv2d(w=w, x=x), kernels.conv2d(x, w=w)):
        np.testing.assert_array_equal(found, kernels.conv2d(x, w))
    with pytest.raises(TypeError, match=r"conv2d\(\) missing .*'x'"):
        kernels.conv2d(w=w)


@pytest.mark.parametrize(
    "options", [{"algorithm": "direct"}, {"backend": "cpu"}, {}], ids=["algorithm", "backend", "no"]
)
def test_one_name_says_which_kernels(options: dict[str, str]) -> None:
    given = ("cpu",) if options else ()
    with pytest.raises(TypeError, match=r"argument.*; one name .* use\('winograd'\)$"):
        kernels.use(*given, **options)
