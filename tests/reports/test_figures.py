"""The figures: any number can be drawn, and a bar tells the truth."""

from __future__ import annotations

import math
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.report_samples import form_point, forms, gate_of
from vampnet_onnx.reports import Cause, DepthPoint, HeatMap, Scatter
from vampnet_onnx.reports.figures import (
    FRAME,
    depth_figure,
    form_figure,
    gate_bar,
    heat_figure,
    scatter_plots,
    undrawn,
)
from vampnet_onnx.reports.summary import headroom, share_of_gate

numbers = st.floats(width=64, allow_nan=True, allow_infinity=True)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(numbers, numbers), max_size=8))
def test_any_numbers_can_be_drawn(pairs: list[tuple[float, float]]) -> None:
    reference, export = [r for r, _ in pairs], [e for _, e in pairs]
    scatter = Scatter(case="c", quantity="q", reference=reference, export=export)
    plots = scatter_plots(scatter)
    assert bool(plots) == (undrawn(scatter) < len(pairs))
    for plot in plots:
        assert "nan" not in plot.dots and "inf" not in plot.dots
    heat = HeatMap(
        case="c",
        quantity="q",
        rows=["a", "b"],
        columns_per_cell=3,
        values=[[abs(x) for x in side] for side in (reference, export)],
    )
    figure = heat_figure(heat)
    assert (figure is None) == (not pairs)
    if figure is not None:
        assert len(figure.cells) == 2 * len(pairs)
        levels = [cell.level for cell in figure.cells]
        assert levels.count(None) == figure.nonfinite
        assert all(level is None or 0 <= level <= 8 for level in levels)


def test_forms_stand_where_their_numbers_say() -> None:
    item = forms(form_point("fp16", 500, 1e-6, 0.98, 0.96, 0.99))
    figure = form_figure(item)
    at = {spot.form: spot for spot in figure.spots}
    assert at["int8"].x > at["fp32"].x > at["fp16"].x  # right is faster
    assert at["w4"].y > at["int8"].y > at["fp32"].y  # up is nearer
    assert at["fp32"].radius > at["fp16"].radius > at["int8"].radius > at["w4"].radius
    assert [name for name, spot in at.items() if not spot.clear] == ["w4"]
    for spot in figure.spots:
        assert FRAME.left <= spot.low <= spot.x <= spot.high <= FRAME.right
        assert FRAME.top < spot.y <= FRAME.bottom
    # fp16 is beside fp32, and the two names do not lie on each other.
    assert abs(at["fp32"].label[1] - at["fp16"].label[1]) >= 13
    one = next(tick for tick in figure.x_ticks if tick.text == "1")
    assert one.at == at["fp32"].x


@settings(max_examples=200, deadline=None)
@given(numbers, numbers, numbers, st.none() | numbers)
def test_any_forms_can_be_drawn(
    nats: float, low: float, high: float, faster: float | None
) -> None:
    figure = form_figure(forms(form_point("int7", 1, nats, faster, low, high)))
    text = repr((figure.spots, figure.x_ticks, figure.y_ticks))
    assert "inf" not in text.replace("'", "") and "nan" not in text
    assert ("int7" in figure.summary) == (len(figure.spots) == 3)


@settings(max_examples=300, deadline=None)
@given(numbers, numbers, st.sampled_from(["at most", "at least"]), st.sampled_from(["", "dB"]))
def test_a_bar_reaches_past_the_mark_exactly_when_the_limit_is_broken(
    value: float, limit: float, direction: str, unit: str
) -> None:
    gate = gate_of(value, limit, direction, unit)
    broken = not (value <= limit if direction == "at most" else value >= limit)
    assert (share_of_gate(gate) > 1) == broken
    assert 0 <= gate_bar(gate) <= 8
    assert headroom(gate)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(numbers, numbers), max_size=8))
def test_any_errors_over_depth_can_be_drawn(pairs: list[tuple[float, float]]) -> None:
    depth = [DepthPoint(module=f"m.{i}", error=e, own=o) for i, (e, o) in enumerate(pairs)]
    figure = depth_figure(Cause(component="c", module="m.0", depth=depth))
    assert (figure is None) == (not pairs)
    if figure is not None:
        drawn = figure.line + figure.dots + figure.bad
        assert "nan" not in drawn and "inf" not in drawn
        finite = [i for i, (error, _) in enumerate(pairs) if math.isfinite(error)]
        assert len(re.findall("[ML]", figure.line)) == len(finite)
        assert figure.bad.count("M") == len(pairs) - len(finite)
        assert figure.culprits[0][1] == "m.0"


def test_a_larger_error_is_drawn_higher_and_a_later_module_further_right() -> None:
    depth = [DepthPoint(module=f"m.{i}", error=10.0**-i, own=1e-8) for i in range(5)]
    figure = depth_figure(Cause(component="c", module="m.3", depth=depth))
    assert figure is not None
    points = [
        tuple(map(float, pair)) for pair in re.findall(r"([\d.]+) ([\d.]+)", figure.line)
    ]
    assert points == sorted(points) and [y for _, y in points] == sorted(y for _, y in points)
    assert figure.culprits == [(points[3][0], "m.3")]


def test_the_name_of_the_culprit_stays_within_the_picture() -> None:
    for at in range(12):
        for name in ("m", "transformer.layers.1.self_attn.w_vs", "a.very.long.name" * 9):
            depth = [DepthPoint(module=f"m.{i}", error=1e-3, own=1e-8) for i in range(12)]
            depth[at] = depth[at].model_copy(update={"module": name})
            figure = depth_figure(Cause(component="c", module=name, depth=depth))
            assert figure is not None
            label, width = figure.label, 7.5 * len(figure.label.text)
            left = label.x if label.anchor == "start" else label.x - width
            assert left >= 0 and left + width <= FRAME.width
            assert name.endswith(label.text.removeprefix("…"))
