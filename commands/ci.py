"""``vampnet-onnx ci``: what a CI does around export, verify and compare."""

import re
from pathlib import Path
from typing import Annotated

import typer

from vampnet_onnx.configs.baseline import take_baseline
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.github import RefusedError, github, github_event
from vampnet_onnx.reports.landing import COMMENT, Departures, read_landing, write_landing

from .output import out, remark

ci = typer.Typer(
    name="ci",
    help="What a CI does around export, verify and compare, in the order: export, verify,"
    " compare, ci verdict. Then ci baseline keeps what may land, to compare the next one with,"
    " and ci comment tells it; docs/ci has whole workflows.",
    no_args_is_help=True,
)

_NAME = r"[\w .-]{1,60}"
_URL = r"https?://[\w.:/?=&%~+-]+"
_MARK = "<!-- vampnet-onnx ci: "


@ci.command("baseline")
def baseline(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A version, a model, a store, hub:USER/REPO or release:TAG/FILE.zip.",
        ),
    ],
    into: Annotated[Path, typer.Option(metavar="DIR", help="Where the version goes.")],
) -> None:
    """Put the last verified version of a source into a folder, to compare the next one with.

    A version that is in the folder already is replaced; a source without a verified version
    is refused. A release's file is asked of GitHub as its Actions say (GITHUB_REPOSITORY,
    GITHUB_TOKEN).

    Examples:
      vampnet-onnx ci baseline artifacts/mine --into onnx-ci/baseline

      vampnet-onnx ci baseline release:latest/mine.zip --into onnx-ci/baseline
    """
    taken = take_baseline(source, into)
    told = "was there already" if taken.resolve() == into.resolve() else f"is in {into}"
    out.print(f"  {taken} {told}", markup=False)


@ci.command("verdict")
def verdict(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="With what verify and compare reported.")
    ],
    name: Annotated[
        str, typer.Option(help="Of what is checked, where a project checks several.")
    ] = "vampnet-onnx",
    departures: Annotated[
        Departures,
        typer.Option(help="Whether what departs from the last verified version may land."),
    ] = "fail",
    files: Annotated[
        str,
        typer.Option(
            metavar="COMMAND",
            help="The command that downloads this run's files; the comment quotes it.",
        ),
    ] = "",
    accepted_by: Annotated[
        str,
        typer.Option(
            metavar="TEXT", help="What somebody does who means a departure; told as well."
        ),
    ] = "run ci verdict with --departures tell",
    link: Annotated[
        str, typer.Option(metavar="URL", help="Of the run; the comment leads there.")
    ] = "",
) -> None:
    """Make one verdict of the reports in DIR/verify and DIR/compare, and tell it.

    The order is export, verify, compare, ci verdict; the last reads what the others
    left.

    Written are DIR/comment.md for a pull request, DIR/badge.json for an endpoint badge, and
    DIR/outcome.env: verdict, worst headroom and version as name=value. A command that left no
    report has failed; why is looked for in DIR/export.log, verify.log and so on. Exit code 1
    means that the change may not land.

    Example:
      vampnet-onnx ci verdict onnx-ci/report
    """
    if not re.fullmatch(_NAME, name):
        raise InputError(f"--name {name}: letters, digits, spaces, dots and hyphens only")
    if link and not re.fullmatch(_URL, link):
        raise InputError(f"--link {link}: is no address such as https://host/run/1")
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder of reports")
    landing = read_landing(
        folder,
        name=name,
        departures=departures,
        files=files,
        accepted_by=accepted_by,
        link=link,
    )
    write_landing(landing, folder)
    for check in landing.checks:
        told = check.report.verdict_line if check.report else f"FAIL: {check.said}"
        out.print(f"  {check.name:10} {told}", markup=False)
    out.print(f"  comment    {folder / COMMENT}", markup=False)
    out.print(f"{landing.verdict}: {name}", style="green" if landing.holds else "red")
    raise typer.Exit(0 if landing.holds else 1)


@ci.command("comment")
def comment(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Of ci verdict: comment.md.")],
) -> None:
    """Write a comment on the pull request of a run of GitHub Actions, or replace the last one.

    Where and with what token the variables of GitHub Actions say. An event without a pull
    request has no comment; where the token may not write, as for a fork's pull request, that
    is said and nothing fails: docs/ci has the workflow that comments then.

    Example:
      vampnet-onnx ci comment onnx-ci/report/comment.md
    """
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read as text; make it with ci verdict") from error
    if not text.startswith(_MARK):
        raise InputError(f"{file}: is no comment of ci verdict (its first line is another)")
    asked = github()
    try:
        number = asked.pull_request(github_event())
        if number is None:
            remark("no pull request of this repository has this run; nothing to comment on")
            return
        out.print(f"  {asked.keep_comment(number, text)}", markup=False)
    except RefusedError as error:
        if error.status != 403:
            raise
        remark(f"the token may not comment ({error}); docs/ci says what comments for forks")
