"""A whole search, on a golden set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.exports import compute, record_of
from vampnet_onnx.configs.artifacts import open_artifacts
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.interrupts import Interrupted
from vampnet_onnx.configs.packaged import CLIP, packaged_set
from vampnet_onnx.export.onnx_file import graph_bytes, read_graph
from vampnet_onnx.export.variants.forms import FORMS, make_form
from vampnet_onnx.verify.numbers import metrics
from vampnet_onnx.verify.search.cases import cases_of, clip_inputs
from vampnet_onnx.verify.search.job import Sensitivity, _require_enough, measure_layers
from vampnet_onnx.verify.search.measure import Measured


def test_the_number_told_is_that_of_the_finished_graph(
    found: Sequence[Sensitivity], exported_a: Path
) -> None:
    (one,) = found
    assert one.cost is not None and one.table is not None
    assert one.left and set(one.table.left) == one.left - one.always
    artifacts = open_artifacts(exported_a)
    record = record_of(artifacts, "coarse")
    model = read_graph(artifacts.path(record))
    exact = graph_bytes(model)
    make_form(model, FORMS["w4"], one.left)
    worst = 0.0
    inputs = clip_inputs(artifacts, packaged_set("demo") / CLIP, say=lambda _text: None)
    for case in cases_of(record, inputs, (0,)):
        both = [compute(m, codes=case.codes)["logits"][0] for m in (exact, graph_bytes(model))]
        drawn = case.drawn(record)
        found_there = metrics.form_metrics(both[0][:, drawn], both[1][:, drawn], axis=0)
        worst = max(worst, found_there["disagreement"])
    assert one.cost.agreement == 1 - worst >= one.table.asked > one.whole.agreement
    assert one.cost.kl_nats < one.whole.kl_nats


def test_every_layer_alone_costs_less_than_all_of_them(found: Sequence[Sensitivity]) -> None:
    (one,) = found
    prices = [(layer.alone.kl_nats - one.rest.kl_nats) / layer.bytes for layer in one.layers]
    assert prices == sorted(prices, reverse=True)
    assert 0 <= one.rest.kl_nats < min(x.alone.kl_nats for x in one.layers)
    assert max(x.alone.kl_nats for x in one.layers) < one.whole.kl_nats
    assert {x.name for x in one.layers if x.left} == one.left
    assert one.form_bytes < one.float32_bytes
    assert set(one.positions) == {"30%", "70%", "97%"} and min(one.positions.values()) > 0
    assert {"file", "seeds", "runtime", "codes"} <= one.measured.keys()


def test_an_interrupted_search_goes_on_and_finds_the_same(
    found: Sequence[Sensitivity],
    exported_a: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    artifacts, measured = open_artifacts(exported_a), list[str | None]()
    alone = Measured.alone

    def counted(self: Measured, name: str | None) -> object:
        if len(measured) == 4 and None not in measured:
            measured.append(None)
            raise Interrupted
        measured.append(name)
        return alone(self, name)

    monkeypatch.setattr(Measured, "alone", counted)

    def search() -> list[Sensitivity]:
        return measure_layers(
            artifacts, form="w4", agreement=0.98, components=["coarse"], kept=tmp_path
        )

    with pytest.raises(Interrupted):
        search()
    assert search() == found
    names = [layer.name for layer in found[0].layers]
    assert sorted(filter(None, measured)) == sorted(names)  # each of them once
    measured.clear()
    assert search() == found and measured == []


def test_what_cannot_be_measured_is_refused(exported_a: Path) -> None:
    artifacts = open_artifacts(exported_a)
    with pytest.raises(InputError, match=r"--variant int9: known .* mean 'int8'"):
        measure_layers(artifacts, form="int9")
    for share in (0.0, 1.01, float("nan")):
        with pytest.raises(InputError, match="above 0 and at most 1"):
            measure_layers(artifacts, agreement=share)
    with pytest.raises(InputError, match=r"--component codec_encoder: .* coarse, c2f"):
        measure_layers(artifacts, components=["codec_encoder"])


def test_an_agreement_of_nothing_is_none(
    exported_a: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where every best token is a near-tie, all forms would agree."""
    monkeypatch.setattr(metrics, "_CLEAR", 1e9)
    with pytest.raises(InputError, match=r"under a mask of .* in 0 positions, of which 5"):
        measure_layers(open_artifacts(exported_a), agreement=0.98, components=["coarse"])


@pytest.mark.parametrize("count", [4, 49])
def test_hardly_any_positions_are_refused_and_few_are_told(count: int) -> None:
    told = list[str]()
    positions = {"30%": count, "70%": 400}
    _require_enough("coarse", positions, None, told.append)
    (line,) = told
    assert f"coarse: under a mask of 30% only {count} positions count" in line
    told.clear()
    if count < 5:
        with pytest.raises(InputError, match=r"in 4 positions, of which 5 .* --seeds"):
            _require_enough("coarse", positions, 0.98, told.append)
    else:
        _require_enough("coarse", positions, 0.98, told.append)
        assert told == [line] and "one of them for 2.0% of the agreement" in line
    _require_enough("coarse", {"30%": 50}, 0.98, pytest.fail)
