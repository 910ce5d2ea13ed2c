"""`minigan export`: the generator alone, as a file that is read without minigan."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import tiny
from tiny import Shell

from minigan import gans, weights
from minigan.commands.open_run import open_trained
from minigan.tensor import Tensor, no_grad


@pytest.fixture(scope="module")
def averaging(tmp_path_factory: pytest.TempPathFactory, digits: Path) -> Path:
    """A run whose samples come from an average of G."""
    from minigan.cli import main

    out = tmp_path_factory.mktemp("averaging") / "run"
    words = ["train", "gan", *tiny.FLAGS, "--data", str(digits), "--steps", "3", "--ema", "0.5"]
    assert main([*words, "--out", str(out)]) == 0
    return out


@pytest.mark.parametrize("name", ["finished", "averaging"])
def test_what_is_exported_draws_the_same_samples(
    name: str, shell: Shell, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    run = Path(shutil.copytree(request.getfixturevalue(name), tmp_path / "run"))
    answer = shell.succeeds("export", run)
    assert answer.out == f"{run / 'G.safetensors'}\n"
    trained, found = open_trained(run)
    z = trained.recipe.latent(trained.rng, 3)
    recipe = gans.load("gan")(**found.config["hyper_parameters"])
    G = recipe.players(trained.rng, found.data.shape)["G"]
    assert G.load_state_dict(weights.load(run / "G.safetensors")) == ([], [])
    with G.evaluating(), no_grad():
        np.testing.assert_array_equal(G(Tensor(z)).numpy(), trained.samples(z))
    _, facts = weights.read(run / "G.safetensors")
    assert facts["player"] == ("average" if name == "averaging" else "G")
    assert facts["recipe"] == "gan"
    assert facts["step"] == trained.step
    assert facts["hyper_parameters"] == found.config["hyper_parameters"]
    assert facts["data"]["shape"] == [1, 8, 8]


def test_the_suffix_chooses_and_nothing_is_overwritten(
    shell: Shell, run: Path, tmp_path: Path
) -> None:
    for name in ("new/g.safetensors", "new/g.npz", "new/d.npz"):
        player = ["--player", "D"] if "d." in name else []
        shell.succeeds("export", run, "--out", tmp_path / name, *player)
    wanted = safetensors.numpy.load_file(tmp_path / "new/g.safetensors")
    with np.load(tmp_path / "new/g.npz") as found, np.load(tmp_path / "new/d.npz") as other:
        assert set(found) == set(wanted)
        assert set(other) != set(wanted)
        for name, array in wanted.items():
            np.testing.assert_array_equal(found[name], array)
    before = tiny.tree(tmp_path)
    out = tmp_path / "new" / "g.npz"
    shell.refuses("export", run, "--out", out, says=(str(out), "there already", "--overwrite"))
    assert tiny.tree(tmp_path) == before
    shell.succeeds("export", run, "--out", out, "--player", "D", "--overwrite")
    assert out.read_bytes() == (tmp_path / "new/d.npz").read_bytes()


def test_what_is_refused(shell: Shell, run: Path, tmp_path: Path) -> None:
    before = tiny.tree(run)
    shell.refuses("export", run, "--out", tmp_path / "g.pth", says=("g.pth", "g.safetensors"))
    shell.refuses("export", run, "--player", "F", says=("no player F", "there are G, D"))
    shell.refuses("export", run, "--out", run / "samples", says=("samples", "there already"))
    inside = run / "config.json" / "g.npz"
    shell.refuses("export", run, "--out", inside, says=("config.json", "another --out"))
    shell.refuses("export", says=("minigan export RUN",))
    shell.refuses("export", tmp_path / "no", says=("not a run directory",))
    assert tiny.tree(run) == before


def test_the_step_chooses_the_checkpoint(shell: Shell, run: Path, tmp_path: Path) -> None:
    for step in ("1", "2"):
        shell.succeeds("export", run, "--step", step, "--out", tmp_path / f"{step}.npz")
        shell.succeeds("export", run, "--step", step, "--out", tmp_path / f"{step}.safetensors")
        assert weights.read(tmp_path / f"{step}.safetensors")[1]["step"] == int(step)
    first, last = (weights.load(tmp_path / f"{step}.npz") for step in ("1", "2"))
    assert any((first[name] != last[name]).any() for name in first)
    shell.refuses("export", run, "--step", "7", says=("step 7", "1, 2"))
