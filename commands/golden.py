"""``vampnet-onnx golden``: recorded sets of the published packages' results."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.extras import require_export_tools

from .options import Bf16, Codec, Json, Provider, Runs, Tf32, UpstreamPython
from .output import (
    cost,
    err,
    here,
    out,
    print_cost,
    print_json,
    progress_bar,
)

if TYPE_CHECKING:
    from vampnet_onnx.verify.golden.check import Finding

golden = typer.Typer(
    name="golden",
    help="Sets of what the published packages computed: record one, or hold ours to it.",
    no_args_is_help=True,
)


@golden.command("check")
def check(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Folders of recorded sets.")
    ],
    artifacts: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Hold these exported files to the set, instead of this project's models.",
        ),
    ] = None,
    provider: Provider = "cpu",
    runtime: Runs = "onnxruntime",
    tf32: Tf32 = False,
    bf16: Bf16 = False,
    as_json: Json = False,
) -> None:
    """Compare this project's models, or exported files, with recorded sets, case by case.

    Files are run as the pipeline runs them, with torch's noise: codes, logits and audio, and
    whole generations down to their audio. Exit code 1 means that a limit was exceeded, or
    that a set holds something unknown.

    Examples:
      vampnet-onnx golden check tests/golden/a tests/golden/b

      vampnet-onnx golden check tests/golden/a --artifacts artifacts/a
    """
    require_export_tools()
    from vampnet_onnx.configs.artifacts import open_artifacts
    from vampnet_onnx.configs.runtime import Runtime
    from vampnet_onnx.verify.golden.check import check_set
    from vampnet_onnx.verify.golden.of_files import PipelineRun
    from vampnet_onnx.verify.golden.of_models import ModelRun
    from vampnet_onnx.verify.sides.recorded import RecordedSet

    asked = Runtime(runtime, provider, tf32=tf32, bf16=bf16)
    if artifacts is None and not asked.is_usual:
        raise InputError(
            f"{' '.join(asked.words())} goes with --artifacts, which is run there"
        )
    opened = open_artifacts(here(artifacts)) if artifacts is not None else None
    started = time.monotonic()
    found: dict[str, list[Finding]] = {}
    for folder in folders:
        with progress_bar() as bar:
            run = (
                PipelineRun(RecordedSet(folder), opened, asked) if opened else ModelRun(folder)
            )
            found[str(folder)] = check_set(run, progress=bar)
    verdicts = {finding.verdict for findings in found.values() for finding in findings}
    failed = "FAIL" in verdicts
    if as_json:
        print_json(
            {
                "verdict": "FAIL" if failed else "PASS",
                "artifacts": str(opened.folder) if opened else None,
                "sets": {
                    name: [_row(f) for f in findings] for name, findings in found.items()
                },
                **cost(started),
            }
        )
    else:
        for name, findings in found.items():
            _print_set(name, findings)
        if opened:
            err.print(f"  artifacts  {opened.folder}", markup=False)
        print_cost(started)
    raise typer.Exit(1 if failed else 0)


@golden.command("record")
def record(
    output: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the set; new.")],
    checkpoint: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder with codec.pth, coarse.pth, c2f.pth.")
    ],
    codec: Codec = None,
    upstream_python: UpstreamPython = None,
) -> None:
    r"""Record a new set with the published packages, in the format of the existing ones.

    The packages run in another interpreter, since they need an old torch. Inputs are seeded;
    the checkpoints are copied into the set.

    Example:
      vampnet-onnx golden record mine --checkpoint ckpt \
          --upstream-python build/upstream/bin/python
    """
    require_export_tools()
    from vampnet_onnx.verify.golden.record import record_set

    started = time.monotonic()
    with progress_bar() as bar:
        count = record_set(
            checkpoint, output, codec=codec, python=upstream_python, progress=bar
        )
    out.print(f"  {output}  {count} cases")
    print_cost(started)


def _row(finding: Finding) -> dict[str, object]:
    told = ("kind", "quantity", "verdict", "cases", "worst", "where", "message")
    rule = {name: getattr(finding.rule, name, None) for name in ("limit", "measure")}
    return {name: getattr(finding, name) for name in told} | rule


def _print_set(name: str, findings: list[Finding]) -> None:
    out.print(name, style="bold", markup=False)
    for item in findings:
        rule = item.rule
        worst = "" if item.worst is None else f"{item.worst:.2g}"
        limit = f"{rule.measure.replace('_', ' ')}, limit {rule.limit:.2g}" if rule else ""
        line = (
            f"  {item.verdict}  {item.kind:16} {item.quantity:19} {item.cases:3} cases"
            f"  {worst:>8} {limit:32} {item.where if item.worst else ''}"
        )
        colour = {"FAIL": "red", "SKIP": "yellow"}.get(item.verdict, "")
        out.print(line.rstrip(), style=colour, markup=False)
        if item.verdict != "PASS":
            reason = item.message or (rule.reason if rule else "")
            out.print(f"        {item.where} {reason}".rstrip(), style=colour, markup=False)
    counts = [sum(f.verdict == v for f in findings) for v in ("PASS", "FAIL", "SKIP")]
    out.print(f"  {counts[0]} passed, {counts[1]} failed, {counts[2]} skipped\n")
