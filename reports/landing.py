"""What a change comes to in a CI: its verification and its comparison as one verdict.

A folder holds what the commands left: the reports in ``verify/`` and ``compare/``, and beside
them what each command said, ``export.log`` and so on.  A command that was asked to report and
did not has failed, and so has one whose log ends in an error, whatever report lies there from
before; the last error says why.  A report is believed only where its verdict follows from what
is in it.
"""

import json
import math
import re
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.files import is_there, replacing, require_place

from .pages import render_comment
from .render import FILES
from .schema import Gate, Report, Verdict, read_report
from .summary import headroom, headroom_factor, share_of_gate

Departures = Literal["fail", "tell"]

COMMENT, BADGE, OUTCOME = "comment.md", "badge.json", "outcome.env"

_ERROR = "error: "
_COLOUR = re.compile("\x1b\\[[0-9;]*m")
_HOLD = (Verdict.PASS, Verdict.AMBIGUOUS)
_COLOURS = {Verdict.PASS: "brightgreen", Verdict.FAIL: "red"}


@dataclass(frozen=True)
class Check:
    """What one command found of a change.

    Attributes:
        name: of the command.
        report: None where it made none that can be believed.
        said: why not.
        counts: whether the change may not land where it fails.
        follows: it made none since the export failed, which is told already.
    """

    name: str
    report: Report | None
    said: str = ""
    counts: bool = True
    follows: bool = False

    @property
    def verdict(self) -> Verdict:
        """FAIL where there is no report: what was not checked does not hold."""
        return Verdict.FAIL if self.report is None else self.report.verdict

    @property
    def holds(self) -> bool:
        """Whether the change may land, as far as this goes."""
        return self.verdict in _HOLD or (not self.counts and self.report is not None)

    @property
    def tightest(self) -> tuple[str, Gate] | None:
        """The gate that is nearest to its limit, or furthest beyond it, and its component."""
        parts = self.report.components if self.report else []
        gates = [(part.id, gate) for part in parts for gate in part.gates]
        return max(gates, key=lambda item: share_of_gate(item[1]), default=None)


@dataclass(frozen=True)
class Landing:
    """Whether a change may land.

    Attributes:
        name: of what is checked, where a project checks several.
        compare: None where there was nothing to compare with.
        folder: with the reports.
        files: command that gets the files which the commands of the reports name.
        accepted_by: what somebody does who means what departs.
        link: address of the run, where the reports are.
    """

    name: str
    verify: Check
    compare: Check | None
    folder: Path
    files: str = ""
    accepted_by: str = ""
    link: str = ""

    @property
    def checks(self) -> list[Check]:
        """The checks, in the order in which they ran."""
        return [self.verify] if self.compare is None else [self.verify, self.compare]

    @property
    def holds(self) -> bool:
        """Whether it may land."""
        return all(check.holds for check in self.checks)

    @property
    def verdict(self) -> Verdict:
        """PASS or FAIL."""
        return Verdict.PASS if self.holds else Verdict.FAIL

    @property
    def reported(self) -> bool:
        """Whether a report says what failed, with commands."""
        return any(check.report and not check.holds for check in self.checks)

    @property
    def keeps(self) -> str:
        """Command that makes what was exported the version to compare the next one with."""
        home = self.folder.parent
        paths = [(home / "artifacts").as_posix(), "--into", (home / "baseline").as_posix()]
        return shlex.join(["vampnet-onnx", "ci", "baseline", *paths])

    @property
    def mark(self) -> str:
        """First line of the comment, by which it is found again."""
        return f"<!-- vampnet-onnx ci: {self.name} -->"


def read_landing(
    folder: Path,
    *,
    name: str,
    departures: Departures = "fail",
    files: str = "",
    accepted_by: str = "",
    link: str = "",
) -> Landing:
    """Read what the commands left in a folder.

    Args:
        departures: whether a new version that departs from the last verified one may not land
            ("fail"), or is told and accepted ("tell").
        files: see `Landing`, as are `accepted_by` and `link`.

    Raises:
        InputError: a report or a log is there and cannot be read.
    """
    compared = any((folder / left).exists() for left in ("compare", "compare.log"))
    compare = _check(folder, "compare", ("baseline", "compare"), counts=departures == "fail")
    no_baseline = _error(folder / "baseline.log")
    if compare.report is None and not no_baseline and _error(folder / "export.log"):
        compare = replace(compare, said="not run, as export failed", follows=True)
    return Landing(
        name,
        _check(folder, "verify", ("fetch", "export", "verify")),
        compare if compared or no_baseline else None,
        folder,
        files,
        accepted_by,
        link,
    )


def write_landing(landing: Landing, folder: Path) -> None:
    """Write the comment, the badge and the outcome beside the reports.

    The badge is what an *endpoint* badge of shields.io reads; the outcome has a line
    ``name=value`` each, as GitHub takes outputs and GitLab takes variables.

    Raises:
        InputError: the folder cannot be written.
    """
    outcome = {
        "verdict": landing.verdict.value,
        "verify": landing.verify.verdict.value,
        "compare": landing.compare.verdict.value if landing.compare else "none",
        "headroom": _headroom(landing.verify),
        "version": _version(landing.verify.report),
    }
    texts = {
        COMMENT: render_comment(landing, landing.mark),
        BADGE: json.dumps(_badge(landing), indent=2) + "\n",
        OUTCOME: "".join(f"{key}={value}\n" for key, value in outcome.items()),
    }
    require_place(folder, texts)
    for file, text in texts.items():
        with replacing(folder / file) as temporary:
            temporary.write_bytes(text.encode("utf-8"))


def _check(folder: Path, name: str, logs: tuple[str, ...], *, counts: bool = True) -> Check:
    said = next(filter(None, (_error(folder / f"{log}.log") for log in logs)), "")
    path = folder / name / FILES["json"]
    if said or not path.exists():  # beside an error, a report is one of an earlier run
        return Check(name, None, said or "it left no report, and no error")
    report = read_report(path)
    doubt = _doubt(report)
    if doubt:
        return Check(name, None, f"its report does not hold together: {doubt}")
    return Check(name, report, counts=counts)


def _doubt(report: Report) -> str:
    """Return why a report cannot be believed; empty where it can.

    What says that it holds has to follow from what is in it, whoever wrote it.
    """
    for name in (report.model, report.version):
        if not name.isprintable():
            return f"{name!r} is no name"
    if report.verdict not in _HOLD:
        return ""
    if not report.components or report.unfinished:
        return f"it says {report.verdict}, and not all was verified"
    for part in report.components:
        if part.verdict not in _HOLD or part.interrupted or not part.gates:
            return f"it says {report.verdict}, and {part.id} does not hold"
        for gate in part.gates:
            # Beyond its limit a gate may be, but only where a tie or rounding excuses it.
            excused = gate.verdict is Verdict.AMBIGUOUS and gate.value is not None
            within = gate.verdict is Verdict.PASS and share_of_gate(gate) <= 1
            if not excused and not within:
                return f"it says {report.verdict}, and {gate.name} of {part.id} does not hold"
    return ""


def _error(log: Path) -> str:
    """Return the last error that a command told; empty where it told none."""
    if not is_there(log):
        return ""
    try:
        text = log.read_text("utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"{log}: cannot be read ({error.strerror})") from error
    lines = _COLOUR.sub("", text).splitlines()  # a CI may ask programs for colours
    told = [line for line in lines if line.startswith(_ERROR)]
    return f"{log.stem}: {told[-1].removeprefix(_ERROR)}" if told else ""


def _badge(landing: Landing) -> dict[str, object]:
    tightest = landing.verify.tightest
    spare = f", {headroom(tightest[1])}" if tightest and landing.holds else ""
    return {
        "schemaVersion": 1,
        "label": landing.name,
        "message": f"{landing.verdict}{spare}",
        "color": _COLOURS[landing.verdict],
        "isError": landing.verdict is Verdict.FAIL,
    }


def _headroom(check: Check) -> str:
    """Return the smallest headroom as a factor: 1 at a limit, less beyond it."""
    if check.tightest is None:
        return ""
    factor = headroom_factor(check.tightest[1])
    return "nan" if factor is None or math.isnan(factor) else f"{factor:.4g}"


def _version(report: Report | None) -> str:
    return f"{report.model}/{report.version}" if report else ""
