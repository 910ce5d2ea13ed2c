"""What a run must record of algorithms that were tuned or forced."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import minigan_kernels as kernels
import pytest
from minigan_kernels.checks import Window
from minigan_kernels.cpu.conv import select

LAYER = ((64, 64, 32, 32), (64, 64, 32, 32), Window((3, 3), padding=(1, 1)), 1)


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where choices are kept: a folder of their own, in which there are none."""
    monkeypatch.setattr(select, "cache_folder", lambda: tmp_path / "kernels")
    for name in kernels._VARIABLES:
        monkeypatch.delenv(name, raising=False)
    select.cache_clear()
    yield tmp_path / "kernels" / "choices.json"
    select.cache_clear()


def test_nothing_is_chosen_where_each_layer_goes_by_the_rule() -> None:
    assert kernels.choices() == {}


def test_what_was_tuned_is_named_with_its_layer_and_forgotten_with_it() -> None:
    select.remember("conv2d", *LAYER, "direct")
    found = kernels.choices()
    assert found == select.remembered()
    assert list(found.values()) == ["direct"]
    assert json.loads(json.dumps(found)) == found
    select.remember("conv2d", *LAYER, "im2col")
    assert kernels.choices() != found
    select.forget()
    assert kernels.choices() == {}


def test_what_was_tuned_for_other_vectors_changes_nothing_here(file: Path) -> None:
    select.remember("conv2d", *LAYER, "direct")
    file.write_text(file.read_text().replace(f"{select.LANES} lanes", "3 lanes"))
    select.cache_clear()
    assert len(select.remembered()) == 1
    assert kernels.choices() == {}


def test_variables_that_overrule_the_cpu_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIGAN_LANES", "8")
    monkeypatch.setenv("MINIGAN_AMX", "1")  # the default
    assert kernels.choices() == {"MINIGAN_LANES": "8"}
    monkeypatch.setenv("MINIGAN_AMX", "0")
    assert kernels.choices() == {"MINIGAN_AMX": "0", "MINIGAN_LANES": "8"}
    monkeypatch.setenv("NUMBA_CPU_FEATURES", "-avx512f")
    assert kernels.choices()["NUMBA_CPU_FEATURES"] == "-avx512f"


@pytest.mark.parametrize("name", ["winograd2", "reference"])
def test_what_is_forced_is_named_within_its_block(name: str) -> None:
    with kernels.use(name):
        assert kernels.choices() == {"use": name}
    assert kernels.choices() == {}
