"""Forms of a transformer side by side in the report of a verification."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.exports import record_of
from tests.support.records import matrix
from tests.support.sets import GOLDEN
from vampnet_onnx.configs.artifacts import open_artifacts
from vampnet_onnx.configs.config import Gates, load_gates
from vampnet_onnx.models import Checkpoints
from vampnet_onnx.reports import Report
from vampnet_onnx.reports.pages import render_html, render_markdown
from vampnet_onnx.verify.bench.rounds import Budget
from vampnet_onnx.verify.verification import verify_artifacts


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three rounds of 13 frames."""
    monkeypatch.setattr("vampnet_onnx.verify.forms.BUDGET", Budget(0, 3, 3))
    monkeypatch.setattr("vampnet_onnx.verify.forms.FRAMES", 13)


def by_cases_alone() -> Gates:
    """Return the gates without those of the file itself, which take longest."""
    gates = load_gates()
    kinds = {
        kind: {name: rule for name, rule in rules.items() if name not in ("audit", "modules")}
        for kind, rules in gates.kinds.items()
    }
    return gates.model_copy(update={"kinds": kinds})


def verified(folder: Path, *only: str, **options: Any) -> Report:
    return verify_artifacts(
        open_artifacts(folder),
        Checkpoints(GOLDEN / "a"),
        matrix=matrix(seeds=[0], frames=[13]),
        gates=by_cases_alone(),
        toolchain={},
        only=only,
        progress=lambda *_: None,
        **options,
    )


def test_what_was_verified_in_several_forms_is_told_of_in_the_report(forms_a: Path) -> None:
    report = verified(forms_a, "coarse", "coarse.int8", "c2f")
    (found,) = report.forms
    assert (found.name, found.frames, found.rounds, found.threads) == ("coarse", 13, 3, 1)
    plain, int8 = found.points
    assert (plain.form, plain.faster) == ("fp32", None)
    assert (plain.faster_low, plain.faster_high) == (1, 1)
    artifacts = open_artifacts(forms_a)
    for point, name in ((plain, "coarse"), (int8, "coarse.int8")):
        (part,) = [part for part in report.components if part.id == name]
        assert point.bytes == record_of(artifacts, name).size
        assert point.kl_nats == part.metrics["kl_nats"]
        assert point.disagreement == part.metrics["disagreement"]
        assert point.seconds > 0
    assert int8.kl_nats > 1000 * abs(plain.kl_nats)  # type: ignore[operator, arg-type]
    assert 0 < int8.faster_low <= int8.faster_high
    html, text = render_html(report), render_markdown(report)
    assert html.count("times as fast as float32") == 1 and "coarse in its forms" in text


def test_without_a_whole_run_nothing_is_timed(forms_a: Path) -> None:
    assert verified(forms_a, "coarse", "coarse.int8", quick=True).forms == []
    assert verified(forms_a, "coarse.int8").forms == []  # beside nothing
