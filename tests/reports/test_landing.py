"""What a change comes to: one verdict of two reports, as a comment, a badge and an outcome."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from tests.support.report_samples import (
    ambiguous_report,
    explained_report,
    failing_report,
    passing_report,
)
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.reports import Report, Verdict, report_json
from vampnet_onnx.reports.landing import Landing, read_landing, write_landing
from vampnet_onnx.reports.render import FILES


def landed(folder: Path, **options: object) -> tuple[Landing, str, dict[str, str]]:
    """Return what a folder comes to, the comment on it, and the outcome."""
    landing = read_landing(folder, **({"name": "mine"} | options))  # type: ignore[arg-type]
    write_landing(landing, folder)
    lines = (folder / "outcome.env").read_text("utf-8").splitlines()
    outcome = dict(line.split("=", 1) for line in lines)
    return landing, (folder / "comment.md").read_text("utf-8"), outcome


def put(folder: Path, **reports: Report) -> None:
    for name, report in reports.items():
        (folder / name).mkdir(parents=True)
        (folder / name / FILES["json"]).write_text(report_json(report), "utf-8")


def test_two_reports_that_pass_may_land(tmp_path: Path) -> None:
    put(tmp_path, verify=passing_report(), compare=ambiguous_report())
    landing, comment, outcome = landed(tmp_path)
    assert landing.holds and "## ✅ PASS: mine, this may land\n" in comment
    assert outcome["verify"] == "PASS" and outcome["compare"] == "AMBIGUOUS"
    assert outcome["version"] == "vampnet-tiny/v3" and float(outcome["headroom"]) >= 1
    assert "What now?" not in comment
    assert "Noted of this version: GPU kernels were not exercised" in comment


@pytest.mark.parametrize(
    "departures, holds", [("fail", False), ("tell", True)], ids=["fail", "tell"]
)
def test_a_departure_may_be_told_alone(tmp_path: Path, departures: str, holds: bool) -> None:
    put(tmp_path, verify=passing_report(), compare=failing_report())
    landing, comment, outcome = landed(
        tmp_path,
        departures=departures,
        files="get them",
        accepted_by="say so",
        link="https://host/run_1",
    )
    assert "[The run, with the whole report](https://host/run_1)." in comment
    assert landing.holds is holds and outcome["compare"] == "FAIL"
    assert ("### ➡️ departs, accepted: Against the last" in comment) is holds
    assert "c2f fails: 31 logits" in comment
    assert ("Meant: say so, and this lands" in comment) is not holds
    assert ("`get them`" in comment) is not holds
    badge = json.loads((tmp_path / "badge.json").read_text("utf-8"))
    assert badge["isError"] is not holds and badge["label"] == "mine"


def test_a_verification_that_fails_is_never_told_alone(tmp_path: Path) -> None:
    put(tmp_path, verify=failing_report(), compare=passing_report())
    landing, comment, outcome = landed(tmp_path, departures="tell")
    assert not landing.holds and "look at the export" in comment
    assert outcome["headroom"] == "nan"  # a gate was measured to be none
    assert "**c2f**" in comment.splitlines()[5]


def test_an_interrupted_verification_may_not_land(tmp_path: Path) -> None:
    put(tmp_path, verify=passing_report().model_copy(update={"verdict": Verdict.INTERRUPTED}))
    landing, comment, _ = landed(tmp_path)
    assert not landing.holds and "INTERRUPTED" in comment
    assert "ci baseline" not in comment


def test_a_first_version_says_how_the_next_is_compared_with_it(tmp_path: Path) -> None:
    folder = tmp_path / "onnx ci" / "report"
    folder.mkdir(parents=True)
    put(folder, verify=passing_report())
    line = shlex.join(
        ["vampnet-onnx", "ci", "baseline", f"{folder.parent.as_posix()}/artifacts"]
    )
    line += " --into " + shlex.quote(f"{folder.parent.as_posix()}/baseline")
    assert f"To compare the next one with this: `{line}`." in landed(folder)[1]
    put(folder, compare=passing_report())
    assert "ci baseline" not in landed(folder)[1]


def test_a_command_without_a_report_has_failed_and_its_log_says_why(tmp_path: Path) -> None:
    landing, comment, outcome = landed(tmp_path)
    assert not landing.holds and landing.compare is None
    assert outcome == {
        "verdict": "FAIL",
        "verify": "FAIL",
        "compare": "none",
        "headroom": "",
        "version": "",
    }
    assert "it left no report, and no error" in comment
    (tmp_path / "verify.log").write_text(
        "error: old\n\x1b[31merror:\x1b[0m no such folder\nlast\n"
    )
    assert (
        "### ❌ FAIL: Against its checkpoint, verify: no such folder\n" in landed(tmp_path)[1]
    )
    (tmp_path / "export.log").write_text("  coarse\nerror: a @team | `bad` file\n")
    comment = landed(tmp_path)[1]
    assert ": Against its checkpoint, export: a @<!-- -->team \\| \\`bad\\` file\n" in comment
    put(tmp_path, verify=passing_report())  # of an earlier run
    assert "export: a @" in landed(tmp_path)[1]
    (tmp_path / "export.log").write_text("  coarse\n")
    landing, comment, outcome = landed(tmp_path)
    assert not landing.holds and "verify: no such folder" in comment
    assert outcome["version"] == ""
    (tmp_path / "verify.log").unlink()
    assert landed(tmp_path)[0].holds
    (tmp_path / "baseline.log").write_text("error: no release\n")
    landing, comment, _ = landed(tmp_path, departures="tell")
    assert not landing.holds and "baseline: no release" in comment
    (tmp_path / "baseline.log").write_text("  v1 is in baseline\n")
    (tmp_path / "compare.log").write_text("")
    landing, _, _ = landed(tmp_path, departures="tell")
    assert not landing.holds and landing.compare is not None
    put(tmp_path, compare=passing_report())
    assert landed(tmp_path)[0].holds
    (tmp_path / "compare.log").write_text("error: it was changed\n")
    assert not landed(tmp_path, departures="tell")[0].holds


BROKEN = {
    "fails": ({"verdict": Verdict.FAIL}, {}, {}),
    "interrupted": ({"interrupted": True}, {}, {}),
    "no_gates": ({"gates": []}, {}, {}),
    "gate_fails": ({}, {"verdict": Verdict.FAIL}, {}),
    "gate_beyond": ({}, {"value": 1e9}, {}),
    "gate_not_measured": ({}, {"value": None}, {}),
    "tie_not_measured": ({}, {"value": None, "verdict": Verdict.AMBIGUOUS}, {}),
    "no_components": ({}, {}, {"components": []}),
    "unfinished": ({}, {}, {"unfinished": ["coarse"]}),
    "no_model_name": ({}, {}, {"model": "m\nverdict=PASS"}),
    "no_version_name": ({}, {}, {"version": "v1\x85evil=1"}),
}


@pytest.mark.parametrize("part, gate, whole", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("verdict", [Verdict.PASS, Verdict.AMBIGUOUS])
def test_a_report_is_held_to_what_is_in_it(
    tmp_path: Path,
    verdict: Verdict,
    part: dict[str, object],
    gate: dict[str, object],
    whole: dict[str, object],
) -> None:
    report = passing_report().model_copy(update={"verdict": verdict})
    first, *others = report.components
    gates = [first.gates[0].model_copy(update=gate), *first.gates[1:]]
    first = first.model_copy(update={"gates": gates} | part)
    report = report.model_copy(update={"components": [first, *others]} | whole)
    put(tmp_path, verify=report, compare=report)
    landing, comment, outcome = landed(tmp_path, departures="tell")
    assert not landing.verify.holds and "does not hold together" in comment
    assert landing.compare is not None and not landing.compare.holds
    assert len(outcome) == 5 and outcome["verdict"] == "FAIL" and outcome["version"] == ""


def test_what_could_not_be_compared_as_the_export_failed_is_said_once(tmp_path: Path) -> None:
    (tmp_path / "export.log").write_text("error: no checkpoint\n")
    comment = landed(tmp_path)[1]
    assert "| none | not run | none |" in comment and "no verified version" not in comment
    (tmp_path / "compare.log").write_text("error: artifacts: holds no version\n")
    landing, comment, outcome = landed(tmp_path, departures="tell")
    assert not landing.holds and outcome["compare"] == "FAIL"
    assert comment.count("\n### ") == 1 and "holds no version" not in comment
    assert "| not run, as export failed | none |" in comment
    (tmp_path / "baseline.log").write_text("error: no release\n")
    comment = landed(tmp_path)[1]
    assert comment.count("\n### ") == 2 and "baseline: no release" in comment


@pytest.mark.parametrize("number, told", [(16, ""), (17, "And 1 component more, in report")])
def test_components_that_are_not_listed_are_counted(
    tmp_path: Path, number: int, told: str
) -> None:
    report = passing_report()
    many = [report.components[0].model_copy(update={"variant": str(i)}) for i in range(number)]
    put(tmp_path, verify=report.model_copy(update={"components": many}))
    comment = landed(tmp_path)[1]
    assert told in comment and ("more, in report" in comment) is bool(told)


def test_a_commit_is_told_as_what_is_checked_out(tmp_path: Path) -> None:
    report = explained_report()
    put(tmp_path, verify=report)
    assert report.run is not None and len(report.run.commit) >= 10
    told = f"commit {report.run.commit[:10]} is checked out; whether files were changed since"
    assert told in landed(tmp_path)[1]
    run = report.run.model_copy(update={"commit": ""})
    put(tmp_path / "none", verify=report.model_copy(update={"run": run}))
    assert "; no commit." in landed(tmp_path / "none")[1]


def test_a_report_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "verify").mkdir()
    (tmp_path / "verify" / "report.json").write_text("{}")
    with pytest.raises(InputError, match="not a report"):
        read_landing(tmp_path, name="mine")


def test_a_folder_where_a_file_should_be_is_named(tmp_path: Path) -> None:
    put(tmp_path, verify=passing_report())
    (tmp_path / "badge.json").mkdir()
    with pytest.raises(InputError, match=r"badge\.json: is a folder"):
        landed(tmp_path)
    (tmp_path / "export.log").mkdir()
    with pytest.raises(InputError, match=r"export\.log: cannot be read"):
        landed(tmp_path)


def test_a_comment_has_room_for_any_report(tmp_path: Path) -> None:
    """GitHub takes 65,536 characters."""
    report = failing_report()
    many = [
        part.model_copy(update={"variant": f"{number}-" + "x" * 500})
        for number in range(30)
        for part in report.components
    ]
    notes = ["n" * 5000] * 50
    put(
        tmp_path,
        verify=report.model_copy(update={"components": many, "notes": notes}),
        compare=report.model_copy(update={"components": many, "notes": notes}),
    )
    assert len(landed(tmp_path)[1]) < 60_000
