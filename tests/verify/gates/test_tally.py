"""Cases added up: what many of them come to, and how little of them is kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.support.exports import record_of
from tests.support.records import matrix
from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.config import load_gates
from vampnet_onnx.configs.invocation import Given
from vampnet_onnx.reports import Verdict, write_reports
from vampnet_onnx.verify.gates.case import Outcome
from vampnet_onnx.verify.gates.report import build_report, component_report
from vampnet_onnx.verify.gates.tally import MOST_CASES, Tally
from vampnet_onnx.verify.subjects.case import Case, Comparison, TokenCounts

RULES = load_gates().for_component("coarse")
SEEDS = 3000


def outcome(case: Case, error: float) -> Outcome:
    counts = np.array([10, 10]), np.array([0, 1])
    comparison = Comparison(
        {"relative_l2": error, "max_abs": error, "token_accuracy": 0.95},
        "logits",
        np.full((2, 3), error),
        ["codebook 0", "codebook 1"],
        "frames",
        np.ones((2, 3)),
        np.ones((2, 3)),
        TokenCounts(*counts, ambiguous=1),
        message="so it is",
    )
    limits = {name: rule.limit for name, rule in RULES.items()}
    return Outcome(case, comparison, limits, values=6, message="so it is")


def outcomes() -> Iterator[Outcome]:
    """Yield two cases a seed; of every tenth seed one fails, of seed 1234 by the most."""
    for seed in range(SEEDS):
        bad = 1.0 if seed % 10 == 0 else 2.0 if seed == 1234 else 1e-7
        yield outcome(Case("coarse", seed, 1, 13), 1e-8)
        yield outcome(Case("coarse", seed, 3, 13), bad)


def test_all_cases_count_and_the_worst_are_kept() -> None:
    tally = Tally(RULES)
    for item in outcomes():
        tally.add(item, 0.5)
    assert (tally.count, tally.failed, tally.failed_seeds) == (2 * SEEDS, 301, 301)
    assert tally.ties == 2 * SEEDS and tally.tokens == 40 * SEEDS
    assert tally.accuracy_per_codebook() == [1.0, 0.9]
    assert tally.metrics["relative_l2"] == 2.0 and not tally.exact
    worst, of_metric = tally.worst, tally.worst_of("relative_l2")
    assert worst is not None and worst.case.seed == 1234 and worst.has_arrays
    assert of_metric is not None and of_metric.case.seed == 1234 and not of_metric.has_arrays
    seeds = tally.bad_seeds()
    assert [seed.seed for seed in seeds[:2]] == [0, 10] and len(seeds) == 100
    assert seeds[0].worst_case == "coarse/seed=0/batch=3/length=13"
    assert (seeds[0].failed, seeds[0].cases) == (1, 2)
    kept = tally.cases()
    assert len(kept) == 301 + MOST_CASES
    assert sum(case.verdict is Verdict.FAIL for case in kept) == 301
    assert [case.seed for case in kept] == sorted(case.seed for case in kept)


def test_a_report_of_very_many_cases_is_small_and_says_how_many_ran(
    nano_artifacts: Artifacts, tmp_path: Path
) -> None:
    tally = Tally(RULES)
    for item in outcomes():
        tally.add(replace(item, message="words " * 50), 0.5)
    part = component_report(record_of(nano_artifacts, "coarse"), [], tally, tally.worst)
    failed = part.model_copy(update={"verdict": Verdict.FAIL})
    seeds = [7, *range(100, 100 + SEEDS)]
    report = build_report(
        nano_artifacts,
        [failed.model_copy(update={"variant": str(i)}) for i in range(20)],
        "models",
        matrix=matrix(seeds=seeds),
        toolchain={},
        given=Given(Path("a"), Path("c")),
    )
    assert report.seeds == ["7", "100:3100"]
    listed = report.components[0].cases
    assert len(listed) == 33 and 1234 in {case.seed for case in listed}
    files = write_reports(report, tmp_path)
    for file in files.values():
        assert file.stat().st_size < 2e6, file
    told = json.loads(files["json"].read_text("utf-8"))["components"][0]
    assert (told["ran"], told["failed"], told["failed_seeds"]) == (2 * SEEDS, 301, 301)
    page = files["html"].read_text("utf-8")
    assert "33 of 6000 cases, failed ones first." in page
    assert "301 seeds that failed, the first 100 are listed" in page
    assert 'name="cases that ran" value="6000"' in files["junit"].read_text("utf-8")


def test_an_ordinary_run_lists_all_its_cases(nano_artifacts: Artifacts) -> None:
    tally = Tally(RULES)
    for seed in range(MOST_CASES):
        tally.add(outcome(Case("coarse", seed, 1, 13), 1e-8), 0.5)
    part = component_report(record_of(nano_artifacts, "coarse"), [], tally, tally.worst)
    report = build_report(
        nano_artifacts,
        [part],
        "models",
        matrix=matrix(),
        toolchain={},
        given=Given(Path("a"), Path("c")),
    )
    assert len(report.components[0].cases) == MOST_CASES and report.seeds == [0, 1]
