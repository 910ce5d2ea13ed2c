"""The tables of part `gpu`."""

from __future__ import annotations

from .gpu_checks import Row
from .table import digits, duration
from .table import show as print_table

MET = {None: "not measured", True: "met", False: "missed"}


def show(result: Row) -> None:
    """Print them all."""
    about = result.get("about", {})
    title = f"Checks on {about.get('gpu', 'no GPU')}, driver {about.get('driver', '-')}"
    late, absent = (", ".join(result[key]) for key in ("left_out", "absent"))
    notes = [f"not installed: {absent}"] if absent else []
    notes += [f"left out, because the time was over: {late}"] if late else []
    print_table(
        title, ("", "right", "wrong", ""), [_check(r) for r in result["rows"]], "\n".join(notes)
    )
    _rounds(result["rounds"])
    columns = ["", "precision", "minigan", "to cuDNN", "TFLOP/s", "of the roof"]
    print_table("Its convolutions", columns, [_layer(row) for row in result["layers"]])
    columns = ["", "time", "TFLOP/s", "of the roof"]
    rows = [[r["step"], *_rate(r, "tflops")] for r in result["ladder"]]
    print_table("A convolution in steps", columns, rows)
    rows = [[r["pass"], *_rate(r, "gbytes")] for r in result["passes"]]
    print_table("Passes over memory", ("", "time", "GB/s", "of a copy"), rows)
    print_table("Goals", ("", "wanted", "reached", ""), [_goal(row) for row in result["goals"]])


def _rounds(rows: list[Row]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row["times"]))
    cells = [[row["precision"], *(_time(row["times"].get(name)) for name in names)] for row in rows]
    absent = [
        f"{name} in {row['precision']}: {why}"
        for row in rows
        for name, why in row["absent"].items()
    ]
    print_table("A round of a DCGAN", ("", *names), cells, "\n".join(absent))


def _check(row: Row) -> list[str]:
    wrong = f"{row['wrong']} of {row['of']:,}" if "of" in row else ""
    return [row["check"], "yes" if row["right"] else "NO", wrong, row.get("says", "")]


def _layer(row: Row) -> list[str]:
    name = f"{row['layer']} {row['planes']} {row['direction']}"
    ratio = "-" if row["cudnn"] is None else f"{digits(row['cudnn'] / row['seconds'])}x"
    took, rate, share = _rate(row, "tflops")
    return [name, row["precision"], took, ratio, rate, share]


def _rate(row: Row, unit: str) -> list[str]:
    share = "-" if row["roof"] is None else f"{100 * row['roof']:.0f} %"
    return [duration(row["seconds"]), digits(row[unit]), share]


def _goal(row: Row) -> list[str]:
    reached = "-" if row["reached"] is None else f"{row['reached']:.3g}"
    return [row["goal"], f"{row['wanted']:g}", reached, MET[row["met"]]]


def _time(seconds: float | None) -> str:
    return "-" if seconds is None else duration(seconds)
