"""What layers are given: arrays, wrong shapes, wrong arguments; and what a refused call leaves."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from draw import normal

import minigan as mg
from minigan import Generator, Tensor, losses, nn
from minigan.nn.module import Module


def rng() -> Generator:
    return Generator(0, "arguments")


IMAGES, VECTORS, SEQUENCES = (2, 3, 4, 4), (4, 3), (2, 3, 5)
LAYERS: dict[str, tuple[Callable[[], Module], tuple[int, ...]]] = {
    "AvgPool1d": (lambda: nn.AvgPool1d(2), SEQUENCES),
    "AvgPool2d": (lambda: nn.AvgPool2d(2), IMAGES),
    "BatchNorm": (lambda: nn.BatchNorm(3), IMAGES),
    "BatchNorm1d": (lambda: nn.BatchNorm1d(3, activation=nn.Tanh()), VECTORS),
    "BatchNorm2d": (lambda: nn.BatchNorm2d(3, activation=nn.ReLU()), IMAGES),
    "Conv1d": (lambda: nn.Conv1d(3, 2, 3, rng=rng()), SEQUENCES),
    "Conv2d": (lambda: nn.Conv2d(3, 2, 3, rng=rng()), IMAGES),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(3, 2, 3, rng=rng()), IMAGES),
    "Dropout": (lambda: nn.Dropout(0.5, rng=rng()), VECTORS),
    "ELU": (nn.ELU, VECTORS),
    "Flatten": (nn.Flatten, IMAGES),
    "GELU": (nn.GELU, VECTORS),
    "GaussianNoise": (lambda: nn.GaussianNoise(0.5, rng=rng()), VECTORS),
    "GroupNorm": (lambda: nn.GroupNorm(1, 3), IMAGES),
    "Identity": (nn.Identity, VECTORS),
    "InstanceNorm2d": (lambda: nn.InstanceNorm2d(3), IMAGES),
    "LayerNorm": (lambda: nn.LayerNorm(3), VECTORS),
    "LeakyReLU": (nn.LeakyReLU, VECTORS),
    "Linear": (lambda: nn.Linear(3, 2, rng=rng()), VECTORS),
    "MaxPool1d": (lambda: nn.MaxPool1d(2), SEQUENCES),
    "MaxPool2d": (lambda: nn.MaxPool2d(2), IMAGES),
    "Maxout": (lambda: nn.Maxout(3, 2, 2, rng=rng()), VECTORS),
    "PReLU": (nn.PReLU, VECTORS),
    "PixelShuffle": (lambda: nn.PixelShuffle(2), (2, 8, 3, 3)),
    "ReLU": (nn.ReLU, VECTORS),
    "Reshape": (lambda: nn.Reshape(3, 1), VECTORS),
    "SiLU": (nn.SiLU, VECTORS),
    "Sigmoid": (nn.Sigmoid, VECTORS),
    "Softmax": (lambda: nn.Softmax(1), VECTORS),
    "Softplus": (nn.Softplus, VECTORS),
    "SpectralNorm": (lambda: nn.SpectralNorm(nn.Linear(3, 2, rng=rng()), rng=rng()), VECTORS),
    "Tanh": (nn.Tanh, VECTORS),
    "Unflatten": (lambda: nn.Unflatten(1, (3, 1)), VECTORS),
    "Upsample": (lambda: nn.Upsample(scale_factor=2), IMAGES),
    "UpsampleNearest": (lambda: nn.UpsampleNearest(2), IMAGES),
    "WeightNormLinear": (lambda: nn.WeightNormLinear(3, 2, rng=rng()), VECTORS),
}
OTHERS = {
    "Activation", "Conditional", "Embedding", "Joined", "Module", "ModuleDict", "ModuleList",
    "Sequential",
}  # fmt: skip


def test_every_layer_is_here() -> None:
    kinds = {n for n in nn.__all__ if inspect.isclass(getattr(nn, n))}
    modules = {n for n in kinds if issubclass(getattr(nn, n), Module)}
    assert modules == LAYERS.keys() | OTHERS


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_has_a_description_and_a_summary(name: str) -> None:
    make, shape = LAYERS[name]
    layer = make()
    assert repr(layer).startswith(f"{name}(")
    assert " object at 0x" not in repr(layer)
    rows = nn.summary(layer, Tensor(np.zeros(shape, np.float32)))
    assert rows[-1].output == layer.eval()(np.zeros(shape, np.float32)).shape
    assert sum(row.parameters for row in rows) == sum(p.size for p in layer.parameters().values())


# --- Arrays ----------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("given", ["array", "list"])
@pytest.mark.parametrize("name", LAYERS)
def test_an_array_is_taken_as_the_tensor_of_it(name: str, given: str, training: bool) -> None:
    make, shape = LAYERS[name]
    x = normal(*shape, dtype=np.float32)
    expected = make().train(training)(Tensor(x))
    found = make().train(training)(x if given == "array" else x.tolist())
    assert isinstance(found, Tensor)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found.data, expected.data)


@pytest.mark.parametrize("given", [None, "text", {"x": 1}])
def test_what_is_no_array_is_refused(given: Any) -> None:
    with pytest.raises(TypeError, match="Linear takes a tensor or an array, not array"):
        nn.Linear(3, 2, rng=rng())(given)


def test_networks_of_two_inputs_take_arrays() -> None:
    x, y = normal(4, 3, dtype=np.float32), np.eye(4, 2, dtype=np.float32)
    for net in (
        nn.Conditional(nn.Linear(5, 2, rng=rng())),
        nn.Joined(nn.Linear(3, 2, rng=rng()), nn.Linear(2, 2, rng=rng()), nn.Tanh()),
    ):
        np.testing.assert_array_equal(net(x, y).data, net(Tensor(x), Tensor(y)).data)


def test_an_own_module_gets_what_it_is_given() -> None:
    class Own(Module):
        def forward(self, x: Any, labels: Any) -> Any:
            return x, labels

    x, labels = np.ones(2), [1, 2]
    assert Own()(x, labels) == (x, labels)


@pytest.mark.parametrize("labels", [[0, 2], (0, 2), np.array([0, 2]), Tensor(np.array([0, 2]))])
def test_labels_are_taken_from_anything(labels: Any) -> None:
    table = nn.Embedding(3, 2, rng=rng())
    np.testing.assert_array_equal(table(labels).data, table.weight.data[[0, 2]])
    logits = Tensor(normal(2, 3, dtype=np.float32))
    expected = losses.softmax_cross_entropy(logits, np.array([0, 2]))
    assert losses.softmax_cross_entropy(logits, labels).item() == expected.item()


@pytest.mark.parametrize("labels", [[0.0, 2.0], [True, False, True], Tensor([0.0]), ["a"]])
def test_labels_that_are_no_integers_are_refused(labels: Any) -> None:
    with pytest.raises(ValueError, match="labels must be integers"):
        nn.Embedding(3, 2, rng=rng())(labels)
    with pytest.raises(ValueError, match="labels must be integers"):
        losses.softmax_cross_entropy(Tensor(np.zeros((len(labels), 3), np.float32)), labels)


def test_no_labels_at_all() -> None:
    assert nn.Embedding(3, 2, rng=rng())([]).shape == (0, 2)


# --- A call that is refused ------------------------------------------------------------------


REFUSED: dict[str, tuple[Callable[[], Module], Any, str]] = {
    "channels of one": (lambda: nn.BatchNorm2d(1), (2, 3, 4, 4), r"of 1 channels takes \(N, 1, "),
    "one channel": (lambda: nn.BatchNorm2d(3), (2, 1, 4, 4), r"BatchNorm2d of 3 channels"),
    "two channels": (lambda: nn.BatchNorm2d(3), (2, 2, 4, 4), r"x has shape \(2, 2, 4, 4\)"),
    "vectors": (lambda: nn.BatchNorm1d(3), (4, 2), r"BatchNorm1d of 3 channels"),
    "one axis": (lambda: nn.BatchNorm(3), (3,), r"BatchNorm of 3 channels"),
    "one value": (lambda: nn.BatchNorm1d(3), (1, 3), "two values a channel"),
    "integers": (lambda: nn.BatchNorm1d(3), np.ones((4, 3), np.uint8), "x is uint8"),
    "linear": (lambda: nn.SpectralNorm(nn.Linear(3, 2, rng=rng()), rng=rng()), (4, 4), "4"),
    "convolution": (
        lambda: nn.SpectralNorm(nn.Conv2d(3, 2, 3, rng=rng()), rng=rng()), (2, 1, 4, 4), "channels"
    ),
    "within a network": (
        lambda: nn.Sequential(nn.SpectralNorm(nn.Linear(3, 2, rng=rng()), rng=rng())), (4, 4), "4"
    ),
    "noise": (lambda: nn.GaussianNoise(1.0, rng=rng()), np.ones(3, np.int64), "x is int64"),
    "dropout": (lambda: nn.Dropout(0.8, rng=rng()), np.ones(3, np.int64), "x is int64"),
    "instance norm": (lambda: nn.InstanceNorm2d(1), (2, 3, 4, 4), "InstanceNorm2d of 1 channels"),
    "one pixel": (lambda: nn.InstanceNorm2d(3), (2, 3, 1, 1), "two values a channel"),
    "layer norm": (lambda: nn.LayerNorm(4), (2, 1), r"LayerNorm of \(4,\) takes"),
    "group norm": (lambda: nn.GroupNorm(2, 4), (2, 3), r"GroupNorm of 4 channels takes \(N, 4"),
    "groups of one": (lambda: nn.GroupNorm(4, 4), (2, 4), "two values a group"),
    "integers in groups": (lambda: nn.GroupNorm(1, 2), np.ones((3, 2), np.int64), "x is int64"),
    "slopes": (lambda: nn.PReLU(3), (2, 4), r"\(1,\), or has one value for each channel"),
    "an axis": (lambda: nn.Unflatten(2, (2, 2)), (3, 4), "Unflatten of axis 2 takes no x"),
    "sizes of an axis": (lambda: nn.Unflatten(1, (2, 3)), (3, 4), r"4 values, which are no \(2, 3"),
    "uneven sizes": (lambda: nn.Unflatten(1, (3, -1)), (3, 4), r"which are no \(3, -1\)"),
    "channels of blocks": (lambda: nn.PixelShuffle(2), (2, 6, 3, 3), "takes 4 channels for each"),
    "vectors as images": (lambda: nn.PixelShuffle(2), (2, 4), r"images must be \(N, C, H, W\)"),
    "an image": (lambda: nn.Conv1d(2, 3, 3, rng=rng()), (2, 2, 5, 5), r"takes .* \(N, 2, L\)"),
    "channels of a sequence": (lambda: nn.Conv1d(2, 3, 3, rng=rng()), (2, 3, 5), r"\(N, 2, L\)"),
    "pooled images": (lambda: nn.MaxPool1d(2), (2, 2, 4, 4), r"sequences \(N, C, L\)"),
    "averaged images": (lambda: nn.AvgPool1d(2), (2, 2, 4, 4), r"sequences \(N, C, L\)"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_call_that_is_refused_leaves_everything_as_it_was(name: str) -> None:
    make, given, words = REFUSED[name]
    layer = make()
    x = Tensor(normal(*given, dtype=np.float32) + 5 if isinstance(given, tuple) else given)
    before, generators = (
        layer.state(),
        [m for m in vars(layer).values() if isinstance(m, Generator)],
    )
    offsets = [g.offset for g in generators]
    with pytest.raises(ValueError, match=words) as caught:
        layer(x)
    assert "could not be broadcast" not in str(caught.value)
    assert [g.offset for g in generators] == offsets
    for key, array in layer.state().items():
        np.testing.assert_array_equal(array, before[key], strict=True)


def test_an_activation_that_fails_leaves_the_running_moments() -> None:
    class Failing(nn.Activation):
        def forward(self, x: Tensor) -> Tensor:
            raise ZeroDivisionError

    layer = nn.BatchNorm1d(3, activation=Failing())
    with pytest.raises(ZeroDivisionError):
        layer(Tensor(normal(4, 3, dtype=np.float32)))
    assert not layer.running_mean.any()


def test_running_moments_keep_their_dtype() -> None:
    layer = nn.BatchNorm1d(3)
    with pytest.raises(ValueError, match="float64 and float32"):
        layer(Tensor(normal(4, 3)))
    assert not layer.running_mean.any()
    layer(normal(4, 3))  # an array is data, which is converted
    assert layer.running_mean.dtype == layer.running_var.dtype == np.float32
    assert layer.running_mean.any()


@pytest.mark.parametrize(
    ("shape", "weight", "options"),
    [
        ((1, 1, 1, 4), (1, 1, 2, 2), {"padding": (1, 0)}),
        ((1, 1, 4, 1), (1, 1, 2, 2), {"padding": (0, 1)}),
        ((1, 1, 2, 2), (1, 1, 2, 2), {"padding": 2}),
        ((1, 1, 0, 4), (1, 1, 1, 2), {}),
    ],
)
def test_a_transposed_convolution_without_pixels_is_refused(
    shape: tuple[int, ...], weight: tuple[int, ...], options: dict[str, Any]
) -> None:
    x, w = Tensor(np.ones(shape, np.float32)), Tensor(np.ones(weight, np.float32))
    with pytest.raises(ValueError, match=r"would give images of .*; lower the padding"):
        mg.conv_transpose2d(x, w, **options)


# --- Arguments of constructors ---------------------------------------------------------------


WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "no inputs": (lambda: nn.Linear(0, 2, rng=rng()), "in_features of Linear .* not 0"),
    "half an output": (lambda: nn.Linear(2, 2.5, rng=rng()), r"out_features of Linear .* 2\.5"),
    "no units": (lambda: nn.Maxout(3, 0, 2, rng=rng()), "units of Maxout"),
    "no pieces": (lambda: nn.Maxout(3, 2, 0, rng=rng()), "pieces of Maxout"),
    "no channels": (lambda: nn.Conv2d(0, 2, 3, rng=rng()), "in_channels of Conv2d"),
    "groups": (lambda: nn.Conv2d(3, 2, 3, groups=2, rng=rng()), "do not split into 2 groups"),
    "no groups": (lambda: nn.ConvTranspose2d(2, 2, 3, groups=0, rng=rng()), "groups of ConvTr"),
    "no symbols": (lambda: nn.Embedding(0, 2, rng=rng()), "count of Embedding"),
    "norm": (lambda: nn.BatchNorm2d(0), "channels of BatchNorm2d"),
    "instances": (lambda: nn.InstanceNorm2d(-1), "channels of InstanceNorm2d"),
    "negative eps": (lambda: nn.BatchNorm1d(2, eps=-1.0), r"eps of BatchNorm1d must be in \[0"),
    "nan eps": (lambda: nn.LayerNorm(2, eps=math.nan), "eps of LayerNorm"),
    "momentum": (lambda: nn.BatchNorm1d(2, momentum=1.5), r"momentum of BatchNorm1d .*\[0, 1\]"),
    "factor": (lambda: nn.UpsampleNearest(0), "factor of UpsampleNearest"),
    "infinite noise": (lambda: nn.GaussianNoise(math.inf, rng=rng()), "standard deviation"),
    "a function": (lambda: nn.Linear(2, 2, rng=rng(), activation=mg.tanh), r"nn\.ReLU\(\), not"),
    "a class": (lambda: nn.Conv2d(2, 2, 3, rng=rng(), activation=nn.ReLU), "activation of Conv2d"),
    "a name": (lambda: nn.BatchNorm1d(2, activation="relu"), "activation of BatchNorm1d"),
    "another shape": (
        lambda: nn.Linear(2, 3, rng=rng(), init=lambda g, shape, *fans: np.zeros(shape[::-1])),
        r"numbers of shape \(3, 2\), but gave float64 of shape \(2, 3\)",
    ),
    "no array": (lambda: nn.Linear(2, 3, rng=rng(), init=lambda *_: 0.5), "but gave 0.5"),
    "no weight": (lambda: nn.SpectralNorm(nn.ReLU(), rng=rng()), "which ReLU has not"),
    "a list within": (lambda: nn.Sequential(nn.ReLU(), [nn.ReLU()]), "not a list"),
    "names": (
        lambda: nn.Sequential(nn.Tanh(), {"a": nn.ReLU()}),
        r"without names: .*\*layers\.values\(\)",
    ),
    "a class in a sequence": (lambda: nn.Sequential([nn.ReLU]), r"not classes: write ReLU\("),
    "a stride of 0": (lambda: nn.Conv2d(1, 1, 3, 0, rng=rng()), "stride of Conv2d must be .* 1"),
    "a padding": (
        lambda: nn.Conv2d(1, 1, 3, padding="full", rng=rng()),
        "padding of Conv2d must be an integer of at least 0, 'same' or 'valid', not 'full'",
    ),
    "same and a stride": (
        lambda: nn.Conv2d(1, 1, 3, 2, "same", rng=rng()), "'same' of Conv2d needs a stride of 1"
    ),
    "same transposed": (
        lambda: nn.ConvTranspose2d(1, 1, 3, padding="same", rng=rng()),
        "padding of ConvTranspose2d must be an integer",
    ),
    "dilation": (lambda: nn.Conv2d(1, 1, 3, dilation=0, rng=rng()), "dilation of Conv2d"),
    "padding mode": (
        lambda: nn.Conv2d(1, 1, 3, padding_mode="reflect", rng=rng()),
        "Conv2d takes no padding_mode: zeros are what is padded with",
    ),
    "dtype": (
        lambda: nn.Linear(1, 1, dtype=np.float64, rng=rng()),
        r"Linear takes no dtype: .* net\.astype\(numpy\.float64\)",
    ),
    "device": (lambda: nn.BatchNorm2d(3, device="cuda"), r"takes no device: .*net\.to\('cuda'\)"),
    "in place": (lambda: nn.ReLU(inplace=True), "never written in place: leave inplace out"),
    "in place by position": (lambda: nn.LeakyReLU(0.2, True), "leave inplace out of LeakyReLU"),
    "in place of others": (lambda: nn.ELU(inplace=True), "ELU takes no inplace: a tensor is"),
    "SiLU in place": (lambda: nn.SiLU(inplace=True), "leave inplace out of SiLU"),
    "affine": (lambda: nn.BatchNorm2d(3, affine=False), "learn_scale=False of a BatchNorm fixes"),
    "unknown": (lambda: nn.Linear(1, 1, colour=3, rng=rng()), "unexpected keyword .*'colour'"),
    "a class of layers": (lambda: nn.Sequential(nn.ReLU), r"not classes: write ReLU\(\.\.\.\)"),
    "a tensor": (lambda: nn.Sequential(Tensor([1.0])), "not a Tensor"),
    "groups of a norm": (lambda: nn.GroupNorm(4, 6), "6 channels of a GroupNorm .* 4 groups"),
    "no groups of a norm": (lambda: nn.GroupNorm(0, 6), "num_groups of GroupNorm"),
    "an approximation": (lambda: nn.GELU("erf"), '"none" or "tanh", not \'erf\''),
    "no slopes": (lambda: nn.PReLU(0), "num_parameters of PReLU"),
    "sizes": (lambda: nn.Unflatten(1, (2, -1, -1)), r"one of which may be -1, not \(2, -1, -1\)"),
    "no sizes": (lambda: nn.Unflatten(1, 12), "sizes of the new axes, as .*, not 12"),
    "a kernel": (lambda: nn.MaxPool2d(0), "kernel_size must be an integer of at least 1"),
    "a stride": (lambda: nn.AvgPool2d(2, 0), "stride must be an integer of at least 1"),
    "a negative padding": (lambda: nn.AvgPool2d(2, 1, -1), "padding must be an integer"),
    "a kernel of one axis": (lambda: nn.MaxPool1d((1, 2)), r"kernel_size of MaxPool1d .*\(1, 2\)"),
    "a padding of one axis": (lambda: nn.AvgPool1d(2, 1, -1), "padding of AvgPool1d .* not -1"),
    "a dilation": (lambda: nn.MaxPool2d(2, dilation=2), "dilation=2: its windows are of neigh"),
    "places": (lambda: nn.MaxPool1d(2, return_indices=True), "return_indices=True: gradients"),
    "a ceiling": (lambda: nn.AvgPool2d(2, ceil_mode=True), r"ceil_mode=True: .* minigan\.pad"),
    "the padding": (lambda: nn.AvgPool2d(2, count_include_pad=False), "image of ones"),
    "a divisor": (lambda: nn.AvgPool2d(2, divisor_override=3), "multiply the result"),
    "another argument": (lambda: nn.MaxPool2d(2, size=3), "MaxPool2d takes no size"),
    "bilinear": (lambda: nn.Upsample(scale_factor=2, mode="bilinear"), "with a convolution"),
    "another mode": (lambda: nn.Upsample(scale_factor=2, mode="far"), "\"nearest\", not 'far'"),
    "a size": (lambda: nn.Upsample((8, 8)), r"takes scale_factor=, .* not size=\(8, 8\)"),
    "no factor": (lambda: nn.Upsample(), "takes scale_factor=, an integer$"),
    "corners": (lambda: nn.Upsample(scale_factor=2, align_corners=True), "align_corners means"),
    "half a factor": (lambda: nn.Upsample(scale_factor=1.5), r"not by 1\.5"),
    "two factors": (lambda: nn.Upsample(scale_factor=(2, 3)), r"not by \(2, 3\)"),
    "a shuffle": (lambda: nn.PixelShuffle(0), "integer of at least 1, .* not by 0"),
    "a kernel of a sequence": (lambda: nn.Conv1d(2, 2, (3, 3), rng=rng()), "kernel_size of Conv1d"),
    "groups of a sequence": (lambda: nn.Conv1d(3, 2, 3, groups=2, rng=rng()), "into 2 groups"),
    "a stride of the same": (
        lambda: nn.Conv1d(2, 2, 5, 2, "same", rng=rng()), "of 1, not 2: write padding=2"
    ),
    "another padding": (lambda: nn.Conv1d(2, 2, 3, padding="full", rng=rng()), "not 'full'"),
    "a list of modules": (lambda: nn.ModuleList([mg.tanh]), "parts of a ModuleList are modules"),
    "a class in a list": (lambda: nn.ModuleList([nn.Tanh]), "not the class Tanh"),
    "no list": (lambda: nn.ModuleList(nn.Tanh()), "takes modules in a list, not Tanh"),
    "a forbidden name": (lambda: nn.ModuleDict({"forward": nn.Tanh()}), "can be called 'forward'"),
    "a dotted name": (lambda: nn.ModuleDict({"a.b": nn.Tanh()}), r"can be called 'a\.b'"),
    "a number for a name": (lambda: nn.ModuleDict({1: nn.Tanh()}), "1 is no string"),
    "blocks": (lambda: nn.Conditional([nn.ReLU()]), "Conditional takes layers"),
    "joint": (lambda: nn.Joined(nn.ReLU(), nn.Tanh, nn.ReLU()), "Joined takes layers, not class"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_an_argument_that_cannot_be_is_refused_by_name(name: str) -> None:
    make, words = WRONG[name]
    with pytest.raises((ValueError, TypeError), match=words):
        make()


def test_an_initialiser_of_float64_gives_a_float32_layer() -> None:
    layer = nn.Linear(2, 3, rng=rng(), init=lambda g, shape, *fans: np.full(shape, 0.1))
    assert layer.weight.dtype == np.float32


# --- Sequences -------------------------------------------------------------------------------


def test_parts_of_a_sequence() -> None:
    net = nn.Sequential(nn.Linear(2, 3, rng=rng()), nn.ReLU(), mg.tanh, nn.Linear(3, 1, rng=rng()))
    x = Tensor(normal(4, 2, dtype=np.float32))
    first, last = net[:2], net[2:]
    assert isinstance(first, nn.Sequential)
    assert (len(first), len(last), len(net[::-1]), len(net[4:])) == (2, 2, 4, 0)
    assert first[0] is net[0] is net[-4]
    assert net[-1] is net.layers[3]
    np.testing.assert_array_equal(last(first(x)).data, net(x).data)
    assert not net.eval()[1:].training
    with pytest.raises(IndexError):
        net[4]


@pytest.mark.parametrize("shape", [(), 0, (3, 0)])
def test_a_layer_norm_of_nothing_is_refused(shape: Any) -> None:
    with pytest.raises(ValueError, match="LayerNorm is over axes of at least 1 value, not"):
        nn.LayerNorm(shape)
