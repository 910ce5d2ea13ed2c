"""The command line: `python -m bench PART`, or `minigan bench PART`."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from .settings import Settings, exit_code, say
from .threads import limit, processors

ROOT = Path(__file__).resolve().parents[1]
PARTS = {
    "kernels": "every convolution of a DCGAN in each direction, and the passes over memory",
    "steps": "whole training steps of four GANs, and their memory",
    "growth": "how a step's time grows with batch, width, resolution and threads",
    "ladder": "what each idea in the kernels bought",
    "overhead": "the engine's own cost, in microseconds an operation",
    "endurance": "whether 2,000 steps make memory or time grow: an hour",
}
OTHERS = {
    "all": "all of these but endurance, steps also on one thread: half an hour",
    "gpu": "a CUDA card: whether it computes right, then how fast, beside PyTorch: ten minutes",
    "tune": "let measurement choose the algorithm of each layer of a DCGAN, from now on",
    "readme": "draw the pictures and write the tables of bench/README.md and the README",
}
# Parts that have flags of their own.
APART = {
    "pictures": "how long a start with a folder of pictures takes, and its memory",
    "same-bytes": "whether another checkout trains to the same bytes: same-bytes CHECKOUT",
    "same-speed": "whether another checkout takes steps as fast: same-speed CHECKOUT",
    "pictures-step": "steps of five recipes on colour pictures, their memory and layers",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the answer is its exit code, as minigan's."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if words and words[0] in APART:
            part = importlib.import_module(f".{words[0].replace('-', '_')}", __package__)
            return int(part.main(words[1:]))
        options = _parse(words)
        # Not limited itself: its children would take what is left for the whole machine.
        return _all(options) if options.part == "all" else _one(options)
    except KeyboardInterrupt:
        return 130


def _one(options: argparse.Namespace) -> int:
    """A part in this process, on as many threads as were asked for."""
    cores = len(processors())  # before `limit` takes some away
    threads = options.threads or cores
    limit(threads)  # before NumPy and everything else comes in
    return exit_code(lambda: _part(options, threads, cores))


def _part(options: argparse.Namespace, threads: int, cores: int) -> int:
    if options.part == "readme":
        return _readme()
    settings = Settings(threads, options.quick)
    if options.algorithms is not None:
        _register(options.algorithms)
    if options.part == "gpu":
        return _gpu(settings, cores, options.out)
    if options.part == "tune":
        return _tune(settings, options.forget)
    _measure(options.part, settings, cores, options.out)
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parts = "\n".join(f"  {name:10} {text}" for name, text in (PARTS | OTHERS | APART).items())
    parser = argparse.ArgumentParser(
        prog="minigan bench",
        usage="minigan bench PART [flags]",
        description=f"Measure minigan beside its peers, in turns.\n\nparts:\n{parts}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("part", choices=[*PARTS, *OTHERS], metavar="PART", help="what to do")
    parser.add_argument(
        "--threads", type=int, help="threads for everybody; one a core if not given"
    )
    parser.add_argument(
        "--quick", action="store_true", help="small networks for a moment each; only with --out"
    )
    parser.add_argument(
        "--forget", action="store_true", help="tune: go by the planner's rule again"
    )
    parser.add_argument(
        "--algorithms", type=_absolute, metavar="FILE",
        help="kernels, tune: a Python file of your own, which registers algorithms",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=_absolute, help="folder for the results; bench/results if not given"
    )
    options = parser.parse_args(arguments)
    if options.threads is not None and not 1 <= options.threads <= len(processors()):
        parser.error(f"--threads must be from 1 to {len(processors())}, the cores of this process")
    if options.algorithms is not None and options.part not in ("kernels", "tune"):
        parser.error("--algorithms is for kernels and tune, which measure algorithms")
    if options.algorithms is not None and options.part == "kernels" and options.out is None:
        parser.error("--algorithms measures more than is kept here; say with --out where it goes")
    if options.quick and options.part == "tune":
        parser.error("--quick measures nothing worth remembering; say tune without it")
    if options.quick and options.out is None and options.part != "readme":
        parser.error("--quick measures nothing worth keeping; say with --out where it goes")
    return options


def _absolute(path: str) -> Path:
    return Path(path).resolve()


def _register(path: Path) -> None:
    """Run the user's file, which registers algorithms.

    Raises:
        UserError: if there is no such file, or it registers none.
    """
    from minigan_kernels.algorithms import registered

    from minigan.errors import UserError

    if not path.is_file():
        raise UserError(f"there is no file {path}; --algorithms names one that registers some")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path} is no Python file; --algorithms names one, such as conv.py")
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    if not registered:
        raise UserError(f"{path} registers no algorithm; call minigan_kernels.register in it")
    say(f"registered: {', '.join(registered)}")


def _gpu(settings: Settings, cores: int, out: Path | None) -> int:
    """Measure the card, print, save; 1 if it computes anything wrong."""
    from . import gpu, results

    result = results.complete("gpu", settings, cores, lambda: gpu.on_gpu(settings.quick))
    gpu.show(result)
    say(f"{results.save('gpu', result, out or results.FOLDER)}, after {result['seconds']:.0f} s")
    return 0 if gpu.right(result) else 1


def _measure(part: str, settings: Settings, cores: int, out: Path | None) -> None:
    """Measure, print, save, draw."""
    from . import plots, results
    from .timing import Clock

    if Clock().others() is None:
        say("this system does not say what others use of the cores: no sample is rejected")
    module: ModuleType = importlib.import_module(f".{part}", __package__)
    result = results.complete(part, settings, cores, lambda: module.measure(settings))
    module.show(result)
    folder = out or results.FOLDER
    name = part if settings.threads == cores else f"{part}-{settings.threads}"
    if result["machine"]["vectors"].endswith("idle"):
        name += "-vectors"
    say(f"{results.save(name, result, folder)}, after {result['seconds']:.0f} s")
    if name == part and (picture := plots.draw(result, folder)):
        say(str(picture))


def _all(options: argparse.Namespace) -> int:
    """Every part in a process of its own, so that none begins with another's memory."""
    flags = ["--quick"] if options.quick else []
    flags += ["--out", str(options.out)] if options.out else []
    threads = options.threads or len(processors())
    runs = [[part, "--threads", str(threads)] for part in PARTS if part != "endurance"]
    if threads > 1:
        runs.append(["steps", "--threads", "1"])
    for words in runs:
        code = subprocess.call([sys.executable, "-m", "bench", *words, *flags], cwd=ROOT)
        if code:
            return code
    return 0


def _tune(settings: Settings, forget: bool) -> int:
    from minigan_kernels.cpu.conv import select

    from .tune import tune

    if forget:
        select.forget()
        say("each layer goes by the rule again")
    else:
        tune(settings)
    return 0


def _readme() -> int:
    from . import plots, readme, results

    for part in plots.DRAWN:
        if (result := results.load(part)) is not None:
            plots.draw(result, results.FOLDER)
    readme.rewrite()
    return 0


if __name__ == "__main__":
    sys.exit(main())
