"""What earns a version its verification, and what does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.report_samples import failing_report, passing_report
from tests.support.versions import staged_version, verification_of
from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.config import VerifySection, load_gates
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.packaged import shipped
from vampnet_onnx.configs.store import read_manifest
from vampnet_onnx.configs.verification import read_verification, write_verification
from vampnet_onnx.reports import Report, Verdict
from vampnet_onnx.verify import jobs, standing
from vampnet_onnx.verify.gates.component import _gate
from vampnet_onnx.verify.gates.measured import Measured
from vampnet_onnx.verify.gates.tally import Tally
from vampnet_onnx.verify.standing import settle, shortfalls

WHOLE = VerifySection(**shipped("defaults.toml")["verify"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Folder of a version with one component, coarse."""
    return staged_version(tmp_path / "store" / "mine" / "v1")


def report(*names: str) -> Report:
    """Return a report that passes, of some of its components."""
    found = passing_report()
    kept = [part for part in found.components if part.id in (names or ("coarse",))]
    return found.model_copy(update={"components": kept})


def reasons(folder: Path, found: Report, gates: Any = None, **changed: list[int]) -> str:
    matrix = WHOLE.model_copy(update=changed)
    return "; ".join(shortfalls(found, read_manifest(folder), matrix, load_gates(gates)))


def test_the_whole_matrix_and_more_of_it_fall_short_of_nothing(folder: Path) -> None:
    assert reasons(folder, report()) == ""
    assert reasons(folder, report(), seeds=[3, 2, 1, 0]) == ""
    assert reasons(folder, report(), {"transformer": {"relative_l2": {"limit": 1e-9}}}) == ""


def test_less_than_the_whole_falls_short_in_words(folder: Path) -> None:
    assert "seeds 1 of" in reasons(folder, report(), seeds=[0, 2])
    assert "frames 150 of" in reasons(folder, report(), frames=[1, 7, 13, 29])
    assert "batches 3 of" in reasons(folder, report(), batches=[1])
    assert "left out: coarse" in reasons(folder, report("codec_decoder"))
    looser = {"transformer": {"relative_l2": {"limit": 1.0}}}
    assert "transformer.relative_l2 is looser" in reasons(folder, report(), looser)


def test_what_could_not_be_judged_earns_nothing_and_what_is_excused_does(folder: Path) -> None:
    def audited(doubt: str, *, unjudged: bool) -> Report:
        found = report()
        (part,) = found.components
        rule = load_gates().for_component("coarse")["audit"]
        measured = {"audit": Measured(0, doubt=doubt, unjudged=unjudged)}
        gate = _gate("audit", rule, Tally({"audit": rule}), measured)
        assert gate.verdict is Verdict.AMBIGUOUS
        part = part.model_copy(update={"gates": [*part.gates, gate]})
        return found.model_copy(update={"components": [part]})

    assert reasons(folder, audited("one differs by rounding", unjudged=False)) == ""
    said = reasons(folder, audited("made of x.pth, not given", unjudged=True))
    assert said == "not all of coarse could be judged (made of x.pth, not given)"


def test_a_pass_is_written_a_fail_takes_it_back_and_less_leaves_it(folder: Path) -> None:
    assert "earns no" in settle(folder, report(), matrix=WHOLE, reasons=["half of it"])
    assert read_verification(folder) is None
    assert "counts as verified" in settle(folder, report(), matrix=WHOLE, reasons=[])
    found = read_verification(folder)
    assert found is not None and [gate.component for gate in found.gates] == ["coarse"] * 4
    said = settle(folder, report(), matrix=WHOLE, reasons=["half of it"])
    assert read_verification(folder) == found and "verified from before" in said
    assert "no longer" in settle(
        folder, failing_report(), matrix=WHOLE, reasons=["half of it"]
    )
    assert read_verification(folder) is None


def test_a_store_that_cannot_be_written_to_is_no_failure(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise InputError("a read-only file system")

    monkeypatch.setattr(standing, "write_verification", refuse)
    told = settle(folder, report(), matrix=WHOLE, reasons=[])
    assert told == "its verification.json stays as it is: a read-only file system"


@pytest.mark.parametrize(
    "options, words",
    [
        ({"components": "coarse"}, "only some components were asked for"),
        ({"exit_first": True}, "-x would have stopped at the first failure"),
        ({"unsealed": True}, "the files are unsealed"),
        ({"reference": "golden"}, "it was held to a recorded set"),
        ({"seeds": [0, 1]}, "seeds 2 of the default matrix"),
        ({}, ""),
    ],
)
def test_only_a_whole_verification_earns_it(
    folder: Path,
    nano: Path,
    golden_a: Any,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    words: str,
) -> None:
    """Nothing is run: what is verified passes, so that options alone decide."""
    monkeypatch.setattr(jobs, "verify_artifacts", lambda *_, **__: report())
    told = list[str]()
    checkpoint = golden_a.folder if "reference" in options else nano
    artifacts = Artifacts(folder, read_manifest(folder))
    jobs.verify_export(
        artifacts, checkpoint, settled=lambda _, line: told.append(line), **options
    )
    assert words in told[0]
    assert (read_verification(folder) is None) == bool(words)
    write_verification(folder, verification_of(folder))
    monkeypatch.setattr(jobs, "verify_artifacts", lambda *_, **__: failing_report())
    jobs.verify_export(artifacts, checkpoint, **options)
    assert read_verification(folder) is None
