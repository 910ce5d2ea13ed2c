"""Layers that PyTorch's users expect: what each computes, and what is said of those not there."""

from __future__ import annotations

import re

import numpy as np
import pytest
from draw import normal

import minigan as mg
from minigan import Generator, nn
from minigan.nn.hints import FUNCTIONS, HINTS
from minigan.tensor import Tensor, grad


def rng() -> Generator:
    return Generator(0, "layers")


# --- By their formulas -----------------------------------------------------------------------


def test_group_norm_by_its_formula() -> None:
    layer = nn.GroupNorm(3, 6, eps=1e-3).astype(np.float64)
    gamma, beta = normal(6, seed=1), normal(6, seed=2)
    layer.load_state({"gamma": gamma, "beta": beta})
    x = normal(2, 6, 4, 5) + 3
    grouped = x.reshape(2, 3, -1)
    centred = grouped - grouped.mean(2, keepdims=True)
    expected = (centred / np.sqrt(grouped.var(2, keepdims=True) + 1e-3)).reshape(x.shape)
    expected = expected * gamma[:, None, None] + beta[:, None, None]
    np.testing.assert_allclose(layer(Tensor(x)).data, expected, rtol=1e-9, atol=1e-10)
    np.testing.assert_array_equal(layer.eval()(Tensor(x)).data, layer.train()(Tensor(x)).data)


def test_group_norm_between_instance_norm_and_layer_norm() -> None:
    x, gamma, beta = (Tensor(a) for a in (normal(2, 4, 3, 5), normal(4, seed=1), normal(4, seed=2)))
    of_channels = mg.group_norm(x, gamma, beta, groups=4)
    np.testing.assert_allclose(of_channels.data, mg.instance_norm(x, gamma, beta).data, rtol=1e-9)
    ones, zeros = Tensor(np.ones((4, 3, 5))), Tensor(np.zeros((4, 3, 5)))
    whole = mg.group_norm(x, Tensor(np.ones(4)), Tensor(np.zeros(4)), groups=1)
    np.testing.assert_allclose(whole.data, mg.layer_norm(x, ones, zeros).data, rtol=1e-9)


def test_group_norm_without_parameters() -> None:
    layer = nn.GroupNorm(2, 4, affine=False)
    assert not layer.parameters()
    x = Tensor(normal(3, 4, 5, dtype=np.float32))
    np.testing.assert_array_equal(layer(x).data, nn.GroupNorm(2, 4)(x).data)


@pytest.mark.parametrize("groups", [0, 3, 2.0])
def test_groups_that_do_not_split_the_channels(groups: float) -> None:
    x, one = Tensor(normal(2, 4)), Tensor(np.ones(4))
    with pytest.raises(ValueError, match=f"4 channels do not split into {groups} groups"):
        mg.group_norm(x, one, one, groups=groups)


def test_pixel_shuffle_by_its_formula() -> None:
    r, x = 3, normal(2, 18, 4, 5)
    y = mg.pixel_shuffle(Tensor(x), r).data
    assert y.shape == (2, 2, 12, 15)
    for c in range(2):
        for a in range(r):
            for b in range(r):
                np.testing.assert_array_equal(y[:, c, a::r, b::r], x[:, c * r * r + a * r + b])


def test_gelu_and_its_approximation() -> None:
    x = np.linspace(-6, 6, 1001)
    exact, near = (mg.gelu(Tensor(x), how).data for how in ("none", "tanh"))
    np.testing.assert_allclose(exact[[0, 500, 1000]], [-5.92e-9, 0, 6], rtol=1e-2)
    error = np.abs(near - exact).max()
    assert 1e-4 < error < 5e-4
    with pytest.raises(ValueError, match="not 'erf'"):
        mg.gelu(Tensor(x), "erf")
    assert repr(mg.gelu(Tensor([0.0]))) == "Tensor([0.], float32, from gelu)"


def test_a_prelu_at_zero_and_beyond() -> None:
    x, weight = Tensor([[-2.0, 0.0], [3.0, np.inf]]), Tensor([0.5, 0.25])
    y = mg.prelu(x, weight)
    np.testing.assert_array_equal(y.data, [[-1, 0], [3, np.inf]])
    dx = grad(y.sum(), x)
    np.testing.assert_array_equal(dx.data, [[0.5, 0.25], [1, 1]])  # at 0 it is the weight's side


def test_a_prelu_as_the_activation_of_a_layer_is_learned_with_it() -> None:
    layer = nn.Conv2d(2, 4, 3, rng=rng(), activation=nn.PReLU(4))
    assert list(layer.parameters()) == ["weight", "bias", "activation.weight"]
    x = Tensor(normal(1, 2, 5, 5, dtype=np.float32))
    found = grad(layer(x).sum(), layer.parameters())
    assert found["activation.weight"].shape == (4,)
    rows = nn.summary(layer, x)
    assert sum(row.parameters for row in rows) == 4 * 18 + 4 + 4


def test_conv1d_is_a_convolution_of_images_of_height_1() -> None:
    x, w, b = (Tensor(a) for a in (normal(2, 4, 9), normal(6, 2, 3), normal(6)))
    options = {"stride": 2, "padding": 1, "dilation": 2, "groups": 2}
    y = mg.conv1d(x, w, b, **options)
    wide = {
        "stride": (1, 2), "padding": (0, 1), "dilation": (1, 2), "groups": 2,
    }  # fmt: skip
    image = mg.conv2d(mg.expand_dims(x, 2), mg.expand_dims(w, 2), b, **wide)
    np.testing.assert_array_equal(y.data, image.data[:, :, 0])
    np.testing.assert_array_equal(mg.conv1d(x, w, b, 2, 1, 2, 2).data, y.data)


def test_conv1d_of_the_same_length() -> None:
    x = Tensor(normal(2, 4, 9, dtype=np.float32))
    for kernel, dilation in ((3, 1), (4, 1), (4, 3), (1, 1)):
        layer = nn.Conv1d(4, 2, kernel, 1, "same", dilation, rng=rng())
        assert layer(x).shape == (2, 2, 9)
    assert nn.Conv1d(4, 2, 3, padding="valid", rng=rng())(x).shape == (2, 2, 7)


def test_a_sequence_is_not_copied_to_become_an_image() -> None:
    x = Tensor(normal(2, 4, 9))
    assert np.shares_memory(mg.expand_dims(x, 2).data, x.data)
    layer = nn.Conv1d(4, 6, 3, rng=rng())
    assert layer.weight.data.transpose(2, 1, 0).flags.c_contiguous  # as the kernels read it
    assert np.shares_memory(mg.expand_dims(layer.weight, 2).data, layer.weight.data)
    assert nn.summary(layer, x.astype(np.float32))[0].multiply_adds == 2 * 6 * 7 * 4 * 3


@pytest.mark.parametrize("name", ["conv1d", "max_pool1d", "avg_pool1d"])
def test_a_sequence_has_three_axes(name: str) -> None:
    x, w = Tensor(normal(2, 4, 3, 3)), Tensor(normal(6, 4, 3))
    with pytest.raises(ValueError, match=rf"{name} takes sequences \(N, C, L\), but x has shape"):
        getattr(mg, name)(x, w if name == "conv1d" else 2)
    with pytest.raises(ValueError, match=r"weight of conv1d must be \(O, C/groups, k\)"):
        mg.conv1d(Tensor(normal(2, 4, 9)), x)


def test_poolings_of_sequences() -> None:
    x = Tensor(np.array([[[1.0, 5.0, 2.0, 4.0, -3.0]]]))
    np.testing.assert_array_equal(nn.MaxPool1d(2)(x).data, [[[5, 4]]])
    np.testing.assert_array_equal(mg.max_pool1d(x, kernel_size=2).data, [[[5, 4]]])
    np.testing.assert_array_equal(nn.MaxPool1d(3, 1, 1)(x).data, [[[5, 5, 5, 4, 4]]])
    np.testing.assert_array_equal(nn.AvgPool1d(2, 3, 1)(x).data, [[[0.5, 3]]])


def test_arguments_of_poolings_that_have_their_defaults() -> None:
    x = Tensor(normal(1, 2, 6, 6))
    plain = nn.MaxPool2d(3, 2, 1)(x).data
    same = nn.MaxPool2d(3, 2, 1, dilation=1, return_indices=False, ceil_mode=False)(x).data
    np.testing.assert_array_equal(plain, same)
    nn.AvgPool2d(3, 2, 1, ceil_mode=False, count_include_pad=True, divisor_override=None)
    ones = Tensor(np.ones((1, 2, 6, 6)))  # as the refusal of count_include_pad=False says
    inside = nn.AvgPool2d(3, 3, 1)(x).data / nn.AvgPool2d(3, 3, 1)(ones).data
    np.testing.assert_allclose(inside[:, :, 0, 0], x.data[:, :, :2, :2].mean((2, 3)))


def test_upsampling_by_all_its_names() -> None:
    x = Tensor(normal(1, 2, 3, 3))
    expected = x.data.repeat(2, 2).repeat(2, 3)
    for y in (
        nn.Upsample(scale_factor=2)(x), nn.Upsample(None, 2.0, "nearest")(x),
        nn.UpsampleNearest(2)(x), mg.upsample(x, 2), mg.upsample(x, (2, 2)),
    ):  # fmt: skip
        np.testing.assert_array_equal(y.data, expected)
    with pytest.raises(ValueError, match="follow it with a convolution"):
        mg.upsample(x, 2, "bilinear")


def test_identity_and_unflatten() -> None:
    x = Tensor(normal(5, 12))
    assert nn.Identity("any", arguments=1)(x) is x
    assert nn.Unflatten(1, (3, 2, 2))(x).shape == (5, 3, 2, 2)
    assert nn.Unflatten(-1, [4, -1])(x).shape == (5, 4, 3)
    assert nn.Unflatten(0, (5, 1))(x).shape == (5, 1, 12)


# --- Parts by number and by name -------------------------------------------------------------


class Owner(nn.Module):
    def __init__(self, parts: object) -> None:
        self.parts = parts


def test_a_module_list_is_a_list_of_parts() -> None:
    parts = [nn.Linear(2, 2, rng=rng()) for _ in range(3)]
    blocks = nn.ModuleList(parts)
    assert (len(blocks), list(blocks), blocks[-1]) == (3, parts, parts[2])
    assert list(Owner(blocks).state()) == list(Owner(parts).state())  # as of a plain list
    assert list(blocks.parameters()) == [f"{i}.{n}" for i in range(3) for n in ("weight", "bias")]
    part = blocks.eval()[1:]
    assert isinstance(part, nn.ModuleList)
    assert (list(part), part.training) == (parts[1:], False)
    assert not any(p.training for p in parts)
    with pytest.raises(IndexError):
        blocks[3]
    with pytest.raises(TypeError, match="is no layer: call its parts, or make a Sequential"):
        blocks(np.zeros((1, 2)))


def test_a_module_list_grows_and_shrinks() -> None:
    a, b, c, d = (nn.Tanh(), nn.ReLU(), nn.GELU(), nn.SiLU())
    blocks = nn.ModuleList([a])
    assert blocks.append(c).extend(nn.ModuleList([d])) is blocks
    blocks.train()  # sets an attribute of its own, which is no part
    blocks.insert(1, b)
    assert list(blocks) == [a, b, c, d]
    assert list(blocks.modules()) == ["", "0", "1", "2", "3"]
    blocks[-1] = a
    del blocks[1]
    assert list(blocks) == [a, c, a]
    del blocks[1:]
    assert list(blocks) == [a]
    blocks.extend(blocks)
    assert list(blocks) == [a, a]
    with pytest.raises(TypeError, match="are modules, not 3"):
        blocks.insert(0, 3)
    assert list(blocks) == [a, a]


def test_a_module_dict_has_parts_by_name() -> None:
    parts = {"first": nn.Linear(2, 2, rng=rng()), "second": nn.Tanh()}
    heads = nn.ModuleDict(parts)
    assert (list(heads), len(heads), "first" in heads, "third" in heads) == (
        ["first", "second"], 2, True, False,
    )  # fmt: skip
    assert list(heads.values()) == list(parts.values())
    assert dict(heads.items()) == parts
    assert list(heads.keys()) == list(parts)
    assert list(Owner(heads).state()) == list(Owner(parts).state())
    heads["first"] = nn.ReLU()  # in its place
    heads.update([("third", nn.SiLU())])
    del heads["second"]
    assert [type(m).__name__ for m in heads.values()] == ["ReLU", "SiLU"]
    for missing in ("second", "training", "forward"):
        with pytest.raises(KeyError):
            heads[missing]
        with pytest.raises(KeyError):
            del heads[missing]
    with pytest.raises(TypeError, match="is no layer"):
        heads(np.zeros((1, 2)))


def test_a_copy_and_a_description_of_parts() -> None:
    net = Owner(nn.ModuleList([nn.Linear(2, 3, rng=rng()), nn.PReLU()]))
    owner, parts, first, second, *ends = map(str.strip, repr(net).splitlines())
    assert (owner, parts, ends) == ("Owner(", "parts: ModuleList(", [")", ")"])
    assert first.startswith("0: Linear(")
    assert second == "1: PReLU(weight=(1,))"
    assert re.fullmatch(
        r"ModuleDict\(\s*a(=|: )Tanh\(\)\s*\)", repr(nn.ModuleDict({"a": nn.Tanh()}))
    )
    copy = net.copy()
    assert list(copy.state()) == list(net.state())
    assert copy.parameters()["parts.0.weight"] is not net.parameters()["parts.0.weight"]


# --- Names -----------------------------------------------------------------------------------


def test_only_public_names_are_completed() -> None:
    assert dir(nn) == sorted(nn.__all__)
    assert not any(name.startswith("_") for name in dir(nn))


def check_names(message: str) -> None:
    """Check that what the sentence of a message names is there."""
    for module, what in re.findall(r"\b(minigan|nn)\.(\w+)", message.partition(": ")[2]):
        assert hasattr(mg if module == "minigan" else nn, what), what


@pytest.mark.parametrize("name", HINTS)
def test_a_layer_that_there_is_not_is_answered_in_a_sentence(name: str) -> None:
    assert not hasattr(nn, name)
    with pytest.raises(AttributeError, match=f"^minigan.nn has no {name}: ") as caught:
        getattr(nn, name)
    check_names(str(caught.value))


def test_any_other_name_is_missing_as_in_any_module() -> None:
    with pytest.raises(AttributeError, match=r"module 'minigan\.nn' has no attribute 'Convolve'"):
        nn.Convolve  # noqa: B018


def test_what_hints_say_is_right() -> None:
    x, p = normal(2, 3, 4, 5), 2
    t = Tensor(x)
    parts = [t[..., p:0:-1], t, t[..., -2 : -2 - p : -1]]
    padded = np.pad(x, ((0, 0), (0, 0), (0, 0), (p, p)), mode="reflect")
    np.testing.assert_array_equal(mg.concatenate(parts, axis=-1).data, padded)
    r, shape = 2, (2, 3, 8, 10)
    shuffled = Tensor(normal(*shape))
    apart = mg.transpose(mg.reshape(shuffled, (2, 3, 4, r, 5, r)), (0, 1, 3, 5, 2, 4))
    back = mg.pixel_shuffle(mg.reshape(apart, (2, 3 * r * r, 4, 5)), r)
    np.testing.assert_array_equal(back.data, shuffled.data)


@pytest.mark.parametrize("name", [*FUNCTIONS, "relu", "conv2d", "softmax", "pad"])
def test_functions_of_pytorch_say_where_they_are(name: str) -> None:
    import minigan.nn.functional as F  # noqa: N812

    assert nn.functional is F
    with pytest.raises(AttributeError, match=f"^minigan.nn.functional has no {name}: ") as caught:
        getattr(F, name)
    check_names(str(caught.value))


def test_other_functions_are_missing_as_in_any_module() -> None:
    with pytest.raises(AttributeError, match=r"'minigan\.nn\.functional' has no attribute 'far'"):
        nn.functional.far  # noqa: B018
    assert dir(nn.functional) == []
