"""What is printed: on any stream, in any encoding, window and order of words."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
from minigan_kernels.compiling import Compiling
from tiny import Shell

from minigan import gans, progress, terminal
from minigan.cli import main
from minigan.commands import console
from minigan.progress import NARROWEST, WIDEST, Progress, duration, fitted

HOSTILE = {
    "a\nb": "a\\nb",
    "a\r\tb": "a\\r\\tb",
    "\x1b[31mred\x1b]0;title\x07": "\\x1b[31mred\\x1b]0;title\\x07",
    "\x9b31m": "\\x9b31m",
    "photo\u202egnp.exe": "photo\\u202egnp.exe",  # the rest would be written backwards
    "a\u2066b\u2069c\u200fd": "a\\u2066b\\u2069c\\u200fd",
    "a\u2028b\u2029c\x85d": "a\\u2028b\\u2029c\\x85d",  # further line breaks
    os.fsdecode(b"caf\xe9"): "caf\\udce9",  # a name that is not UTF-8
    "zero\u200bwidth\ufeff\xad": "zero\\u200bwidth\\ufeff\\xad",
}
PLAIN = [
    "",
    "café Łukasz",
    "中文 日本語",
    "שלום",
    "مرحبا",
    "[red]$x^2$<b>",
    "a\u3000b\xa0c",
    "👍",
    "a\\nb",
]


class Terminal(io.StringIO):
    """A terminal that is only remembered."""

    encoding = "utf-8"  # type: ignore[assignment]

    def isatty(self) -> bool:
        return True


def narrow_stream(encoding: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding, newline="")


def written(stream: io.TextIOWrapper) -> str:
    stream.flush()
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue().decode(stream.encoding)


# --- Names ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "shown"), HOSTILE.items(), ids=ascii)
def test_what_a_terminal_would_obey_is_escaped(name: str, shown: str) -> None:
    assert terminal.visible(name) == shown
    assert terminal.visible(shown) == shown


@pytest.mark.parametrize("name", PLAIN, ids=ascii)
def test_letters_of_any_script_stay(name: str) -> None:
    assert terminal.visible(name) == name


@pytest.mark.parametrize("name", [*HOSTILE, *PLAIN], ids=ascii)
@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8", "utf-16", "shift_jis"])
@pytest.mark.parametrize("way", ["show", "say", "table", "progress"])
def test_every_name_is_one_line_in_every_encoding(
    monkeypatch: pytest.MonkeyPatch, encoding: str, name: str, way: str
) -> None:
    stream = narrow_stream(encoding)
    monkeypatch.setattr(sys, "stderr" if way in ("say", "progress") else "stdout", stream)
    if way == "show":
        console.show(Path(f"runs/{name}"))
    elif way == "say":
        console.say(f"training on {name}")
    elif way == "table":
        console.show_table(("name",), [(f"runs/{name}",)])
    else:
        with Progress(0, 1) as progress:
            progress.update(1, {name: 1.0})
    text = written(stream)
    assert text.endswith("\n")
    lines = text.removesuffix("\n").split("\n")
    assert len(lines) == (2 if way == "table" else 1)
    assert not set(text) & {"\x1b", "\x9b", "\u202e", "\r", "\u2028"}
    if name in PLAIN and encoding.startswith("utf"):
        assert name.strip() in text


@pytest.mark.parametrize("words", [["{}"], ["train", "{}"], ["sample", "{}"], ["data", "{}"]])
def test_an_error_about_a_hostile_name_is_one_line(shell: Shell, words: list[str]) -> None:
    name = "no\nsuch\x1b[2J\u202ething"
    sentence = shell.refuses(*(word.format(name) for word in words))
    assert not set(sentence) & set("\x1b\u202e")
    if words[0] != "data":
        assert "no\\nsuch\\x1b[2J\\u202ething" in sentence


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_run_whose_path_stdout_cannot_say_succeeds(
    shell: Shell, here: Path, digits: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    for stream in ("stdout", "stderr"):
        monkeypatch.setattr(sys, stream, narrow_stream(encoding))
    out = "runs Łukasz\u202e\n$x^2$ [red] 中"
    words = ["train", "gan", *tiny.FLAGS, "--data", str(digits), "--steps", "1", "--out", out]
    assert main(words) == 0
    assert isinstance(sys.stdout, io.TextIOWrapper)
    shown = written(sys.stdout).splitlines()
    assert [line.rpartition("/")[2] for line in shown] == ["step-000001.png", "report.html"]
    assert all("runs \\u0141ukasz\\u202e\\n$x^2$ [red] \\u4e2d" in line for line in shown)


# --- Streams that are closed ------------------------------------------------------------------


@pytest.mark.parametrize("closed", [("stdout",), ("stderr",), ("stdout", "stderr")], ids=str)
@pytest.mark.parametrize(
    "words", [["--version"], ["recipes"], ["train", "--help"], ["data", "list"], ["trian"], []]
)
def test_nothing_is_missed_without_a_stream(
    monkeypatch: pytest.MonkeyPatch, closed: tuple[str, ...], words: list[str]
) -> None:
    for name in closed:
        monkeypatch.setattr(sys, name, None)
    try:
        code = main(words)
    except SystemExit as stop:
        code = int(stop.code or 0)
    assert code == (2 if words == ["trian"] else 0)
    assert all(getattr(sys, name) is None for name in closed)  # as it was before


def test_lines_go_nowhere_without_a_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    console.say("something")
    console.show("something")
    console.show_table(("name",), [("value",)])
    with Progress(0, 1) as progress:
        progress.update(1, {})


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="a shell closes the stream")
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_run_with_closed_descriptors_is_whole(tmp_path: Path, digits: Path, closed: str) -> None:
    words = ["train", "gan", *tiny.FLAGS, "--data", str(digits), "--steps", "1", "--out", "run"]
    command = f'exec "$0" -m minigan "$@" {closed}'
    done = subprocess.run(
        ["sh", "-c", command, sys.executable, *words],
        cwd=tmp_path,
        env=tiny.environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert (
        main(["sample", str(tmp_path / "run"), "--count", "2"]) == 0
    )  # nothing was printed into it


# --- Terminals --------------------------------------------------------------------------------


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal of 100 columns, which pytest would take back before the test begins."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    return Terminal()


def progress_on(stream: Terminal) -> str:
    with contextlib.redirect_stderr(stream), Progress(0, 2, every=0) as progress:
        progress.update(1, {"loss": 1.0})
        progress.update(2, {"[red]": 2.0})
    return stream.getvalue()


def test_a_terminal_gets_a_bar(wide: Terminal) -> None:
    text = progress_on(wide)
    assert "\x1b[" in text
    assert "steps/s" in text
    assert "[red] 2" in text  # no markup


@pytest.mark.parametrize(
    ("variable", "value"),
    [("TERM", "dumb"), ("TERM", "unknown"), ("COLUMNS", "5"), ("COLUMNS", "1")],
)
def test_a_terminal_without_cursor_or_room_gets_lines(
    wide: Terminal, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    lines = progress_on(wide).splitlines()
    assert [line.split()[1] for line in lines] == ["1/2", "2/2"]
    assert not any("\x1b" in line for line in lines)


@pytest.mark.parametrize("width", ["1", "2", "3", "4", "5", "6", "39", "0", "-7", "wide", ""])
@pytest.mark.parametrize(
    "words", [["train", "gan", "--help"], ["evaluate", "--help"], ["train", "gan", "--steps", "x"]]
)
def test_help_ends_in_any_window(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, words: list[str], width: str
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    answer = shell(*words)
    assert answer.code == (0 if "--help" in words else 2)
    assert os.environ["COLUMNS"] == width


@pytest.mark.parametrize("name", gans.names())
def test_the_help_of_every_recipe_ends_in_a_narrow_window(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("COLUMNS", "1")
    assert "--steps" in shell.succeeds("train", name, "--help").out


@pytest.mark.parametrize("width", ["1", "3", "5", "80"])
@pytest.mark.parametrize("words", [["recipes"], ["data", "list"]])
def test_tables_end_in_any_window(
    monkeypatch: pytest.MonkeyPatch, words: list[str], width: str
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert main(words) == 0
    assert isinstance(sys.stdout, Terminal)
    assert len(sys.stdout.getvalue().splitlines()) > 5


COLOUR = re.compile(r"\x1b\[([0-9;]*)m")


def colours(text: str) -> list[str]:
    """The codes in `text` that choose a colour."""
    return [c for c in COLOUR.findall(text) if any(p and 30 <= int(p) <= 107 for p in c.split(";"))]


@pytest.mark.parametrize("words", [["train", "--help"], ["recipes"], ["doctor", "--help"]])
@pytest.mark.parametrize(("no_colour", "any_left"), [("1", False), ("", True), (None, True)])
def test_no_color_means_no_colour(
    monkeypatch: pytest.MonkeyPatch,
    wide: Terminal,
    words: list[str],
    no_colour: str | None,
    any_left: bool,
) -> None:
    if no_colour is not None:
        monkeypatch.setenv("NO_COLOR", no_colour)
    monkeypatch.setattr(sys, "stdout", wide)
    with contextlib.suppress(SystemExit):
        main(words)
    text = wide.getvalue()
    assert bool(colours(text)) == (any_left and words != ["recipes"])  # whose table has none


@pytest.mark.parametrize("name", ["FORCE_COLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE"])
def test_a_file_gets_no_codes(shell: Shell, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "1")
    for words in (["train", "--help"], ["recipes"]):
        assert "\x1b" not in shell.succeeds(*words).out


def test_no_color_holds_for_the_bar(monkeypatch: pytest.MonkeyPatch, wide: Terminal) -> None:
    assert colours(progress_on(wide))
    monkeypatch.setenv("NO_COLOR", "1")
    without = progress_on(Terminal())
    assert "steps/s" in without
    assert not colours(without)


# --- Bars -------------------------------------------------------------------------------------

FACTS = ["1234/20000", "1 h 05 min left"]
MORE = ["9.4 steps/s", "loss_D 1.29 ", "D(x) 0.488", "D(G(z)) 0.433", "loss_G 0.848"]


@pytest.mark.parametrize("name", ["", "training the classifier"])
@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 200])
def test_a_bar_keeps_count_and_time_left_in_any_window(width: int, name: str) -> None:
    before, bar, text = fitted(width, name, FACTS, MORE)
    assert len(before) + bar + 2 + len(text) <= width
    shown = text.split("  ")
    assert shown[:2] == FACTS
    assert [word.strip() for word in shown[2:] if word] == [m.strip() for m in MORE][
        : len(shown) - 2
    ]
    assert NARROWEST <= bar <= WIDEST
    assert before.strip() == (name if width >= 60 else "")
    if width == 200:
        assert bar == WIDEST
        assert text.endswith(MORE[-1])


def test_what_fits_nowhere_is_left_out() -> None:
    assert fitted(10, "name", FACTS, MORE) == ("", 0, "  ".join(FACTS))
    assert fitted(40, "", ["0/9", ""], []) == ("", 24, "0/9")


class Clock:
    """A clock that is set by hand."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


def test_compiling_is_in_neither_the_rate_nor_the_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock, compiling = Clock(), Compiling()
    monkeypatch.setattr(progress, "time", clock)
    monkeypatch.setattr(progress, "COMPILING", compiling)
    monkeypatch.setattr(Compiling, "seconds", lambda self: 50.0 * len(self.names))
    with Progress(0, 4, name="drawing", unit="images", every=0) as job:
        assert (job.rate(), job.left()) == ("", "")
        compiling.names.append("kernel")
        clock.now += 52
        job.update(1, {})
        compiling.names.append("kernel")  # while this one is compiled, the numbers stay
        assert (job.rate(), job.left()) == ("2.0 s/image", "6 s left")
        clock.now += 51
        job.update(2, {"loss": 0.5})
        clock.now += 1
        job.update(4, {})
    assert capsys.readouterr().err.splitlines() == [
        "drawing 1/4  2.0 s/image  6 s left",
        "drawing 2/4  1.5 s/image  3 s left  loss 0.5",
        "drawing 4/4  1.0 images/s  in 1 min 44 s, 1 min 40 s of it compiling",
    ]


def test_a_bar_shows_what_is_compiled(wide: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    compiling = Compiling()
    monkeypatch.setattr(progress, "COMPILING", compiling)
    with contextlib.redirect_stderr(wide), Progress(0, 2, name="drawing") as job:
        assert compiling.watched
        compiling.begin("conv")
        job.bar.refresh()
        compiling.end()
        job.update(2, {})
    assert not compiling.watched
    assert "compiling kernel 1, 0 s so far" in wide.getvalue()
    assert "drawing" in wide.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.6, "1 min 00 s"), (125, "2 min 05 s"), (7384, "2 h 03 min")],
)
def test_a_duration_is_read_at_a_glance(seconds: float, text: str) -> None:
    assert duration(seconds) == text


# --- The order of the words -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["train", "--data", "ring", "gan", "--steps", "1"], ["minigan train gan", "first"]),
        (["train", "--hidden", "3", "WGAN-gp"], ["minigan train WGAN-gp", "first"]),
        (["train", "--data", "ring", "./own.py"], ["minigan train ./own.py", "first"]),
        (["train", "--resume", "--out", "run", "gan", "wgan"], ["minigan train gan", "first"]),
        (["train", "DCGAN"], ["did you mean dcgan?"]),
        (["train", "WGAN-GP2"], ["did you mean wgan_gp?"]),
        (["train", "stylegan"], ["there are began, bigan"]),
        (["train", "gan", "--batchsize", "3"], ["did you mean --batch-size?"]),
        (["train", "gan", "--learning-rate", "3"], ["--lr"]),
        (["run"], ["there are train"]),
        (["TRAIN"], ["did you mean train?"]),
        (["--steps", "3", "train"], ["minigan train", "first"]),
        (["sample", "--count", "3", "run"], ["minigan sample RUN", "first"]),
        (["evaluate", "--count", "3", "run"], ["minigan evaluate RUN", "first"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_words_in_the_wrong_order_are_told_their_place(
    shell: Shell, here: Path, words: list[str], says: list[str]
) -> None:
    shell.refuses(*words, says=tuple(says))
    assert tiny.tree(here) == {}
