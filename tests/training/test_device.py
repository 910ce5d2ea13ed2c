"""Arrays live on one side of a border, and cross it where the code says so."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import minigan_kernels as kernels
import numpy as np
import pytest
import strict
import tiny
from cuda_tools import Emulated, needs_gxx
from minigan_kernels.cuda import cache
from minigan_kernels.cuda.errors import UnavailableError
from strict import FakeGpu, Strict
from tiny import Shell

from minigan import Tensor, gans, grad, nn, softmax_cross_entropy
from minigan.commands import doctor, layer_kernels
from minigan.data import Dataset
from minigan.device import HOST, Device, asarray_like, cuda, probe, to_host, to_numbers
from minigan.device.probe import CudaFacts, diagnose, out_of_memory
from minigan.errors import RunError
from minigan.random import Generator
from minigan.tensor import PRIMITIVES
from minigan.training.graph_replay import CHECKED
from minigan.training.run import Run, provenance
from minigan.training.state import State

ROWS = np.arange(6, dtype=np.float32).reshape(2, 3)

RUNS: list[tuple[str, dict[str, Any], Dataset]] = [
    *((name, {}, tiny.images()) for name in gans.names()),
    ("cgan", {"dense": True, "width": 32, "hidden": 256}, tiny.images()),
    ("dcgan", {"two_logits": True, "optimizer": "rmsprop", "clip_norm": 0.5}, tiny.images()),
    ("dcgan", {"l2_d": 0.1, "kl_g": 0.1}, tiny.images()),
    ("infogan", {"learn_std": True}, tiny.images()),
    ("sgan", {"fake_class": True, "feature_matching": False, "labels": 4}, tiny.images()),
    ("wgan_gp", {"ema": 0.9}, tiny.points(2)),
]


@pytest.fixture(autouse=True)
def _strict() -> Iterator[None]:
    with strict.strict_kernels():
        yield


# --- The GPU that is not there is strict ----------------------------------------------------


@pytest.mark.parametrize(
    "mixture",
    [
        lambda x: x + ROWS,
        lambda x: ROWS * x,
        lambda x: x * np.array(2.0),
        lambda x: np.concatenate([x, ROWS]),
        lambda x: np.where(ROWS > 1, x, x),
        lambda x: x[np.array([1, 0])],
        lambda x: ROWS[x.astype(np.int64)],
        lambda x: x.__setitem__(slice(None), ROWS),
        np.asarray,
        lambda x: float(x[0, 0]),
        lambda x: bool(x[0, 0] > 0),
        list,
        lambda x: np.add.at(x, (0, 1), x),
        lambda x: Tensor(x) + Tensor(ROWS),
    ],
)
def test_nothing_mixes_and_nothing_leaves_unasked(mixture: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        mixture(Strict(ROWS.copy()))


def test_the_gpu_that_is_not_there_asks_for_nothing_that_cupy_lacks() -> None:
    cupy = pytest.importorskip("cupy")
    for name in strict.FUNCTIONS | strict.UFUNCS:
        there = cupy
        for part in name.split("."):
            there = getattr(there, part)
    assert all(hasattr(cupy.ndarray, name) for name in strict.METHODS | {"get", "item"})


# --- The border ------------------------------------------------------------------------------


def test_arrays_go_where_others_are() -> None:
    there = FakeGpu().put(ROWS)
    assert HOST.put(ROWS) is ROWS
    assert to_host(ROWS) is ROWS
    assert asarray_like(ROWS, ROWS) is ROWS
    np.testing.assert_array_equal(to_host(there), ROWS)
    assert isinstance(asarray_like(ROWS, there), Strict)
    np.testing.assert_array_equal(asarray_like(there, ROWS), ROWS)


def test_numbers_come_in_one_transfer(monkeypatch: pytest.MonkeyPatch) -> None:
    transfers = []
    get = Strict.get
    monkeypatch.setattr(Strict, "get", lambda self: transfers.append(self.shape) or get(self))
    there = FakeGpu().put(ROWS)
    assert to_numbers([1, there[0, 1], np.float32(0.5), there[1, 2]]) == [1.0, 1.0, 0.5, 5.0]
    assert transfers == [(2,)]


def draws(rng: Generator) -> list[bytes]:
    arrays = rng.normal((3, 7), std=0.5), rng.uniform((5,), -1, 1), rng.dropout_mask(9, 0.3)
    return [to_host(a).tobytes() for a in (*arrays, rng.normal(()), rng.integers(4, 10))]


@needs_gxx
def test_noise_is_drawn_where_it_is_used_and_is_the_same_everywhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here, there = Generator(3, "noise"), Generator(3, "noise")
    there.device = FakeGpu()
    monkeypatch.setattr(FakeGpu, "put", None)  # nothing crosses the border
    drawn = draws(here)
    assert draws(there) == drawn
    assert there.state == here.state
    with kernels.use("cuda"):  # by the kernels of a real one
        assert draws(Generator(3, "noise")) == drawn


# --- Runs ------------------------------------------------------------------------------------


def answers(state: State, dataset: Dataset) -> dict[str, bytes]:
    """All that can be asked of a run, in bytes."""
    z, x = state.recipe.latent(Generator(0, "answers"), 5), next(state.batches)
    made = {"samples": state.samples(z)}
    for name in ("realness", "classify", "codes", "encode", "reconstruct"):
        made[name] = state.ask(getattr(state.recipe, name), x)
    assert all(type(value) in (np.ndarray, type(None)) for value in made.values())
    return {name: b"" if value is None else value.tobytes() for name, value in made.items()}


@pytest.mark.parametrize(("name", "fields", "dataset"), RUNS)
def test_a_run_on_a_gpu_has_the_cpus_bytes_and_goes_on_on_either(
    name: str, fields: dict[str, Any], dataset: Dataset, tmp_path: Path
) -> None:
    """The run replays a graph: its first steps and the last one do not."""
    whole, steps = tiny.state(name, dataset, **fields), CHECKED + 1
    rows = [whole.advance() for _ in range(steps + 1)]
    checkpoint = whole.save(tmp_path, name).read_bytes()

    there, said = tiny.state(name, dataset, device=FakeGpu(), **fields), []
    there.use_graphs(said.append)
    assert [there.advance() for _ in range(steps)] == rows[:-1]
    assert not said
    assert there.replay.graph is not None
    saved = there.save(tmp_path, name)
    for device in (HOST, FakeGpu()):
        state = tiny.state(name, dataset, device=device, **fields)
        state.restore(saved, name)
        assert state.advance() == rows[-1]
        folder = tmp_path / device.name
        folder.mkdir()
        assert state.save(folder, name).read_bytes() == checkpoint
        assert answers(state, dataset) == answers(whole, dataset)
        whole.batches.position -= 1
    arrays = [a for p in state.players.values() for a in p.arrays().values()]
    assert all(isinstance(a, Strict) for a in arrays)


def test_a_cross_entropy_is_differentiated_twice_where_it_lies() -> None:
    """No recipe does so: then its reference is differentiated, not its kernel."""
    slopes = []
    for device in (HOST, FakeGpu()):
        x, labels = Tensor(device.put(ROWS)), device.put(np.array([0, 2]))
        g = grad(softmax_cross_entropy(x, labels=labels).sum(), x, create_graph=True)
        slopes.append(to_host(grad((g * g).sum(), x).data))
    assert np.abs(slopes[0]).max() > 0
    np.testing.assert_array_equal(*slopes)


LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "AvgPool1d": (lambda: nn.AvgPool1d(3, 2, 1), (2, 3, 8)),
    "Conv1d": (lambda: nn.Conv1d(3, 4, 4, 1, "same", rng=Generator(0)), (2, 3, 8)),
    "GELU": (nn.GELU, (2, 3)),
    "GELU, tanh": (lambda: nn.GELU("tanh"), (2, 3)),
    "GroupNorm": (lambda: nn.GroupNorm(2, 4), (2, 4, 3, 3)),
    "GroupNorm, not affine": (lambda: nn.GroupNorm(2, 4, affine=False), (2, 4)),
    "MaxPool1d": (lambda: nn.MaxPool1d(3, 2, 1), (2, 3, 8)),
    "PReLU": (lambda: nn.PReLU(3), (2, 3, 4)),
    "PixelShuffle": (lambda: nn.PixelShuffle(2), (2, 8, 3, 3)),
    "SiLU": (nn.SiLU, (2, 3)),
    "Softmax": (lambda: nn.Softmax(1), (2, 3)),
    "Upsample": (lambda: nn.Upsample(scale_factor=2), (2, 3, 3, 3)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_differentiated_twice_where_it_lies(name: str) -> None:
    make, shape = LAYERS[name]
    values = np.random.default_rng(0).standard_normal(shape, np.float32)
    answers = []
    for device in (HOST, FakeGpu()):
        layer, x = make(), Tensor(device.put(values))
        layer.to(device)
        wanted = [x, *layer.parameters().values()]
        y = (layer(x) * layer(x)).sum()
        first, recorded = grad(y, wanted), grad(y, wanted, create_graph=True)
        second = grad((recorded[0] * recorded[0]).sum(), x)
        answers.append([to_host(t.data) for t in (*first, *recorded, second)])
    for ours, plain in zip(*reversed(answers), strict=True):
        np.testing.assert_allclose(ours, plain, rtol=1e-5, atol=1e-6)


def test_a_loss_on_a_gpu_that_is_not_finite_ends_the_run_with_its_step() -> None:
    state = tiny.state("wgan", device=FakeGpu(), n_critic=2)
    state.players["D"].parameters()["layers.0.bias"].data[...] = np.nan
    with pytest.raises(RunError, match=r"the loss of D is nan in step 1; .*--device cpu"):
        state.advance()


def test_commands_train_on_a_gpu_and_open_its_run_anywhere(
    shell: Shell, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        cuda, "device", lambda name, *_, **__: {"cpu": HOST, "cuda": FakeGpu()}[name]
    )
    words = ["train", "gan", *tiny.FLAGS, "--data", digits, "--init-g", "1"]
    graphs: list[int] = []
    use = State.use_graphs
    monkeypatch.setattr(State, "use_graphs", lambda *a: (graphs.append(a[0].step), use(*a)))
    whole, run = tmp_path / "whole", tmp_path / "run"
    shell.succeeds(*words, "--steps", "6", "--out", whole, "--no-graphs")
    assert not graphs
    shell.succeeds(*words, "--steps", "2", "--out", run, "--device", "cuda")
    assert Run.open(run).config["device"] == "cuda"
    assert (graphs, Run.open(run).config["graphs"]) == ([0], True)
    for more in (["--no-graphs"], [], ["--graphs"], ["--device", "cpu"]):
        shell.succeeds("train", "--resume", "--out", run, "--more", "1", *more)
    assert Run.open(run).config["device"] == "cpu"
    assert graphs == [0, 4, 5]  # and not where it was refused, or had been
    assert tiny.same_but_for_time(Run.open(run).rows(), Run.open(whole).rows())
    for name in ("checkpoints/step-000006.safetensors", "samples/step-000006.png"):
        assert (run / name).read_bytes() == (whole / name).read_bytes()
    for device in ("cpu", "cuda"):
        shell.succeeds("sample", run, "--device", device, "--out", tmp_path / f"{device}.png")
    assert (tmp_path / "cpu.png").read_bytes() == (tmp_path / "cuda.png").read_bytes()


# --- What is there of a GPU, and what is missing --------------------------------------------

GOOD = CudaFacts(
    cupy="14.2.0", toolkit=13020, driver=13000, gpu="NVIDIA H200", capability=(9, 0),
    free=140 << 30, total=141 << 30, compiler="13.5",
)  # fmt: skip


@pytest.mark.parametrize(
    ("found", "says"),
    [
        ({"cupy": None}, ["CuPy is not installed", "minigan[cuda13]", "cuda12"]),
        ({"cupy": None, "error": "libstdc++ is too old"}, ["libstdc++ is too old"]),
        ({"driver": 0, "gpu": None, "error": "insufficient"}, ["no NVIDIA driver", "580"]),
        ({"driver": 12040, "gpu": None}, ["12.4", "13.2", "580", "minigan[cuda12]"]),
        ({"driver": 11040, "toolkit": 12090, "gpu": None}, ["11.4", "12.9", "525"]),
        ({"gpu": None, "error": "cudaErrorNoDevice"}, ["NoDevice", "CUDA_VISIBLE_DEVICES"]),
        ({"error": "cudaErrorMemoryAllocation"}, ["H200 cannot be used", "Allocation"]),
        ({"gpu": "Tesla T4", "capability": (7, 5)}, ["Tesla T4", "7.5", "8.0"]),
        ({"compiler": None}, ["NVRTC", "minigan[cuda13]"]),
        ({"driver": 12080, "toolkit": 12090}, ["NVRTC 13.5", "12.8", "minigan[cuda12]", "driver"]),
    ],
)
def test_what_is_missing_is_named_with_the_way_out(found: dict[str, Any], says: list[str]) -> None:
    said = diagnose(dataclasses.replace(GOOD, **found))
    assert said is not None
    assert "\n" not in said
    for part in says:
        assert part in said


def test_nothing_is_missing_where_all_is_there() -> None:
    assert diagnose(GOOD) is None
    assert diagnose(dataclasses.replace(GOOD, driver=13040)) is None


@pytest.mark.skipif(diagnose(probe.probe_cuda()) is None, reason="there is a GPU")
@pytest.mark.parametrize(
    "words", [["train", "gan"], ["sample", "RUN"], ["evaluate", "RUN"], ["train", "--resume"]]
)
def test_a_gpu_that_is_not_there_is_refused_and_nothing_else_tried(
    shell: Shell, run: Path, words: list[str]
) -> None:
    before = tiny.tree(run)
    words = [str(run) if word == "RUN" else word for word in words]
    where = ["--out", run] if words[0] == "train" else []
    shell.refuses(*words, *where, "--device", "cuda", says=("device cuda cannot be", "the cpu"))
    assert tiny.tree(run) == before


def test_a_batch_that_would_fit_is_named() -> None:
    gib = 1 << 30
    said = out_of_memory(2 * gib, 10 * gib, gib, batch=128, fixed=2 * gib)
    assert "2.00 GiB were asked for with 10.00 GiB in use and 1.00 GiB free" in said
    assert "--batch-size 64" in said  # 128 * 9 / 10 are 115
    assert "--batch-size 4 " in out_of_memory(gib, gib, gib // 2, batch=7, fixed=0)
    assert "--batch-size 64" in out_of_memory(1, gib, gib, batch=128, fixed=0)  # in pieces
    assert "not even one" in out_of_memory(gib, gib, 0, batch=2, fixed=gib)
    assert "not even one" in out_of_memory(gib, 0, 1, batch=1, fixed=0)


def test_cupys_error_is_asked_for_what_it_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    cupy = pytest.importorskip("cupy")
    monkeypatch.setattr(cupy.cuda.runtime, "memGetInfo", lambda: (1 << 30, 4 << 30))
    error = cupy.cuda.memory.OutOfMemoryError(2 << 30, 2 << 30, 0)
    said = cuda.Cuda().out_of_memory(error, 64, 0)
    assert said == out_of_memory(2 << 30, 2 << 30, 1 << 30, batch=64, fixed=0)
    assert cuda.Cuda().out_of_memory(MemoryError(), 64, 0) is None


@pytest.mark.parametrize("where", ["forward", "backward", "optimizer"])
def test_exhausted_memory_of_a_gpu_ends_the_run_in_one_sentence(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(FakeGpu):
        def out_of_memory(self, error: MemoryError, batch: int, fixed: int) -> str:
            return f"{error}: {batch}, {fixed}"

    def fail(*_: Any, **__: Any) -> None:
        raise MemoryError("full")

    for device, kind in ((Full(), RunError), (HOST, MemoryError)):
        state = tiny.state("gan", device=device)
        if where == "optimizer":
            monkeypatch.setattr(state.optimizers["D"], "step", fail)
        else:
            matmul = PRIMITIVES["matmul"]
            fields = {"forward": ("kernel", fail), "backward": ("rules", (fail, fail))}
            monkeypatch.setattr(matmul, *fields[where])
        with pytest.raises(kind, match=r"^full"):
            state.advance()


def test_kernels_that_cannot_be_kept_end_a_run_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(RunError, match="set XDG_CACHE_HOME"), Emulated().context():
        cache.keep("a.cubin", lambda out: {})


def test_what_runs_for_each_layer_is_told_of_either_device() -> None:
    class Emulated(Device):
        name = "cuda"

    on_cpu = layer_kernels.kernels_of_layers(HOST)
    with kernels.use("cuda"):
        on_gpu = layer_kernels.kernels_of_layers(Emulated())
    assert [row[:2] for row in on_cpu] == [row[:2] for row in on_gpu]
    assert on_cpu[1][2:] == ("winograd 4x4",) * 3
    assert len(on_gpu) == 10
    assert all("conv_" in part for row in on_gpu for part in row[2:])


def test_doctor_compares_the_kernels_of_the_device_itself() -> None:
    for device in (HOST, FakeGpu()):
        found = doctor._compare(device)
        assert found.keys() == {"conv2d", "batch norm", "leaky relu", "NaN pixel"}
        assert all(error < 1e-6 for error, _ in found.values())


def test_doctor_says_in_one_sentence_what_keeps_kernels_from_running(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(here: Device) -> None:
        raise UnavailableError("there is no folder")

    monkeypatch.setattr(doctor, "kernels_of_layers", lambda here: [])
    monkeypatch.setattr(doctor, "_compare", fail)
    with pytest.raises(RunError, match="no folder"):
        doctor.main([])


def test_a_gpu_says_what_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "probe_cuda", lambda: dataclasses.replace(GOOD, compiler=None))
    found = provenance(cuda.Cuda().versions())["versions"]
    assert found.items() >= {"cupy": GOOD.cupy, "card": GOOD.gpu}.items()
    assert "nvrtc" not in found
    assert provenance(HOST.versions()) == provenance()
    assert "cupy" not in provenance()["versions"]
