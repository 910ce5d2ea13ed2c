"""Every CUDA kernel compiles for every architecture, within the limits that are written here."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import numpy as np
import pytest
from cuda_limits import LIMITS, WIDE
from cuda_tools import HEAD, instructions, kernel_of, needs_gxx, needs_nvrtc
from minigan_kernels.cuda import activation, elementwise, ladder, nvrtc, tiling
from minigan_kernels.cuda.cache import HEADERS
from minigan_kernels.cuda.errors import KernelError, UnavailableError
from minigan_kernels.cuda.launch import Kernel, kernel
from minigan_kernels.epilogue import ACTIVATIONS

ARCHITECTURES = ("sm_80", "sm_90", "sm_120")
# The quick tests compile for one architecture only.
EACH = [pytest.param(a, marks=[] if a == "sm_90" else pytest.mark.slow) for a in ARCHITECTURES]

# What a convolution may be compiled to end in.
ENDS = [{}, *({"ACTIVATION": f"epilogue_{name}"} for name in ACTIVATIONS)]

# Registers that a thread may take. A multiprocessor has 65536: it holds two blocks of 256 threads
# with at most 128 each. A block may have 99 KB of shared memory on every architecture.
PLAIN: dict[Kernel, int] = {
    **LIMITS,
    kernel("conv_1_naive", "convolve", threads=256, T="float"): 80,
    kernel("conv_1_naive", "convolve_dw", threads=256, T="float"): 64,
    kernel("conv_small_n", "convolve", threads=256): 64,
    kernel("im2col", "im2col", threads=256, T="float"): 40,
    kernel("im2col", "col2im", threads=256, T="float"): 64,
    kernel("pack", "pack", threads=256, T="float", E="bf16"): 40,
    kernel("reduce", "reduce", threads=256): 40,
    **{kernel("conv_small_n", "convolve", threads=256, **end): 64 for end in ENDS[1:]},
    **{
        elementwise.kernel(
            "reduce_channels", "reduce", "float", width, 0 if end else 3, **end
        ): most
        for end in ENDS
        for width, most in ((1, 48 if end else 64), (4, 80))
    },
    kernel("busy_wait", "busy_wait", threads=32): 32,
    ladder.SHARED: 88,
    ladder.REGISTERS: 128,
    ladder.VECTORISED: 216,
}
PRODUCTS = {  # precision, index of the tile -> registers of the correlation, of the weight gradient
    ("float32", 0): (128, 96),
    ("float32", 1): (104, 64),
    ("tf32", 0): (160, 192),
    ("tf32", 1): (168, 168),  # three blocks of 128 threads
    ("tf32", 2): (120, 128),
    ("bfloat16", 0): (128, 128),
    ("bfloat16", 1): (168, 168),
    ("bfloat16", 2): (120, 112),
}
MULTIPLY = {  # what must, and what must not, be among the instructions
    "float32": ({"FFMA", "LDGSTS"}, {"HMMA"}),
    "tf32": ({"HMMA.1688.F32.TF32", "LDGSTS"}, {"FFMA"}),
    "bfloat16": ({"HMMA.16816.F32.BF16", "LDGSTS", "LDSM"}, {"FFMA"}),
}


def test_lines_fit_a_page() -> None:
    files = [
        f for place in HEADERS for f in place.iterdir() if f.suffix in (".cu", ".cuh", ".h", ".cc")
    ]
    assert len(files) > 10
    assert not [f.name for f in files if any(len(n) > 100 for n in f.read_text().splitlines())]


@pytest.fixture
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "minigan" / "cuda"


@needs_nvrtc
@pytest.mark.parametrize("arch", EACH)
@pytest.mark.parametrize("kernel", PLAIN, ids=lambda k: f"{k.file.stem} {k.name}")
def test_a_kernel_stays_within_its_registers(kernel: Kernel, arch: str) -> None:
    found = kernel.compiled(arch).resources[kernel.name]
    assert found.registers <= PLAIN[kernel]
    assert found.spills == found.stack == 0
    assert kernel.shared <= 99 << 10


@needs_nvrtc
@pytest.mark.parametrize("kernel", WIDE, ids=lambda k: f"{k.file.stem} {k.name}")
def test_vectors_are_read_and_written_as_16_bytes(kernel: Kernel) -> None:
    used = instructions(kernel.compiled("sm_90").path, kernel.name)
    read, written = (
        {w for w in used if w.startswith(start)} for start in ("LDG.E.128", "STG.E.128")
    )
    assert read or kernel.file.stem == "random"
    assert written or kernel.name in ("moments", "batch_norm_sums")


@needs_nvrtc
@pytest.mark.parametrize("arch", EACH)
@pytest.mark.parametrize(
    ("name", "end"),
    [("convolve_dw", {}), ("convolve", {}), ("convolve", ENDS[-1])]
    + [pytest.param("convolve", end, marks=pytest.mark.slow) for end in ENDS[1:-1]],
)
@pytest.mark.parametrize(("precision", "tile"), PRODUCTS)
def test_a_product_compiles_to_what_it_should(
    precision: str, tile: int, name: str, end: dict[str, str], arch: str
) -> None:
    kernel = product(precision, tile, name, end)
    cubin = kernel.compiled(arch)
    found = cubin.resources[name]
    assert found.registers <= PRODUCTS[precision, tile][name == "convolve_dw"]
    assert found.spills == found.stack == 0
    assert kernel.shared <= 99 << 10
    used = {part for word in instructions(cubin.path) for part in (word, word.split(".")[0])}
    wanted, unwanted = MULTIPLY[precision]
    if name == "convolve":  # which squares what its moments are of, and activates
        unwanted = unwanted - {"FFMA"}
    assert wanted <= used
    assert not used & (unwanted | {"LDL", "STL"})


def test_every_tile_has_its_limits() -> None:
    assert set(PRODUCTS) == {(name, i) for name, t in tiling.TILES.items() for i in range(len(t))}


def product(precision: str, tile: int, name: str, end: dict[str, str]) -> Kernel:
    kind = np.uint16 if precision == "bfloat16" else np.float32
    chosen = tiling.Plan(kind, 8, tiling.TILES[precision][tile])
    files = {"convolve": "conv_6_tensor" if chosen.tensor else "conv_5_pipelined"}
    return chosen.kernel(files.get(name, "conv_7_split_k"), name, **end)


@needs_nvrtc
def test_a_spoilt_cubin_is_built_again(fresh_cache: Path) -> None:
    kernel = Kernel("activation", "leaky_relu", threads=64, T="float", V=1)
    cubin = kernel.compiled("sm_80")
    assert cubin.path.parent == fresh_cache
    whole, note = cubin.path.read_bytes(), cubin.path.with_name(cubin.path.name + ".json")
    for spoil in (
        lambda: cubin.path.write_bytes(whole[:-5]),
        lambda: cubin.path.unlink(),
        lambda: note.write_text("{"),
        lambda: note.write_text(json.dumps([1])),
    ):
        spoil()
        again = kernel.compiled("sm_80")
        assert again.path.read_bytes() == whole
        assert again.resources == cubin.resources
    assert sorted(p.name for p in fresh_cache.iterdir()) == sorted([cubin.path.name, note.name])


@needs_nvrtc
def test_what_is_compiled_is_named_by_all_that_it_depends_on(
    fresh_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = kernel_of(tmp_path, HEAD + "kernel(float* y) { *y = 1; }", threads=32)
    first = kernel.compiled("sm_80").path
    assert kernel.compiled("sm_90").path != first
    other = kernel_of(tmp_path, HEAD + "kernel(float* y) { *y = 2; }", threads=32)
    assert other.compiled("sm_80").path != first
    monkeypatch.setattr(nvrtc, "version", lambda: "99.0")
    kernel = kernel_of(tmp_path, HEAD + "kernel(float* y) { *y = 1; }", threads=32)
    assert kernel.compiled("sm_80").path != first


@needs_nvrtc
def test_source_that_does_not_compile_for_the_gpu(fresh_cache: Path, tmp_path: Path) -> None:
    kernel = kernel_of(tmp_path, HEAD + "kernel() { nonsense(); }", threads=32)
    with pytest.raises(KernelError, match=r"kernel.cu\(3\).*nonsense"):
        kernel.compiled("sm_80")
    assert not list(fresh_cache.iterdir())


@needs_nvrtc
def test_a_gpu_that_the_compiler_does_not_know(fresh_cache: Path) -> None:
    with pytest.raises(UnavailableError, match=r"sm_10\b.*install"):
        Kernel("activation", "leaky_relu", threads=64, T="float", V=1).compiled("sm_10")


def test_without_the_compiler_library(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise OSError(name)

    nvrtc.load.cache_clear()
    monkeypatch.setattr(nvrtc.ctypes, "CDLL", missing)
    try:
        with pytest.raises(UnavailableError, match=r"NVRTC.*pip install"):
            nvrtc.load()
    finally:
        nvrtc.load.cache_clear()


def _fill(barrier: object) -> None:
    barrier.wait(60)  # type: ignore[attr-defined]
    x = np.ones(5, np.float32)
    np.testing.assert_array_equal(activation.leaky_relu(-x, slope=0.5), -x / 2)


@needs_gxx
def test_two_processes_may_fill_the_cache_at_once(fresh_cache: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    barrier = spawn.Barrier(2)
    both = [spawn.Process(target=_fill, args=(barrier,)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(120)
    assert [process.exitcode for process in both] == [0, 0]
    assert not [p for p in fresh_cache.iterdir() if p.name.startswith("build-")]
