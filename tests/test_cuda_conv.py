"""The convolutions for CUDA cards, emulated, against the plain ones in float64."""

from __future__ import annotations

from typing import Any

import pytest
from cuda_tools import needs_gxx
from hypothesis import given, settings
from test_twins import SETTINGS, a_call, check_twins

pytestmark = needs_gxx


@pytest.mark.parametrize("name", ["conv2d", "conv2d_dx", "conv2d_dw", "im2col", "col2im"])
def test_any_convolution_is_right(name: str) -> None:
    @settings(SETTINGS, max_examples=40)
    @given(a_call(name))
    def check(call: Any) -> None:
        check_twins(name, call, "cuda")

    check()
