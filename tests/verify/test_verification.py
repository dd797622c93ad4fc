"""Whole artifacts verified: with every oracle, and what is left out is said."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch

from tests.support.exports import only
from tests.support.records import matrix
from tests.support.sets import GOLDEN
from vampnet_onnx.configs.artifacts import Artifacts, open_artifacts
from vampnet_onnx.configs.config import load_config, load_gates
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.interrupts import Interrupted
from vampnet_onnx.export.fingerprint import Fingerprint, Made
from vampnet_onnx.export.graphs import Graphs
from vampnet_onnx.export.onnx_file import read_graph, save_beside
from vampnet_onnx.export.trace import GraphRequest
from vampnet_onnx.models import Checkpoints
from vampnet_onnx.reports import Component, Report, Verdict
from vampnet_onnx.reports.junit import render_junit
from vampnet_onnx.reports.pages import render_html, render_markdown
from vampnet_onnx.verify import verification
from vampnet_onnx.verify.causes import fresh
from vampnet_onnx.verify.gates.component import OF_ALL
from vampnet_onnx.verify.jobs import verify_export
from vampnet_onnx.verify.self_test.run import chosen_defects
from vampnet_onnx.verify.sides.recorded import RecordedReference, RecordedSet
from vampnet_onnx.verify.sides.upstream import UpstreamReference, Worker
from vampnet_onnx.verify.subjects.registry import subject_of
from vampnet_onnx.verify.verification import graphs_afresh, verify_artifacts


def test_a_generation_can_be_asked_for_by_name_and_is_missed_where_a_part_is(
    generation_artifacts: Artifacts, nano: Path, nano_artifacts: Artifacts
) -> None:
    def verified(opened: Artifacts, only: tuple[str, ...]) -> list[str]:
        report = verify_artifacts(
            opened,
            Checkpoints(nano),
            matrix=matrix(seeds=[0], frames=[13]),
            gates=load_gates(),
            toolchain={},
            only=only,
            progress=lambda *_: None,
        )
        assert report.verdict is Verdict.PASS
        return [*report.notes, *(c.name for c in report.components)]

    assert verified(generation_artifacts, ("generation",)) == ["generation"]
    with pytest.raises(InputError, match="no component 'generation'"):
        verified(nano_artifacts, ("generation",))
    assert "no whole generation was compared" in verified(nano_artifacts, ())[0]


def test_artifacts_verify_against_the_worker_and_a_recorded_set(
    worker: Worker, exported_a: Path
) -> None:
    matrix = load_config(None).verify.model_copy(
        update={"seeds": [0], "frames": [1, 5], "batches": [2], "threads": 1}
    )
    artifacts = only(open_artifacts(exported_a), *subject_of("generation").needs)
    recorded = RecordedSet(GOLDEN / "a")
    for oracle, says, n_cases in (
        (lambda _models: UpstreamReference(worker), "vampnet and lac", [3, 2]),
        (lambda models: RecordedReference(recorded, models), "recorded set 'a'", [3, 4]),
    ):
        report = verify_artifacts(
            artifacts,
            Checkpoints(GOLDEN / "a"),
            matrix=matrix,
            gates=load_gates(),
            toolchain={},
            oracle=oracle,
            progress=lambda *_: None,
        )
        assert report.verdict == "PASS", report.verdict_line
        assert says in report.reference
        assert [part.name for part in report.components] == ["codec_decoder", "coarse"]
        assert [len(part.cases) for part in report.components] == n_cases
        # The files of a whole generation are there, and neither oracle has one.
        left_out = [note for note in report.notes if "no part like it" in note]
        assert [note.split()[-1] for note in left_out] == ["sampler", "generation"]


def test_graphs_of_the_audit_are_begun_with_and_each_is_made_once(
    nano: Path, nano_artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, told = list[list[str]](), list[tuple[str, int, int]]()

    def graphs(requests: Iterable[GraphRequest]) -> Graphs:
        afresh = graphs_afresh(requests, 1)
        begun.append([f"{r.structure.name} {r.structure.variant}" for r in afresh.made_now])
        return afresh

    monkeypatch.setattr(fresh, "_MADE", {})
    monkeypatch.setattr(verification, "graphs_afresh", graphs)
    for _ in range(2):
        report = verify_artifacts(
            only(nano_artifacts, "coarse", "coarse.latents"),
            Checkpoints(nano),
            matrix=matrix(seeds=[0], frames=[13]),
            gates=load_gates(),
            toolchain={},
            made={"coarse.latents": Made(Fingerprint("", {}), ())},  # not what the file is
            progress=lambda *step: told.append(step),
        )
        assert report.verdict is Verdict.PASS
    assert begun == [["coarse "], []]
    audits = [step for step in told if step[0].startswith("audit")]
    assert audits == 2 * [
        ("audit coarse", 0, 2),
        ("audit coarse", 1, 2),
        ("audit coarse.latents", 1, 2),
        ("audit coarse.latents", 2, 2),
    ]
    seen = [step[1:] for step in told if step[0] == "modules coarse"]
    (total,) = {total for _, total in seen}
    assert total >= 20 and [done for done, _ in seen] == 2 * [*range(len(seen) // 2)]
    assert total - 3 <= len(seen) // 2 <= total


@pytest.mark.parametrize("fails", [False, True])
def test_threads_of_the_process_are_given_back(
    generation_artifacts: Artifacts, nano: Path, fails: bool
) -> None:
    def stop(_name: str, _done: int, _total: int) -> None:
        if torch.get_num_threads() == 3 and fails:
            raise KeyboardInterrupt

    before = torch.get_num_threads()
    assert before != 3
    with contextlib.suppress(KeyboardInterrupt):
        verify_artifacts(
            only(generation_artifacts, "sampler"),
            Checkpoints(nano),
            matrix=matrix(seeds=[0], frames=[13]).model_copy(update={"threads": 3}),
            gates=load_gates(),
            toolchain={},
            progress=stop,
        )
        assert not fails
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("stop", [("coarse", 0), ("coarse.latents", 0), ("coarse.latents", 2)])
@pytest.mark.parametrize("limit", [1e-5, 0.0])
def test_an_interrupt_keeps_what_was_found_and_is_never_a_pass(
    nano: Path, nano_artifacts: Artifacts, stop: tuple[str, int], limit: float
) -> None:
    started: set[str] = set()

    def progress(name: str, done: int, total: int) -> None:
        if name in started and (name, done) == stop:
            raise Interrupted
        started.add(name)

    def verify() -> Report:
        return verify_artifacts(
            only(nano_artifacts, "coarse", "coarse.latents", "c2f"),
            Checkpoints(nano),
            matrix=matrix(seeds=[0], frames=[1, 13, 29]),
            gates=load_gates({"transformer": {"relative_l2": {"limit": limit}}}),
            toolchain={},
            progress=progress,
        )

    if stop == ("coarse", 0):  # nothing is there to keep
        with pytest.raises(Interrupted):
            verify()
        return
    report = verify()
    verdict = Verdict.INTERRUPTED if limit else Verdict.FAIL
    assert report.verdict is verdict and report.verdict_line.startswith(verdict)
    assert report.unfinished == ["coarse.latents", "c2f"]
    assert "interrupted before coarse.latents, c2f was verified" in report.verdict_line
    assert [len(part.cases) for part in report.components] == [6, *([stop[1]] * bool(stop[1]))]
    for part in report.components[1:]:
        assert part.verdict is verdict and part.gates
        assert {gate.name for gate in part.gates}.isdisjoint(OF_ALL)
    assert "passed" not in render_junit(report).partition("verdict")[0]
    assert ("<error" in render_junit(report)) == (verdict is Verdict.INTERRUPTED)
    assert f"<title>{verdict}: " in render_html(report)
    assert render_markdown(report).splitlines()[0].partition(": ")[0].endswith(verdict)


def test_a_generator_is_verified_and_what_happened_to_its_file_is_said(
    generator_artifacts: Artifacts, nano: Path, tmp_path: Path
) -> None:
    def verified(artifacts: Artifacts) -> Component:
        report = verify_artifacts(
            artifacts,
            Checkpoints(nano),
            matrix=matrix(seeds=[0], frames=[9]),
            gates=load_gates(),
            toolchain=artifacts.manifest.toolchain,
            only=("coarse.generator",),
            localise_seconds=60,
            progress=lambda *_: None,
        )
        return report.components[0]

    sound = verified(generator_artifacts)
    assert sound.verdict is Verdict.PASS
    measured = {gate.name for gate in sound.gates}
    assert {"audit", "own_loop", "tokens_unexplained"} < measured and "modules" not in measured
    shutil.copytree(generator_artifacts.folder, folder := tmp_path / "v1")
    path = folder / "coarse.generator.onnx"
    model = read_graph(path)
    (defect,) = chosen_defects(["TemperatureOfTheLastStep"])
    defect.plant(model)  # type: ignore[attr-defined]
    save_beside(model, path, folder / "coarse.onnx")
    wrong = verified(open_artifacts(folder, unsealed=True))
    failed = {gate.name for gate in wrong.gates if gate.verdict is Verdict.FAIL}
    assert {"audit", "own_loop", "tokens_unexplained"} <= failed
    (cause,) = wrong.causes
    assert cause.module == "loop.sampler.remask" and "Mul" in cause.what
    assert "verify" in cause.command and "--case coarse.generator/" in cause.command


def test_what_is_random_cannot_be_told_otherwise(
    nano_artifacts: Artifacts, nano: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "v1"
    shutil.copytree(nano_artifacts.folder, folder)
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    manifest["random_weights"] = False
    for labels, says in (
        ("random", "random_weights is false, and the labels of its sources say otherwise"),
        ("", "says that the weights of .* are not random, and the file says that they are"),
    ):
        for source in manifest["sources"]:
            source["label"] = labels
        (folder / "manifest.json").write_text(json.dumps(manifest), "utf-8")
        with pytest.raises(InputError, match=says):
            verify_export(folder, nano, components=["coarse"], seeds=[0], localise=False)
