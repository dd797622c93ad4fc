"""A bench as files: its data, and one page with a plot, which asks for nothing."""

import math
from dataclasses import dataclass
from pathlib import Path

from vampnet_onnx.configs.files import replacing, require_place

from .pages import page_environment
from .timings import Bench, Row
from .timings_text import UNCLEAR, beyond, grids, seconds, times, who

FILES = {"json": "bench.json", "html": "bench.html"}


@dataclass(frozen=True)
class Geometry:
    """Of the plot of ratios, in units of its view box.

    Attributes:
        row: height of a row for up to two marks.
        left: where the axis begins.
        over: height of the row's label over its marks; 0 puts it at their left.
    """

    width: float
    row: float
    left: float
    right: float
    over: float = 0
    top: float = 12


WIDE, NARROW = Geometry(760, 22, 250, 740), Geometry(360, 22, 8, 352, over=16)
_APART = 6.0  # marks of one row
_TICKS = 24.0  # ticks, at least


@dataclass(frozen=True)
class Mark:
    """A ratio in the plot: the dot, the ends of its interval, and what it says."""

    at: float
    low: float
    high: float
    y: float
    contestant: int
    clear: bool
    title: str


@dataclass(frozen=True)
class Axis:
    """The plot of ratios: labels of rows with their heights, marks, ticks."""

    at: Geometry
    height: float
    labels: list[tuple[float, str]]
    marks: list[Mark]
    ticks: list[tuple[float, str]]
    one: float


@dataclass(frozen=True)
class Bar:
    """A contestant's phases of a job, one after the other, as shares of the longest."""

    contestant: str
    told: str
    pieces: list[tuple[float, float, int, str]]


def write_bench(bench: Bench, folder: str | Path) -> Path:
    """Write ``bench.json`` and ``bench.html``; returns the page.

    Raises:
        InputError: the folder cannot be written.
    """
    folder = Path(folder)
    texts = {"json": bench.model_dump_json(indent=2) + "\n", "html": render_bench(bench)}
    for kind, text in texts.items():
        with replacing(folder / FILES[kind]) as temporary:
            temporary.write_bytes(text.encode("utf-8"))
    return folder / FILES["html"]


def require_bench_place(folder: str | Path) -> None:
    """Refuse a folder that a bench could not be written to, before the work.

    Raises:
        InputError: it cannot be made or written.
    """
    require_place(Path(folder), FILES.values())


def has_bench(folder: str | Path) -> bool:
    """Whether a bench is there already, which a new one takes the place of."""
    return any((Path(folder) / name).exists() for name in FILES.values())


def render_bench(bench: Bench) -> str:
    """Return a bench as a self-contained HTML page."""
    names = [one.name for one in bench.contestants]
    bars = {
        part: found
        for part in ("vamp", "export", "verify")
        if (found := phase_bars([row for row in bench.rows if row.part == part]))
    }
    return (
        page_environment()
        .get_template("bench.html")
        .render(
            bench=bench,
            grids=grids(bench),
            names=names,
            axes={
                "wide": ratio_axis(bench.rows, names),
                "narrow": ratio_axis(bench.rows, names, NARROW),
            },
            bars=bars,
            unclear=UNCLEAR,
            who=who,
            beyond=beyond(bench),
        )
    )


def ratio_axis(rows: list[Row], names: list[str], at: Geometry = WIDE) -> Axis | None:
    """Return every ratio on a logarithmic axis; None where there is none."""
    shown = [row for row in rows if any(timing.ratio for timing in row.timings)]
    found = [t.ratio for row in shown for t in row.timings if t.ratio is not None]
    if not found:
        return None
    low = min(1.0, *(ratio.low for ratio in found)) / 1.05
    high = max(1.0, *(ratio.high for ratio in found)) * 1.05

    def across(value: float) -> float:
        share = math.log(value / low) / math.log(high / low)
        return round(at.left + share * (at.right - at.left), 1)

    most = max(sum(timing.ratio is not None for timing in row.timings) for row in shown)
    height = at.over + at.row + _APART * max(0, most - 2)
    labels, marks = [], []
    for number, row in enumerate(shown):
        start = at.top + number * height
        y = start + at.over + (height - at.over) / 2
        labels.append((start + at.over / 2 if at.over else y, _label(row)))
        others = [timing for timing in row.timings if timing.ratio is not None]
        for place, timing in enumerate(others):
            ratio = timing.ratio
            assert ratio is not None
            marks.append(
                Mark(
                    at=across(ratio.value or math.sqrt(ratio.low * ratio.high)),
                    low=across(ratio.low),
                    high=across(ratio.high),
                    y=round(y + (place - (len(others) - 1) / 2) * _APART, 1),
                    contestant=names.index(timing.contestant),
                    clear=ratio.value is not None,
                    title=f"{_label(row)}, {timing.contestant}: {times(ratio)}",
                )
            )
    steps = (0.1, 0.2, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 20, 50, 100)
    ticks = list[tuple[float, str]]()
    for step in sorted(steps, key=lambda step: abs(math.log(step))):  # one is always there
        x = across(step)
        if low <= step <= high and all(abs(x - other) >= _TICKS for other, _ in ticks):
            ticks.append((x, f"{step:g}"))
    return Axis(at, at.top + len(shown) * height, labels, marks, ticks, across(1.0))


def phase_bars(rows: list[Row]) -> list[Bar]:
    """Return a bar a contestant of a job's phases, those of its total."""
    parts = {"open", "load", "prepare", "encode", "coarse", "c2f", "decode"}
    phases = [row for row in rows if row.what in parts]
    totals = [row for row in rows if row.what.endswith("total")]
    if not phases:
        return [
            Bar(
                f"{t.contestant}, {row.what}", seconds(t), [(0, t.seconds.median, 0, row.what)]
            )
            for row in totals
            for t in row.timings
        ]
    found = []
    for total in totals[0].timings if totals else []:
        at, pieces = 0.0, []
        for number, row in enumerate(phases):
            for timing in row.timings:
                if timing.contestant == total.contestant:
                    took = timing.seconds.median
                    pieces.append((at, took, number, f"{row.what} {seconds(timing)}"))
                    at += took
        found.append(Bar(total.contestant, seconds(total), pieces))
    return found


def _label(row: Row) -> str:
    if row.part != "components":
        return f"{row.part}: {row.what}"
    many = f" x {row.batch}" if row.batch > 1 else ""
    on = "1 core" if row.cores == 1 else f"{row.cores} cores"
    return f"{row.what} {row.audio_s:g} s{many}, {on}"
