"""The emulation of CUDA: that it computes as a GPU, and that it sees what a GPU would not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cuda_tools import HEAD, SCHEDULES, as_tf32, from_bf16, kernel_of, needs_gxx, to_bf16
from minigan_kernels.cuda import activation
from minigan_kernels.cuda.emu import emulation
from minigan_kernels.cuda.errors import KernelError, UnavailableError
from minigan_kernels.cuda.launch import Kernel, blocks_for, dense, empty

pytestmark = needs_gxx


def run(kernel: Kernel, out: np.ndarray, *arguments: object, grid: int = 1) -> np.ndarray:
    """What the kernel writes, which must not depend on the order of warps."""
    results = []
    for schedule in SCHEDULES:
        with emulation(schedule):
            fresh = empty(out.shape, out.dtype, like=out)
            kernel((grid,), *arguments, fresh)
            results.append(fresh)
    assert len({r.tobytes() for r in results}) == 1, "the order of warps shows in the result"
    return results[0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(3,), (5, 103), (2, 3, 16, 16)])
def test_a_first_kernel(shape: tuple[int, ...], dtype: type) -> None:
    x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
    for image in (x, x.T):
        y = activation.leaky_relu(image, slope=0.2)
        np.testing.assert_array_equal(y, np.where(image > 0, image, dtype(0.2) * image))
        assert y.dtype == dtype


REVERSE = (
    HEAD
    + """kernel(const float* x, float* y) {
    struct Tile { float value[THREADS]; };
    SHARED(Tile, tile);
    tile.value[threadIdx.x] = x[blockIdx.x * THREADS + threadIdx.x];
    BARRIER
    y[blockIdx.x * THREADS + threadIdx.x] = tile.value[THREADS - 1 - threadIdx.x];
}"""
)


def test_threads_meet_at_barriers(tmp_path: Path) -> None:
    x = np.arange(200, dtype=np.float32)
    source = REVERSE.replace("BARRIER", "__syncthreads();")
    kernel = kernel_of(tmp_path, source, threads=100, shared=400)
    y = run(kernel, x, x, grid=2)
    np.testing.assert_array_equal(y, [*x[99::-1], *x[:99:-1]])


def test_a_missing_barrier_shows(tmp_path: Path) -> None:
    x = np.arange(200, dtype=np.float32)
    kernel = kernel_of(tmp_path, REVERSE.replace("BARRIER", ""), threads=100, shared=400)
    with pytest.raises(AssertionError, match="order of warps"):
        run(kernel, x, x, grid=2)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("if (threadIdx.x < 40) __syncthreads();", "deadlock"),
        ("if (threadIdx.x < 40) __syncwarp();", "deadlock"),
        ("if (threadIdx.x < 40)\n__syncthreads();\nelse\n__syncthreads();", "different"),
        ("y[0] = __shfl_sync(~0u, 1.0f, threadIdx.x + 40);", "no lane"),
        ("SHARED(Three, s); copy_async16((float*)s + 1, y, true);", "aligned"),
        ("SHARED(Three, s); copy_async16(s + 3, y, true);", "outside"),
        ("SHARED(Three, s); copy_async16(s, y, true);", "never committed"),
        ("SHARED(Four, s); y[0] = s[0].x;", "48 bytes of shared memory, the kernel uses 64"),
    ],
)
def test_a_broken_rule_is_named(tmp_path: Path, body: str, why: str) -> None:
    types = "using Three = float4[3];\nusing Four = float4[4];\n"
    source = f"{types}{HEAD}kernel(float* y) {{ {body} }}"
    kernel = kernel_of(tmp_path, source, threads=64, shared=48)
    with pytest.raises(KernelError, match=why):
        kernel((1,), np.zeros(64, np.float32))


def test_fibers_of_the_c_library(tmp_path: Path) -> None:
    x = np.arange(200, dtype=np.float32)
    source = REVERSE.replace("BARRIER", "__syncthreads();")
    kernel, y = kernel_of(tmp_path, source, threads=100, shared=400), np.empty_like(x)
    with emulation(portable=True):
        kernel((2,), x, y)
    np.testing.assert_array_equal(y, [*x[99::-1], *x[:99:-1]])


def test_a_kernel_may_be_called_as_a_function_of_the_c_library(tmp_path: Path) -> None:
    (tmp_path / "own.cu").write_text(HEAD + "wait(float* y) { y[threadIdx.x] = 1; }")
    kernel = Kernel("own", "wait", threads=4, folder=tmp_path)
    np.testing.assert_array_equal(run(kernel, np.zeros(4, np.float32)), 1)


def test_shuffles(tmp_path: Path) -> None:
    source = (
        HEAD
        + """kernel(const float* x, float* y) {
        float sum = x[threadIdx.x];
        for (int bit = 16; bit; bit /= 2) sum += __shfl_xor_sync(~0u, sum, bit);
        y[threadIdx.x] = sum + 1000 * __shfl_sync(~0u, x[threadIdx.x], 3);
    }"""
    )
    x = np.arange(64, dtype=np.float32)
    y = run(kernel_of(tmp_path, source, threads=64), x, x)
    sums = np.repeat(x.reshape(2, 32).sum(1) + 1000 * x[[3, 35]], 32)
    np.testing.assert_array_equal(y, sums)


COPIES = (
    HEAD
    + """kernel(const float4* x, float4* y) {
    struct Tile { float4 value[2][THREADS]; };
    SHARED(Tile, tile);
    const int i = threadIdx.x;
    for (int stage = 0; stage < 2; stage++) {
        copy_async16(&tile.value[stage][i], x + stage * THREADS + i, stage == 0 || i < 20);
        commit_copies();
    }
    wait_copies<LEFT>();
    y[i] = tile.value[0][i];
    wait_copies<0>();
    y[THREADS + i] = tile.value[1][i];
}"""
)


def test_asynchronous_copies(tmp_path: Path) -> None:
    x = np.arange(32 * 8, dtype=np.float32)
    kernel = kernel_of(tmp_path, COPIES.replace("LEFT", "1"), threads=32, shared=1024)
    y = run(kernel, x, x)
    np.testing.assert_array_equal(y[:208], x[:208])
    np.testing.assert_array_equal(y[208:], 0)


def test_a_copy_that_was_not_waited_for_is_not_there(tmp_path: Path) -> None:
    x = np.arange(32 * 8, dtype=np.float32)
    kernel = kernel_of(tmp_path, COPIES.replace("LEFT", "2"), threads=32, shared=1024)
    y = run(kernel, x, x)
    assert np.isnan(y[:128]).all()
    np.testing.assert_array_equal(y[128:208], x[128:208])


MMA = (
    HEAD
    + """kernel(const bf16* a, const bf16* b, float* d) {
    struct Tile { bf16 a[16][PITCH], b[16][PITCH]; };  // a (m, k), b (k, n)
    SHARED(Tile, tile);
    const int lane = threadIdx.x;
    for (int i = lane; i < 256; i += 32) {
        tile.a[i / 16][i % 16] = a[i];
        tile.b[i / 16][i % 16] = b[i];
    }
    __syncthreads();
    unsigned fa[4], fb[4];
    load_matrices(fa, &tile.a[lane % 16][lane / 16 * 8]);
    load_matrices_transposed(fb, &tile.b[lane % 16][lane / 16 * 8]);
    for (int half = 0; half < 2; half++) {
        float sum[4] = {};
        mma_bf16(sum, fa, fb + 2 * half);
        for (int i = 0; i < 4; i++)
            d[(lane / 4 + i / 2 * 8) * 16 + half * 8 + lane % 4 * 2 + i % 2] = sum[i];
    }
}"""
)


@pytest.mark.parametrize(("pitch", "conflicts"), [(16, 2), (24, 1), (64, 8)])
def test_tensor_cores_and_bank_conflicts(tmp_path: Path, pitch: int, conflicts: int) -> None:
    rng = np.random.default_rng(0)
    a, b = (to_bf16(rng.standard_normal((16, 16), np.float32)) for _ in range(2))
    source = MMA.replace("PITCH", str(pitch))
    kernel = kernel_of(tmp_path, source, threads=32, shared=2 * 16 * pitch * 2)
    with emulation() as seen:
        d = empty((16, 16), np.float32, like=a)
        kernel((1,), a, b, d)
    np.testing.assert_allclose(d, from_bf16(a).astype(float) @ from_bf16(b), atol=1e-5)
    assert seen.bank_conflicts == conflicts


def test_tf32_tensor_cores(tmp_path: Path) -> None:
    source = (
        HEAD
        + """kernel(const float* a, const float* b, float* d) {  // (16, 8), (8, 8)
        const int lane = threadIdx.x, g = lane / 4, t = lane % 4;
        unsigned fa[4], fb[2];
        for (int i = 0; i < 4; i++) fa[i] = to_tf32(a[(g + i % 2 * 8) * 8 + t + i / 2 * 4]);
        for (int i = 0; i < 2; i++) fb[i] = to_tf32(b[(t + i * 4) * 8 + g]);
        float sum[4] = {};
        mma_tf32(sum, fa, fb);
        for (int i = 0; i < 4; i++) d[(g + i / 2 * 8) * 8 + t * 2 + i % 2] = sum[i];
    }"""
    )
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((16, 8), np.float32), rng.standard_normal((8, 8), np.float32)
    d = run(kernel_of(tmp_path, source, threads=32), a, a, b)
    exact = as_tf32(a).astype(float) @ as_tf32(b)
    np.testing.assert_allclose(d.reshape(16, 8), exact, atol=1e-5)


def test_bfloat16_rounds_to_the_nearest(tmp_path: Path) -> None:
    source = HEAD + "kernel(const float* x, bf16* y) { y[threadIdx.x] = to_bf16(x[threadIdx.x]); }"
    bits = [0x3F800000, 0x3F808000, 0x3F818000, 0x3F808001, 0x7F7FFFFF, 0xFF800000, 0x7FC00001]
    x = np.array(bits, np.uint32).view(np.float32)
    y = run(kernel_of(tmp_path, source, threads=len(x)), np.empty(len(x), np.uint16), x)
    assert [f"{v:04x}" for v in y] == ["3f80", "3f80", "3f82", "3f81", "7f80", "ff80", "7fff"]


def test_source_that_does_not_compile_is_an_error_with_its_line(tmp_path: Path) -> None:
    kernel = kernel_of(tmp_path, HEAD + "kernel() { nonsense(); }", threads=32)
    with pytest.raises(KernelError, match=r"kernel.cu:3:.*nonsense"):
        kernel((1,))


def test_a_missing_compiler_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    kernel = Kernel("activation", "leaky_relu", threads=32, T="short", V=1)
    with pytest.raises(UnavailableError, match=r"needs the compiler g\+\+.*install"):
        kernel((1,), np.zeros(3))


def test_a_value_must_have_its_type_in_c() -> None:
    kernel = Kernel("activation", "leaky_relu", threads=32, T="float", V=1)
    with pytest.raises(TypeError, match=r"np\.float32"):
        kernel((1,), np.zeros(3, np.float32), 0.5)


def test_a_launch_of_nothing_does_nothing() -> None:
    x = np.zeros((0, 3), np.float32)
    assert activation.leaky_relu(x, slope=0.1).shape == (0, 3)
    assert blocks_for(0, 32) == (0,)
    assert dense(x.T).flags.c_contiguous
