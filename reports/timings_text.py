"""How a bench is told in words: times, ratios, shares; and the tables of its parts."""

from collections.abc import Iterator
from dataclasses import dataclass

from .timings import Bench, Contender, Ratio, Row, Timing

UNCLEAR = "no difference measured"
_MANY = 100  # rounds; of more nobody wants to know how many
BEYOND = (
    "of sgemm counts operations of the float32 network against a float32 product of 1024 x"
    " 1024: more than 100 % is arithmetic in fewer bits, or products of a better shape"
)

PARTS = {
    "components": "Networks and the pipeline's steps",
    "vamp": "A variation of ten seconds, from files to audio",
    "export": "Export, of unknown and of known dimensions",
    "verify": "Verify, over the cases of one seed",
}


@dataclass(frozen=True)
class Grid:
    """A table: titles of its columns, and rows of texts; a new thing has one at its left."""

    part: str
    title: str
    columns: list[str]
    rows: list[list[str]]


def grids(bench: Bench) -> list[Grid]:
    """Return the tables of a bench, one a part, with a line a contestant."""
    first = bench.contestants[0].name
    last = ["", "median", f"against {first}"]
    found = []
    for part in dict.fromkeys(row.part for row in bench.rows):
        columns = ["phase", *last, "audio s/s", "peak memory"]
        if part == "components":
            columns = ["", "audio", "batch", "cores", *last]
            columns += ["of sgemm", "audio s/s", "peak memory"]
        lines = [line for row in bench.rows if row.part == part for line in _lines(row)]
        found.append(Grid(part, PARTS.get(part, part), columns, lines))
    return found


def _lines(row: Row) -> Iterator[list[str]]:
    told = [row.what]
    if row.part == "components":
        told += [f"{row.audio_s:g} s", str(row.batch), str(row.cores)]
    for timing in row.timings:
        cells = [*told, timing.contestant, seconds(timing), times(timing.ratio)]
        if row.part == "components":
            cells.append(share(timing.of_sgemm))
        rate, peak = timing.audio_seconds_a_second, timing.peak_memory
        cells.append("" if rate is None else f"{rate:.3g}")
        yield [*cells, "" if peak is None else memory(peak)]
        told = [""] * len(told)


def seconds(timing: Timing) -> str:
    """Return a median with half the width of its interval, of several: ``2.17 s ±0.03``."""
    took = timing.seconds
    unit, scale = ("s", 1.0) if took.median >= 1 else ("ms", 1e3)
    told = f"{took.median * scale:.3g} {unit}"
    if len(timing.rounds) == 1:
        return told
    return f"{told} ±{(took.high - took.low) / 2 * scale:.2g}"


def times(ratio: Ratio | None) -> str:
    """Return a ratio with its interval, or that there is none to tell."""
    if ratio is None:
        return ""
    if ratio.would_tell is not None:
        between = f"{ratio.low:.2f} to {ratio.high:.2f}"
        many = f"about {ratio.would_tell}" if ratio.would_tell <= _MANY else f"over {_MANY}"
        return f"unsure, {between}; {many} rounds would tell"
    if ratio.value is None:
        return UNCLEAR
    return f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"


def share(value: float | None) -> str:
    """Return a share in percent."""
    return "" if value is None else f"{100 * value:.0f} %"


def who(one: Contender) -> str:
    """Return who took part, in words."""
    threads = f", a thread a core, at most {one.threads}" if one.threads else ""
    source = f", source {one.source}" if one.source else ""
    return f"{one.what}{threads}, Python {one.python}{source}"


def beyond(bench: Bench) -> str:
    """Return what shares above all of the machine's rate mean; empty where there are none."""
    shares = [timing.of_sgemm or 0 for row in bench.rows for timing in row.timings]
    return BEYOND if max(shares, default=0) > 1 else ""


def memory(value: int) -> str:
    """Return bytes as gigabytes, or as megabytes where they are few."""
    return f"{value / 1e9:.2f} GB" if value >= 1e9 else f"{value / 1e6:.0f} MB"
