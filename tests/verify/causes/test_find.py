"""Why a component failed: on its worst case, within the time given."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.support.edited import edited, scaled
from tests.support.exports import record_of
from vampnet_onnx.configs.artifacts import Artifacts, open_artifacts
from vampnet_onnx.configs.invocation import Given
from vampnet_onnx.configs.runtime import Runtime
from vampnet_onnx.models import ModelSet
from vampnet_onnx.reports import Case as CaseReport
from vampnet_onnx.reports import Component, Verdict
from vampnet_onnx.verify.causes.find import NOTHING, Suspect, consequence_of, find_cause
from vampnet_onnx.verify.sides.models import Reference

CASE = "coarse/seed=0/batch=2/length=9"
MODULE = "transformer.layers.0.self_attn.w_vs"


def report(name: str, *failed: str, message: str = "") -> Component:
    """Return a component that failed, with the cases in which it did."""
    cases = [
        CaseReport(
            id=case,
            seed=0,
            batch=2,
            length=9,
            verdict=Verdict.FAIL,
            metrics={},
            message=message,
        )
        for case in failed
    ]
    return Component(
        name=name,
        file="",
        sha256="",
        verdict=Verdict.FAIL,
        gates=[],
        cases=cases,
        worst_case=failed[0] if failed else "",
        metrics={},
    )


@pytest.fixture
def version(nano_artifacts: Artifacts, tmp_path: Path) -> Path:
    return Path(shutil.copytree(nano_artifacts.folder, tmp_path / "v1"))


def suspect(version: Path, models: ModelSet) -> Suspect:
    opened = open_artifacts(version, unsealed=True)
    record = record_of(opened, "coarse")
    return Suspect(opened, record, Reference(models), models, lambda: models)


def test_the_culprit_is_named_with_node_error_and_words(
    version: Path, models: ModelSet, tmp_path: Path
) -> None:
    file = version / "coarse.onnx"
    scaled(file, f"{MODULE}.weight", 1.01, tmp_path).replace(file)
    found = find_cause(report("coarse", CASE), suspect(version, models), Given(version), 1e6)
    assert (found.module, found.case, found.operator) == (MODULE, CASE, "MatMul")
    assert found.error == pytest.approx(0.01, rel=1e-3) and "scaled by 1.01" in found.what
    assert not found.stopped and f"localise {version} --case {CASE}" in found.command


def test_what_no_case_shows_is_told_of_the_file(
    version: Path, models: ModelSet, tmp_path: Path
) -> None:
    file = version / "coarse.onnx"

    def turned(table: np.ndarray) -> np.ndarray:
        return np.concatenate([table[:3], -table[3:4], table[4:]])

    table = "embedding.tables.1"
    edited(file, table, turned, tmp_path).replace(file)
    (taker,) = (n for n in onnx.load(file).graph.node if table in n.input)
    found = find_cause(report("coarse"), suspect(version, models), Given(version), 1e6)
    assert found.module.startswith("embedding") and "row 3" in found.what
    assert found.case == "" and found.error is None
    assert (found.node, found.operator) == (taker.name, "Gather")


def test_what_fails_on_a_runtime_is_walked_there(
    nano_artifacts: Artifacts, models: ModelSet
) -> None:
    """And where its parts are right, each by itself, that is told."""
    pytest.importorskip("openvino", reason="the extra openvino is not installed")
    asked, version = Runtime("openvino", threads=1), nano_artifacts.folder
    failing = replace(suspect(version, models), runtime=asked)
    found = find_cause(report("coarse", CASE), failing, Given(version, runtime=asked), 1e6)
    assert not found.module and f"{NOTHING}, part by part on {asked}" in found.what
    assert found.command.endswith(f" --runtime openvino --case {CASE}")


def test_a_search_that_runs_out_of_time_says_so_and_how_to_go_on(
    version: Path, models: ModelSet
) -> None:
    found = find_cause(report("coarse", CASE), suspect(version, models), Given(version), 0)
    assert found.stopped and not found.module
    assert found.command.endswith(f"--case {CASE}")


def test_a_whole_fails_since_a_part_does_or_says_where_the_sides_part() -> None:
    case = "generation/seed=0/batch=2/length=40/codebooks=3/published"
    whole = report("generation", case, message="first difference, an error: step 2 of 8")
    parts, given, coarse = ["coarse", "sampler"], Given(Path("v1")), report("coarse", CASE)
    after = consequence_of(whole, parts, [coarse], given)
    assert after.consequence_of == "coarse"
    sound = coarse.model_copy(update={"verdict": Verdict.PASS})
    sampler = sound.model_copy(update={"name": "sampler"})
    alone = consequence_of(whole, parts, [sound, sampler], given)
    assert not alone.consequence_of and alone.what.endswith("step 2 of 8")
    again = "vampnet-onnx verify v1 --report report-again"
    assert alone.command == f"{again} --case {case}"
    unknown = consequence_of(whole, parts, [sound], given)
    assert unknown.what.endswith("step 2 of 8; its parts were not verified: sampler")
    assert unknown.command == f"{again} --component sampler"
