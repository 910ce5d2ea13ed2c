"""The notebooks in examples/ run as they are, and a notebook can be interrupted."""

from __future__ import annotations

import queue
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parents[2] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which a kernel leaves what it leaves; each run in it takes a few steps."""
    monkeypatch.setenv("STEPS", "3")
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "MPLCONFIGDIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    (tmp_path / "here").mkdir()
    return tmp_path / "here"


def executed(name: str, folder: Path) -> Any:
    notebook = nbformat.read(EXAMPLES / name, 4)
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources).execute()
    return notebook


def outputs(notebook: Any) -> Iterator[Any]:
    for cell in notebook.cells:
        yield from cell.get("outputs", [])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_what_it_showed(path: Path) -> None:
    """Pictures, times and folders of whoever ran it last would change with every run."""
    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    assert path.stat().st_size < 30_000
    for cell in notebook.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
        assert max(map(len, cell.source.splitlines() if cell.cell_type == "code" else [""])) <= 110


def test_there_are_two_notebooks() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["a-gan-in-an-afternoon", "from-pytorch"]


@pytest.mark.slow
def test_a_gan_in_an_afternoon(alone: Path) -> None:
    found = list(outputs(executed("a-gan-in-an-afternoon.ipynb", alone)))
    runs = sorted(path.name for path in (alone / "runs").iterdir())
    assert runs == ["LSGAN-arrays-1", "dcgan-glyphs-1", "gan-ring-1"]
    data = [output.data for output in found if "data" in output]
    assert len([d for d in data if "image/png" in d]) >= 7
    bars = [d["text/html"] for d in data if "<progress" in d.get("text/html", "")]
    assert len(bars) == 4
    assert all("step 3/3" in bar or "step 9/9" in bar or "step 5/5" in bar for bar in bars)
    assert any("<iframe" in d.get("text/html", "") for d in data)
    said = "".join(output.text for output in found if output.get("name") == "stdout")
    assert re.search(r"^D: loss .*\nG: loss ", said, re.MULTILINE)


def test_from_pytorch(alone: Path) -> None:
    notebook = executed("from-pytorch.ipynb", alone)
    pages = [output.data.get("text/html", "") for output in outputs(notebook) if "data" in output]
    rows = [row for page in pages for row in re.findall(r"<tr style=.*?</tr>", page, re.DOTALL)]
    assert len(rows) > 60
    written = sum(cell.source.count(" | ") for cell in notebook.cells if "table(" in cell.source)
    assert len(rows) == written
    sentences = notebook.cells[-1].outputs[0].text.splitlines()
    assert len(sentences) == 8
    assert "minigan.grad(loss, net.parameters())" in sentences[0]


@pytest.mark.slow
def test_the_stop_button_keeps_the_checkpoint(alone: Path) -> None:
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(cwd=str(alone))
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        small = "hidden=8, units=6, latent_size=5, batch_size=4"
        client.execute(
            "import minigan as mg\n"
            f"run = mg.train('gan', data='ring', steps=10**6, sample_every=10**6, {small})"
        )
        limit = time.monotonic() + 120
        while "step 0/" in (shown := _next_display(client, limit)) or "/1000000" not in shown:
            pass
        manager.interrupt_kernel()
        assert client.get_shell_msg(timeout=60)["content"]["status"] == "ok"
        said: list[str] = []
        client.execute_interactive(
            "print(run.interrupted, run.step, *run.path.glob('checkpoints/*'))",
            output_hook=lambda message: said.append(message["content"].get("text", "")),
            timeout=60,
        )
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    interrupted, step, *files = "".join(said).split()
    assert interrupted == "True"
    assert f"runs/gan-ring-1/checkpoints/step-{int(step):06d}.safetensors" in files


def _next_display(client: Any, limit: float) -> str:
    """The text that a display shows next."""
    while time.monotonic() < limit:
        try:
            message = client.get_iopub_msg(timeout=1)
        except queue.Empty:
            continue
        if message["msg_type"] in ("display_data", "update_display_data"):
            return str(message["content"]["data"].get("text/plain", ""))
        assert message["msg_type"] != "error", message["content"]
    raise AssertionError("nothing was shown in time")
