"""The figures of a report as geometry; the templates only draw what is computed here.

Text stays out of whatever is stretched to the width of the page, so that it has the page's
own size and colour.  Values that are not finite are never dropped: they are drawn or counted.
"""

import math
from dataclasses import dataclass

from .schema import Cause, FormPoint, Forms, Gate, HeatMap, Number, Scatter, Trend, TrendLine
from .summary import counted, describe_speed, format_number, share_of_gate
from .trend import describe_headroom, describe_run

LEVELS = 8
"""Steps of the heat map's colour scale; level 0 is exactly zero."""

DECADES_WITHIN, DECADES_BEYOND = 6, 2
"""What a gate's bar shows: six decades up to the limit and two beyond it."""

# Differences of finite numbers beyond it overflow, so they count as not finite; a range
# below its inverse has no ticks and is drawn as a point.
_HUGE = 1e300


@dataclass(frozen=True)
class Tick:
    """A labelled position on an axis."""

    at: float
    text: str


@dataclass(frozen=True)
class Cell:
    """One cell of the heat map; level is None where the value is not finite."""

    column: int
    row: int
    level: int | None
    title: str


@dataclass(frozen=True)
class HeatFigure:
    """Error over time and codebook."""

    columns: int
    rows: list[str]
    row_worst: list[Number]
    cells: list[Cell]
    ticks: list[Tick]
    scale: list[Tick]
    has_zero: bool
    nonfinite: int
    summary: str


@dataclass(frozen=True)
class Frame:
    """Where the dots of a plot lie inside its view box."""

    width: int = 400
    height: int = 320
    left: int = 64
    top: int = 10
    right: int = 388
    bottom: int = 270


FRAME = Frame()


@dataclass(frozen=True)
class Plot:
    """Dots and one line in `FRAME`, with ticks on both axes."""

    title: str
    dots: str
    line: tuple[float, float, float, float]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    x_label: str
    y_label: str
    summary: str


@dataclass(frozen=True)
class Spot:
    """A form in `FRAME`: its circle, the ends of its interval, and its label.

    Attributes:
        clear: the interval lets one tell how many times as fast it is.
        label: (x, y) of the text.
        anchor: of the text, ``start`` or ``end``.
    """

    form: str
    x: float
    y: float
    radius: float
    low: float
    high: float
    clear: bool
    label: tuple[float, float]
    anchor: str
    title: str


@dataclass(frozen=True)
class FormFigure:
    """Quality against speed against size: up is nearer to the reference, right is faster."""

    spots: list[Spot]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    summary: str


@dataclass(frozen=True)
class Label:
    """A text at the upper edge of `FRAME`; anchor is ``start`` or ``end``."""

    x: float
    text: str
    anchor: str


@dataclass(frozen=True)
class DepthFigure:
    """How an error grows over the modules of a network, in `FRAME`.

    Attributes:
        line: path through the errors of the whole export; broken where one is not finite.
        dots: a module's own error each, on the reference's inputs.
        bad: a mark at the upper edge for every error that is not finite.
        culprits: (x, path) of the modules that introduce the error.
        label: the first culprit's name, or the end of it that has room.
    """

    line: str
    dots: str
    bad: str
    culprits: list[tuple[float, str]]
    label: Label
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    summary: str


@dataclass(frozen=True)
class TrendDot:
    """A run of a component in `TREND`; it fell there, or was beyond its limit, or neither."""

    x: float
    y: float
    fell: bool
    beyond: bool
    title: str


@dataclass(frozen=True)
class TrendFigure:
    """Headroom of one component over runs, in `TREND`; a gap where it was not measured."""

    line: str
    dots: list[TrendDot]
    limit: float
    summary: str


TREND = Frame(width=240, height=44, left=6, top=5, right=234, bottom=39)
_TREND_DECADES = (-1, 2)  # what is drawn: ten times the limit to a hundred to spare


def trend_figure(line: TrendLine, trend: Trend) -> TrendFigure:
    """Lay out how near a component came to its limits, run by run."""
    low, high = _TREND_DECADES

    def down(headroom: float | None) -> float:
        known = headroom is not None and headroom > 0
        power = math.log10(headroom) if known and headroom is not None else low
        share = (high - min(max(power, low), high)) / (high - low)
        return round(TREND.top + share * (TREND.bottom - TREND.top), 1)

    step = (TREND.right - TREND.left) / max(1, len(trend.runs) - 1)
    fell = {fall.run for fall in trend.falls if fall.component == line.component}
    path, dots, command = "", list[TrendDot](), "M"
    for number, (gate, headroom) in enumerate(zip(line.gates, line.headroom, strict=True)):
        if not gate:
            command = "M"
            continue
        x, y = round(TREND.left + number * step, 1), down(headroom)
        path += f"{command}{x:g} {y:g}"
        command = "L"
        told = f"{describe_run(trend, number)}: {describe_headroom(headroom)}, {gate}"
        beyond = headroom is None or not headroom >= 1
        dots.append(TrendDot(x, y, number in fell, beyond, told))
    return TrendFigure(
        line=path,
        dots=dots,
        limit=down(1.0),
        summary=f"{line.component} over {counted(len(dots), 'run')}: "
        + (dots[-1].title if dots else "not measured"),
    )


_DEPTH_FLOOR = -9  # powers of ten: a logarithmic axis has no zero, and this is rounding
_LETTER = 7.6  # width of a bold one of the plots
_DEPTH_TOP = FRAME.top + 26  # room above for the culprit's name and what is not finite


def depth_figure(cause: Cause) -> DepthFigure | None:
    """Lay out the errors of the modules that were walked; None if none was."""
    depth = cause.depth
    if not depth:
        return None
    values = [v for point in depth for v in (point.error, point.own) if math.isfinite(v)]
    largest = math.ceil(math.log10(max([*values, 1e-3]))) if values else -3
    top = min(max(largest, -3), 300)

    def across(number: int) -> float:
        share = (number + 0.5) / len(depth)
        return round(FRAME.left + share * (FRAME.right - FRAME.left), 1)

    def down(value: float) -> float:
        power = math.log10(value) if value > 0 else _DEPTH_FLOOR
        share = (top - min(max(power, _DEPTH_FLOOR), top)) / (top - _DEPTH_FLOOR)
        return round(_DEPTH_TOP + share * (FRAME.bottom - _DEPTH_TOP), 1)

    line, command, bad = "", "M", list[int]()
    for i, point in enumerate(depth):
        if math.isfinite(point.error):
            line += f"{command}{across(i):g} {down(point.error):g}"
            command = "L"
        else:
            bad.append(i)
            command = "M"
    wrong = [cause.module, *cause.others]
    culprits = [(across(i), p.module) for i, p in enumerate(depth) if p.module in wrong]
    at = next((x for x, name in culprits if name == cause.module), None)
    left = at is not None and at > (FRAME.left + FRAME.right) / 2
    room = (at or FRAME.left) - FRAME.left if left else FRAME.right - (at or FRAME.left)
    fits = max(4, int(room / _LETTER))
    name = cause.module if len(cause.module) <= fits else "…" + cause.module[1 - fits :]
    label = Label((at or 0.0) + (-5 if left else 5), name, "end" if left else "start")
    told = f"{counted(len(depth), 'module')} in the order in which they run"
    if at is not None:
        told += f"; the band is {cause.module}"
    if bad:
        told += f"; not finite, or not comparable, in {len(bad)}, first in"
        told += f" {depth[bad[0]].module or 'the whole'}"
    untried = sum(math.isnan(point.own) for point in depth)
    if untried:
        told += f"; {untried} not tried by themselves"
    wrong_alone = sum(math.isinf(point.own) for point in depth)
    if wrong_alone:
        told += f"; {wrong_alone} not finite by themselves"
    step = max(1, math.ceil((top - _DEPTH_FLOOR) / 6))
    return DepthFigure(
        line=line,
        dots="".join(
            f"M{across(i):g} {down(p.own):g}h0"
            for i, p in enumerate(depth)
            if math.isfinite(p.own)
        ),
        bad="".join(f"M{across(i) - 3:g} {FRAME.top + 16}l6 6m0-6l-6 6" for i in bad),
        culprits=culprits,
        label=label,
        x_ticks=[
            Tick(across(int(n) - 1), format_number(n))
            for n in _round_values(1, max(len(depth), 2), 5)
            if n.is_integer() and n >= 1 and n <= len(depth)
        ],
        y_ticks=[
            Tick(down(10.0**power), f"{'≤' if power == _DEPTH_FLOOR else ''}1e{power}")
            for power in range(_DEPTH_FLOOR, top + 1, step)
        ],
        summary=told + ".",
    )


_NEAREST = 1e-6  # nats: float32's own rounding, and all that is less, is drawn here
_SPEEDS = (0.1, 0.2, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0, 20.0, 50.0)
_LARGEST_SPOT, _SMALLEST_SPOT = 15.0, 4.0


def form_figure(forms: Forms) -> FormFigure:
    """Lay out the forms of a network; what is not finite is named in the summary."""
    shown = [point for point in forms.points if _can_be_drawn(point)]
    undrawn = [point.form for point in forms.points if point not in shown]
    most = max([point.kl_nats or 0 for point in shown] + [_NEAREST * 10])
    first, last = math.log10(_NEAREST), math.ceil(math.log10(most) + 0.3)
    low = min([point.faster_low for point in shown] + [1.0]) / 1.15
    high = max([point.faster_high for point in shown] + [1.0]) * 1.25
    largest = max([point.bytes for point in shown] + [1])

    def across(value: float) -> float:
        share = (math.log(value) - math.log(low)) / (math.log(high) - math.log(low))
        return round(FRAME.left + share * (FRAME.right - FRAME.left), 1)

    def down(nats: float) -> float:
        share = (math.log10(max(nats, _NEAREST)) - first) / (last - first)
        inner = FRAME.top + _LARGEST_SPOT
        return round(inner + share * (FRAME.bottom - inner), 1)

    spots = list[Spot]()
    for point in shown:
        x = across(_drawn_at(point))
        radius = max(_SMALLEST_SPOT, _LARGEST_SPOT * math.sqrt(point.bytes / largest))
        left = x > (FRAME.left + FRAME.right) / 2
        y = down(point.kl_nats or 0)
        taken = [spot.label[1] for spot in spots if abs(spot.x - x) < 90]
        label = y + 4
        while any(abs(label - other) < 13 for other in taken):
            label += 13
        spots.append(
            Spot(
                form=point.form,
                x=x,
                y=y,
                radius=round(radius, 1),
                low=across(point.faster_low),
                high=across(point.faster_high),
                clear=point.faster is not None or point.form == forms.points[0].form,
                label=(x - radius - 4 if left else x + radius + 4, label),
                anchor="end" if left else "start",
                title=f"{point.form}: {describe_speed(point)},"
                f" {format_number(point.kl_nats)} nats, {point.bytes / 1e6:.1f} MB",
            )
        )
    summary = (
        f"{counted(len(shown), 'form')}; up is nearer to the reference, right is faster, a"
        " smaller circle is fewer bytes; hollow: no difference measured."
    )
    if undrawn:
        summary += f" Not finite, so not drawn: {', '.join(undrawn)}."
    ticks = list[Tick]()
    for speed in sorted(_SPEEDS, key=lambda value: abs(math.log(value))):
        near = any(abs(across(speed) - tick.at) < 28 for tick in ticks)
        if low <= speed <= high and not near:
            ticks.append(Tick(across(speed), f"{speed:g}"))
    return FormFigure(
        spots=spots,
        x_ticks=ticks,
        y_ticks=[
            Tick(down(10.0**power), f"{'≤' if power == first else ''}1e{power}")
            for power in range(round(first), last + 1)
        ],
        summary=summary,
    )


def _can_be_drawn(point: FormPoint) -> bool:
    speeds = [point.faster_low, point.faster_high]
    speeds += [] if point.faster is None else [point.faster]
    near = point.kl_nats is not None and abs(point.kl_nats) < _HUGE
    return near and all(1 / _HUGE < speed < _HUGE for speed in speeds)


def _drawn_at(point: FormPoint) -> float:
    """Return the speed that was measured, or what of its interval is nearest to no gain."""
    nearest = min(max(1.0, point.faster_low), point.faster_high)
    return nearest if point.faster is None else point.faster


def gate_bar(gate: Gate) -> float:
    """Return how far a gate's bar reaches, in decades from its left end."""
    share = share_of_gate(gate)
    if share == 0:
        return 0.0
    reach = DECADES_WITHIN + math.log10(share) if math.isfinite(share) else math.inf
    return round(min(max(reach, 0.15), DECADES_WITHIN + DECADES_BEYOND), 3)


def heat_figure(heat: HeatMap) -> HeatFigure | None:
    """Lay out a heat map; None if it has no cells."""
    columns = max((len(row) for row in heat.values), default=0)
    if not columns:
        return None
    values = {(x, y): v for y, row in enumerate(heat.values) for x, v in enumerate(row)}
    places = {(x, y): f"{heat.rows[y]}, {_span(heat, x)}" for x, y in values}
    positive = [value for value in values.values() if math.isfinite(value) and value > 0]
    high = max(positive, default=1.0)
    low = max(min(positive, default=1.0), high / 10**DECADES_WITHIN)
    bad = [at for at, value in values.items() if not math.isfinite(value)]
    worst = max(values, key=lambda at: _badness(values[at]))
    if bad:
        summary = f"{len(bad)} of {len(values)} cells are not finite, the first at"
        summary = f"{summary} {places[bad[0]]}."
    elif values[worst] == 0:
        summary = "No difference in any cell."
    else:
        summary = f"Largest error {format_number(values[worst])} at {places[worst]}."
    return HeatFigure(
        columns=columns,
        rows=heat.rows,
        row_worst=[max(row, key=_badness, default=0.0) for row in heat.values],
        cells=[
            Cell(*at, _level(value, low, high), f"{places[at]}: {format_number(value)}")
            for at, value in values.items()
        ],
        ticks=[
            Tick(value / (columns * heat.columns_per_cell), format_number(value))
            for value in _round_values(0, columns * heat.columns_per_cell, 6)
            if value.is_integer()
        ],
        scale=_scale(low, high) if positive else [],
        has_zero=0 in values.values(),
        nonfinite=len(bad),
        summary=summary,
    )


def scatter_plots(scatter: Scatter) -> list[Plot]:
    """Lay out export against reference, and their difference against reference.

    On the first a faithful export is a straight line whatever its error; the second shows it.
    """
    pairs = _drawable(scatter)
    if not pairs:
        return []
    reference = [r for r, _ in pairs]
    difference = [e - r for r, e in pairs]
    both = reference + [e for _, e in pairs]
    low, high = _padded(min(both), max(both))
    reach = max(map(abs, difference)) * 1.08
    worst = max(range(len(pairs)), key=lambda i: abs(difference[i]))
    largest, there = format_number(difference[worst]), format_number(reference[worst])
    across = _padded(min(reference), max(reference))
    up = (-reach, reach) if reach > 1 / _HUGE else (-1.0, 1.0)
    return [
        _plot(
            "Export against reference",
            pairs,
            ((low, high), (low, high)),
            ((low, low), (high, high)),
            f"{len(pairs)} pairs; on the line the two are equal.",
            "export",
        ),
        _plot(
            "Difference against reference",
            list(zip(reference, difference, strict=True)),
            (across, up),
            ((across[0], 0.0), (across[1], 0.0)),
            f"Largest difference {largest} where the reference is {there}."
            if difference[worst]
            else "All pairs are equal.",
            "export - reference",
        ),
    ]


def lowest(accuracy: list[Number]) -> Number:
    """Return the lowest share; NaN, which compares as false, does not hide behind others."""
    return min(accuracy, key=lambda share: -1.0 if math.isnan(share) else share)


def undrawn(scatter: Scatter) -> int:
    """Return how many pairs of a scatter are not finite and so cannot be drawn."""
    return len(scatter.reference) - len(_drawable(scatter))


def _drawable(scatter: Scatter) -> list[tuple[float, float]]:
    pairs = zip(scatter.reference, scatter.export, strict=True)
    return [(r, e) for r, e in pairs if abs(r) < _HUGE and abs(e) < _HUGE]


def _plot(
    title: str,
    points: list[tuple[float, float]],
    ranges: tuple[tuple[float, float], tuple[float, float]],
    line: tuple[tuple[float, float], tuple[float, float]],
    summary: str,
    y_label: str,
) -> Plot:
    (x_low, x_high), (y_low, y_high) = ranges

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x_low) / (x_high - x_low) * (FRAME.right - FRAME.left)
        up = (y - y_low) / (y_high - y_low) * (FRAME.bottom - FRAME.top)
        return round(FRAME.left + across, 1), round(FRAME.bottom - up, 1)

    # Dots on the same spot are drawn once; a line of no length with round ends is a dot.
    spots = sorted({place(x, y) for x, y in points})
    return Plot(
        title=title,
        dots="".join(f"M{x:g} {y:g}h0" for x, y in spots),
        line=(*place(*line[0]), *place(*line[1])),
        x_ticks=[Tick(place(t.at, y_low)[0], t.text) for t in _ticks(x_low, x_high)],
        y_ticks=[Tick(place(x_low, t.at)[1], t.text) for t in _ticks(y_low, y_high)],
        x_label="reference",
        y_label=y_label,
        summary=summary,
    )


def _level(value: float, low: float, high: float) -> int | None:
    if not math.isfinite(value):
        return None
    if value <= 0:
        return 0
    if low == high:
        return LEVELS
    step = LEVELS * math.log(max(value, low) / low) / math.log(high / low)
    return 1 + min(LEVELS - 1, int(step))


def _scale(low: float, high: float) -> list[Tick]:
    if low == high:
        return [Tick(1.0, format_number(high))]
    parts = [i / 4 for i in range(5)]
    return [Tick(part, format_number(low * (high / low) ** part, 2)) for part in parts]


def _span(heat: HeatMap, column: int) -> str:
    first = column * heat.columns_per_cell
    last = first + heat.columns_per_cell - 1
    return f"{heat.column_unit} {first}" + (f" to {last}" if last > first else "")


def _badness(value: float) -> float:
    return value if math.isfinite(value) else math.inf


def _padded(low: float, high: float) -> tuple[float, float]:
    widths = ((high - low) * 0.04, abs(high) * 0.1)
    pad = next((width for width in widths if width > abs(high) * 1e-12 + 1 / _HUGE), 1.0)
    return low - pad, high + pad


def _ticks(low: float, high: float) -> list[Tick]:
    values = _round_values(low, high, 5)
    step = values[1] - values[0] if len(values) > 1 else high - low
    spread = max(abs(low), abs(high)) / step
    digits = min(16, max(3, math.ceil(math.log10(spread)) + 1))
    return [Tick(value, format_number(value, digits)) for value in values]


def _round_values(low: float, high: float, about: int) -> list[float]:
    """Return multiples of 1, 2 or 5 times a power of ten between low and high."""
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= raw * 0.999)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [float(f"{i * step:.12g}") for i in range(first, last + 1)]
