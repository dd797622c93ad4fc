"""``vampnet-onnx verify``: artifacts against their checkpoints."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vampnet_onnx.configs.extras import require_export_tools
from vampnet_onnx.configs.interrupts import EXIT_CODE
from vampnet_onnx.configs.machine import use_large_pages

from .options import (
    ArtifactsArgument,
    Bf16,
    Cases,
    Checkpoint,
    Codec,
    ConfigOption,
    Json,
    Lora,
    Provider,
    Runs,
    Scheduler,
    Tf32,
    Unsealed,
    UpstreamPython,
    seed_list,
)
from .output import (
    complain,
    cost,
    gate_facts,
    here,
    out,
    print_cost,
    print_json,
    print_report,
    print_verdict,
    progress_bar,
)

if TYPE_CHECKING:
    from vampnet_onnx.reports import Report

Against = Literal["models", "upstream", "golden"]


def verify(
    artifacts: ArtifactsArgument,
    checkpoint: Checkpoint = None,
    report: Annotated[Path, typer.Option(metavar="DIR", help="Where the report goes.")] = Path(
        "report"
    ),
    config: ConfigOption = None,
    component: Annotated[
        list[str] | None, typer.Option(help="Verify this component only; may be repeated.")
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(metavar="LIST", help="Seeds of the cases, such as 0,1,2.")
    ] = None,
    case: Cases = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            "-j",
            min=1,
            max=256,
            help="Processes that run cases, each with models of its own; if left out, one, and"
            " from 32 seeds on one for every core.",
        ),
    ] = None,
    scheduler: Scheduler = None,
    no_localise: Annotated[
        bool,
        typer.Option("--no-localise", help="Do not look for the module behind a failure."),
    ] = False,
    exit_first: Annotated[
        bool, typer.Option("--exitfirst", "-x", help="Stop at the first case that fails.")
    ] = False,
    codec: Codec = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Do not look at every module by itself.")
    ] = False,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Fail where a gate has come much nearer to its limit since the last verified"
            " version.",
        ),
    ] = False,
    lora: Lora = None,
    unsealed: Unsealed = False,
    reference: Annotated[
        Against,
        typer.Option(
            help="What to compare with: our models, the published packages (upstream), or"
            " what a recorded set in the checkpoint folder holds (golden)."
        ),
    ] = "models",
    upstream_python: UpstreamPython = None,
    provider: Provider = "cpu",
    runtime: Runs = "onnxruntime",
    tf32: Tf32 = False,
    bf16: Bf16 = False,
    runtimes: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Run a few cases of every file on each of these, instead of verifying on one:"
            " default, threads2, basic, off, parallel, saved, openvino, onnx-reference, node,"
            " web, oldest.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    r"""Verify artifacts against the checkpoints they were made from, and report.

    Hashes are checked first. Every component runs over a matrix of seeds, lengths and batch
    sizes on both sides. Exit code 1 means that a gate failed. Many seeds (0:2000) run in
    parallel, and with --scheduler on other machines; seeds that failed are listed with the
    command that runs each again. Where
    values are not finite, the report says which module and node made them, and whose fault
    it is. An interrupt leaves the report of what was found until then. On another provider or
    runtime the same cases run; what is found there is said of it and changes nothing of what
    the version counts as. With --runtimes the report is a table of components and runtimes;
    one that is not installed is skipped, by name.

    Examples:
      vampnet-onnx verify artifacts --checkpoint checkpoints/mine --report report

      vampnet-onnx verify artifacts --checkpoint checkpoints/mine \
          --component c2f --seeds 0:2000 --exitfirst

      vampnet-onnx verify artifacts --checkpoint ckpt --reference upstream \
          --upstream-python build/upstream/bin/python

      vampnet-onnx verify artifacts --checkpoint ckpt \
          --runtimes default,openvino,oldest
    """
    require_export_tools()
    use_large_pages()
    from vampnet_onnx.reports import has_report, require_report_place, write_reports
    from vampnet_onnx.verify.jobs import verify_export

    require_report_place(report)
    replaced = has_report(report)
    version: dict[str, object] = {}
    started = time.monotonic()
    artifacts = here(artifacts)
    with progress_bar() as bar:
        result = verify_export(
            artifacts,
            checkpoint,
            config=config,
            components=component or (),
            seeds=None if seeds is None else seed_list(seeds),
            cases=case or (),
            localise=not no_localise,
            jobs=jobs,
            scheduler=scheduler,
            exit_first=exit_first,
            codec=codec,
            quick=quick,
            strict=strict,
            lora=lora or (),
            unsealed=unsealed,
            reference=reference,
            upstream_python=upstream_python,
            provider=provider,
            runtime=runtime,
            tf32=tf32,
            bf16=bf16,
            runtimes=[] if runtimes is None else [n.strip() for n in runtimes.split(",")],
            progress=bar,
            settled=lambda folder, line: version.update(artifacts=str(folder), standing=line),
        )
    files = dict[str, Path]()
    try:
        files = write_reports(result, report)
    finally:  # whatever became of the report, the verdict is told
        _print(result, files, version, started, replaced, as_json=as_json)
    if result.unfinished:
        complain(f"interrupted; the report in {report} has what was found until then")
        raise typer.Exit(EXIT_CODE)
    raise typer.Exit(1 if result.verdict == "FAIL" else 0)


def _print(
    result: Report,
    files: dict[str, Path],
    version: dict[str, object],
    started: float,
    replaced: bool,
    *,
    as_json: bool,
) -> None:
    if as_json:
        print_json(
            {
                "verdict": result.verdict,
                "verdict_line": result.verdict_line,
                "notes": result.notes,
                "bad_seeds": {
                    part.id: [bad.model_dump(mode="json") for bad in part.bad_seeds]
                    for part in result.components
                },
                "causes": {
                    part.id: [
                        cause.model_dump(mode="json", exclude={"depth"})
                        for cause in part.causes
                    ]
                    for part in result.components
                },
                "gates": {
                    part.id: [gate_facts(gate) for gate in part.gates]
                    for part in result.components
                },
                **version,
                "report": {name: str(path) for name, path in files.items()},
                **cost(started),
            }
        )
    else:
        print_verdict(result)
        out.print(f"  artifacts  {version['artifacts']} {version['standing']}", markup=False)
        if files:
            print_report(files["html"], replaced=replaced)
        print_cost(started)
