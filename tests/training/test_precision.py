"""`--precision`: what a GPU multiplies in; the run itself stays in float32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import tiny
from cuda_tools import Emulated, needs_gxx
from minigan_kernels.cuda import tiling
from tiny import Shell

from minigan.device import cuda, to_host
from minigan.errors import RunError, UserError
from minigan.training.run import Run


class Listening(Emulated):
    """Computes on the CPU, and notes in which precision a GPU would."""

    heard: ClassVar[list[str]] = []

    @contextmanager
    def context(self) -> Iterator[None]:
        with super(Emulated, self).context():  # without emulation
            self.heard.append(tiling._precision.get())
            yield


def all_arrays(run: Any) -> dict[str, np.ndarray]:
    return {name: to_host(array) for name, array in run._arrays().items()}


@needs_gxx
def test_a_precision_is_that_of_products_and_of_nothing_else() -> None:
    losses, drawn = {}, {}
    for precision in tiling.PRECISIONS:
        state = tiny.state(
            "gan", device=Emulated(precision), hidden=16, units=16, init_g=1.0, init_d=0.3
        )
        drawn[precision] = state.samples(np.ones((2, 5), np.float32))
        losses[precision] = state.advance()["loss_D"]
        kept = all_arrays(state)
        assert {a.dtype for name, a in kept.items() if not name.endswith("/steps")} == {
            np.dtype(np.float32)
        }
        assert tiling.current_precision() == "float32"  # outside of the run
    for other in ("tf32", "bfloat16"):
        assert losses[other] != losses["float32"]
        np.testing.assert_allclose(losses[other], losses["float32"], rtol=0.02)
        assert (drawn[other] != drawn["float32"]).any()
    assert losses["tf32"] != losses["bfloat16"]


def test_a_resumed_run_keeps_its_precision(
    shell: Shell, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda, "Cuda", Listening)
    monkeypatch.setattr(cuda, "diagnose", lambda found: None)

    def heard(*words: str | Path) -> set[str]:
        Listening.heard.clear()
        shell.succeeds(*words)
        return set(Listening.heard)

    words = ["train", "gan", *tiny.FLAGS, "--data", digits, "--init-g", "1", "--device", "cuda"]
    run = tmp_path / "run"
    begin = [*words, "--precision", "bfloat16", "--deterministic", "--steps", "1", "--out", run]
    assert heard(*begin) == {"bfloat16"}
    more = ["train", "--resume", "--out", run, "--more", "1"]
    assert heard(*more) == {"bfloat16"}
    config = Run.open(run).config
    assert (config["device"], config["precision"], config["deterministic"]) == (
        "cuda", "bfloat16", True,
    )  # fmt: skip
    assert heard("sample", run, "--device", "cuda", "--precision", "tf32") == {"tf32"}

    more += ["--device", "cpu"]
    shell.refuses(*more, says=("--precision bfloat16", "say --device cuda, or --precision float32"))
    assert heard(*more, "--precision", "float32") == set()
    config = Run.open(run).config
    assert (config["device"], config["precision"]) == ("cpu", "float32")
    shell.refuses(*more, "--deterministic", says=("keeps its --deterministic",))


@pytest.mark.parametrize("words", [["train", "gan"], ["sample", "RUN"], ["evaluate", "RUN"]])
def test_the_cpu_refuses_what_only_a_gpu_does(shell: Shell, run: Path, words: list[str]) -> None:
    before = tiny.tree(run)
    words = [str(run) if word == "RUN" else word for word in words]
    shell.refuses(*words, "--precision", "tf32", says=("--precision tf32", "--device cpu"))
    shell.refuses(*words, "--precision", "fp8", says=("--precision", "'fp8'"))
    assert tiny.tree(run) == before
    with pytest.raises(UserError, match="bfloat16"):
        cuda.device("cpu", "bfloat16")


def test_a_run_from_before_there_was_a_choice_goes_on(shell: Shell, run: Path) -> None:
    opened = Run.open(run)
    del opened.config["precision"]
    opened.write_config()
    again = ["train", "--resume", "--out", run, "--steps", "1"]
    shell.refuses(*again, says=("is at step 2 already",))  # and nothing before that


def test_a_loss_that_is_not_finite_says_how_it_is_looked_into() -> None:
    state = tiny.state("gan", tiny.images((1, 8, 8)), device=Emulated("tf32"))
    with pytest.raises(RunError, match=r"--device cpu --precision float32$"):
        state._check("D", np.inf, {})
