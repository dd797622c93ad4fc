"""The command line, ``vampnet-onnx``: one sub-command per thing a person does; no logic.

Exit codes: 0 all gates pass; 1 a gate failed; 2 bad usage, configuration or input; 3 the
environment cannot do it; 130 interrupted.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import click
import typer
from rich.console import Console

from configs.config import Config, config_from, load_config, load_gates
from configs.doctor import examine, require_export_tools
from configs.errors import EnvironmentLacksError, InputError
from configs.files import staging_folder
from configs.progress import progress_bar, spinner

if TYPE_CHECKING:
    from reports import Report

app = typer.Typer(
    name="vampnet-onnx",
    help="VampNet checkpoints to ONNX files one can trust, with the proof.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
out = Console(soft_wrap=True, highlight=False)
err = Console(stderr=True, soft_wrap=True, highlight=False)

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Checkpoint = Annotated[
    Path | None,
    typer.Option(
        "--checkpoint",
        metavar="DIR",
        help="Folder with codec.pth, coarse.pth, c2f.pth, or some of them.",
    ),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Configuration; its matrix and gates."),
]
Lora = Annotated[
    list[str] | None,
    typer.Option(
        "--lora",
        metavar="NAME=FILE",
        help="LoRA file to lay over a transformer, as coarse=FILE or c2f=FILE.",
    ),
]


@app.command()
def release(
    config: Annotated[
        Path | None,
        typer.Argument(metavar="[CONFIG]", help="TOML file; the embedded demo if left out."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where the report goes.")
    ] = None,
    artifacts: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Root of the artifact store.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Export a checkpoint set, verify it, report, and publish it if every gate holds.

    Without arguments the embedded demo is released: a small random set, made on the spot.
    A set that fails a gate is not published; its files are kept under
    ARTIFACTS/MODEL/rejected for inspection.

    Examples:
      vampnet-onnx release

      vampnet-onnx release my-model.toml --report report
    """
    require_export_tools()
    from verify.release import release_set

    settings = load_config(config)
    started = time.monotonic()
    with progress_bar(err) as bar:
        outcome = release_set(
            settings,
            artifacts=artifacts or settings.output.artifacts,
            report=report or settings.output.report,
            progress=bar,
        )
    result = {
        "verdict": outcome.report.verdict,
        "verdict_line": outcome.report.verdict_line,
        "published": outcome.published,
        "new": outcome.new,
        "artifacts": str(outcome.folder),
        "report": {name: str(path) for name, path in outcome.files.items()},
        **_cost(started),
    }
    if as_json:
        _print_json(result)
    else:
        _print_verdict(outcome.report)
        state = "published" if outcome.new else "unchanged, already published"
        out.print(
            f"  artifacts  {outcome.folder} ({state if outcome.published else 'rejected'})"
        )
        out.print(f"  report     {outcome.files['html']}")
        _print_cost(started)
    raise typer.Exit(0 if outcome.published else 1)


@app.command()
def export(
    checkpoint: Checkpoint = None,
    output: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Root of the artifact store.")
    ] = Path("artifacts"),
    config: ConfigOption = None,
    model: Annotated[
        str | None, typer.Option(help="Name in the store; the folder's name if left out.")
    ] = None,
    component: Annotated[
        list[str] | None, typer.Option(help="Export this component only; may be repeated.")
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", help="Entry of the transformers: codes, latents; repeatable."),
    ] = None,
    opset: Annotated[int | None, typer.Option(help="ONNX opset, 18 to 23.")] = None,
    external_data: Annotated[
        bool,
        typer.Option("--external-data", help="Weights in files of their own, at any size."),
    ] = False,
    lora: Lora = None,
    version: Annotated[
        int | None, typer.Option(min=1, help="Version number to make; the next if left out.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Export a folder of checkpoints to ONNX, without verifying.

    Files go to OUT/MODEL/vN, with a manifest. The same checkpoint and toolchain give the same
    bytes and no new version.

    Examples:
      vampnet-onnx export --checkpoint checkpoints/mine --out artifacts

      vampnet-onnx export --checkpoint checkpoints/mine --input latents --component coarse
    """
    require_export_tools()
    from export.export_set import Request, export_set
    from export.store import publish

    settings = _settings(config, checkpoint, model, lora, {
        "components": component, "inputs": inputs, "opset": opset,
        "external_data": external_data or None,
    })  # fmt: skip
    if settings.checkpoint.path is None:
        raise InputError("export reads a folder: give --checkpoint DIR")
    request = Request.from_config(settings, settings.checkpoint.path)
    started = time.monotonic()
    home = output / settings.model
    with staging_folder(home) as staged:
        with progress_bar(err) as bar:
            manifest = export_set(request, staged, progress=bar)
        folder, new = publish(staged, home, version=version)
    files = {record.id: str(folder / record.file.name) for record in manifest.components}
    if as_json:
        _print_json({"artifacts": str(folder), "new": new, "files": files, **_cost(started)})
        return
    for record in manifest.components:
        size = record.file.size + (record.data.size if record.data else 0)
        out.print(f"  {record.id:16} {size / 1e6:10.2f} MB  {folder / record.file.name}")
    if manifest.random_weights:
        out.print("  [yellow]random weights: the model makes no music[/yellow]")
    out.print(f"{'exported to' if new else 'unchanged:'} {folder}; not verified yet")
    _print_cost(started)


@app.command()
def verify(
    artifacts: Annotated[
        Path, typer.Argument(metavar="ARTIFACTS", help="A version, a model or a store.")
    ],
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
    lora: Lora = None,
    as_json: Json = False,
) -> None:
    """Verify artifacts against the checkpoints they were made from, and report.

    Hashes are checked first. Every component runs over a matrix of seeds, lengths and batch
    sizes on both sides. Exit code 1 means that a gate failed.

    Example:
      vampnet-onnx verify artifacts --checkpoint checkpoints/mine --report report
    """
    require_export_tools()
    from export.toolchain import toolchain
    from pipeline.artifacts import open_artifacts
    from reports import write_reports
    from verify.run import verify_artifacts

    settings = _settings(config, checkpoint, "verify", lora, {})
    if settings.checkpoint.path is None:
        raise InputError("verify compares with checkpoints: give --checkpoint DIR")
    matrix = settings.verify
    if seeds is not None:
        matrix = matrix.model_copy(update={"seeds": _seed_list(seeds)})
    started = time.monotonic()
    with spinner(err, "checking hashes"):
        opened = open_artifacts(artifacts)
    with progress_bar(err) as bar:
        result = verify_artifacts(
            opened,
            settings.checkpoint.path,
            matrix=matrix,
            gates=load_gates(settings.gates),
            lora={str(name): path for name, path in settings.checkpoint.lora.items()},
            toolchain=toolchain(),
            only=tuple(component or ()),
            progress=bar,
        )
    files = write_reports(result, report)
    if as_json:
        _print_json(
            {
                "verdict": result.verdict,
                "verdict_line": result.verdict_line,
                "artifacts": str(opened.folder),
                "report": {name: str(path) for name, path in files.items()},
                **_cost(started),
            }
        )
    else:
        _print_verdict(result)
        out.print(f"  report     {files['html']}")
        _print_cost(started)
    raise typer.Exit(1 if result.verdict == "FAIL" else 0)


@app.command()
def report(
    source: Annotated[Path, typer.Argument(metavar="REPORT.JSON", help="A report's data.")],
    output: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Where to; the file's folder if left out."),
    ] = None,
) -> None:
    """Render report.json again as HTML, Markdown and JUnit.

    Example:
      vampnet-onnx report report/report.json --out elsewhere
    """
    from reports import read_report, write_reports

    files = write_reports(read_report(source), output or source.parent)
    for path in files.values():
        out.print(f"  {path}")


@app.command()
def fetch(
    output: Annotated[Path, typer.Argument(metavar="DIR", help="Folder for the checkpoints.")],
    finetuned: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="A fine-tuned pair instead of the base one."),
    ] = None,
    repo: Annotated[
        str | None, typer.Option(help="Repository on the hub; the published one if left out.")
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit.")] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="codec, coarse or c2f only; may be repeated.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Get the published checkpoints, or a fine-tuned pair, from the hub.

    Downloads resume where they stopped and are checked against the hub's hashes. HF_ENDPOINT
    and HF_TOKEN are honoured. The weights' licence is their authors'.

    Examples:
      vampnet-onnx fetch checkpoints/published

      vampnet-onnx fetch checkpoints/opera --finetuned opera
    """
    require_export_tools()
    from models.fetch import fetch_finetuned, fetch_published

    chosen: dict[str, Any] = {
        "only": tuple(only or ()), "repo": repo, "revision": revision,
    }  # fmt: skip
    with progress_bar(err) as bar:
        if finetuned is None:
            files = fetch_published(output, progress=bar, **chosen)
        else:
            files = fetch_finetuned(finetuned, output, progress=bar, **chosen)
    if as_json:
        _print_json({"files": [str(path) for path in files]})
    else:
        for path in files:
            out.print(f"  {path}")


@app.command("make-checkpoint")
def make_checkpoint(
    output: Annotated[Path, typer.Argument(metavar="DIR", help="Folder for the checkpoints.")],
    like: Annotated[str, typer.Option(help="Size: tiny or released.")] = "tiny",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the weights.")] = 0,
) -> None:
    """Write random checkpoints in the published format, labelled as random.

    They prove arithmetic, not usefulness: nothing made from them is music. `released` writes
    the released transformers' dimensions, 2.6 GB.

    Example:
      vampnet-onnx make-checkpoint checkpoints/tiny --like tiny --seed 1
    """
    require_export_tools()
    from models.random_checkpoint import write_random_set

    with spinner(err, "drawing weights") as tell:
        files = write_random_set(output, like=like, seed=seed, progress=tell)
    for path in files:
        out.print(f"  {path}  {path.stat().st_size / 1e6:.2f} MB")
    out.print("  random weights: they prove arithmetic, the model makes no music")


@app.command()
def doctor(as_json: Json = False) -> None:
    """Say what this environment has, what it lacks, and how to mend it.

    Exit code 3 means that something is missing.
    """
    findings = examine()
    if as_json:
        _print_json([vars(finding) for finding in findings])
    else:
        for finding in findings:
            mark = "[green]ok  [/green]" if finding.ok else "[red]LACK[/red]"
            out.print(f"  {mark}  {finding.what:14} {finding.found}")
            if not finding.ok:
                out.print(f"        {'':14} {finding.remedy}")
    raise typer.Exit(0 if all(finding.ok for finding in findings) else 3)


def main() -> None:
    """Run the command line and turn refusals into one line and an exit code."""
    signal.signal(signal.SIGTERM, _stop)
    try:
        code = app(standalone_mode=False)
    except (InputError, EnvironmentLacksError) as error:
        _complain(str(error))
        code = error.exit_code
    except click.ClickException as error:
        error.show()
        code = 2
    except (KeyboardInterrupt, click.Abort):
        _complain("interrupted; nothing was left half-written")
        code = 130
    sys.exit(code if isinstance(code, int) else 0)


def _settings(
    config: Path | None,
    checkpoint: Path | None,
    model: str | None,
    lora: list[str] | None,
    export_options: dict[str, Any],
) -> Config:
    """Combine a configuration file, if there is one, with options of the command."""
    overlays = dict(_lora_option(item) for item in lora or ())
    given = {key: value for key, value in export_options.items() if value is not None}
    if config is None:
        if checkpoint is None:
            raise InputError("give --checkpoint DIR (or --config FILE)")
        name = model or checkpoint.resolve().name
        source = {"path": checkpoint, "lora": overlays}
        values = {"model": name, "checkpoint": source, "export": given}
        return config_from(values, source="options")
    settings = load_config(config)
    changed = settings.model_dump()
    changed["export"] |= given
    if checkpoint is not None:
        changed["checkpoint"] |= {"path": checkpoint, "like": None}
    changed["checkpoint"]["lora"] |= overlays
    return config_from(changed, source=f"{config} with options")


def _lora_option(text: str) -> tuple[str, Path]:
    name, separator, path = text.partition("=")
    if not separator or name not in ("coarse", "c2f"):
        raise InputError(f"--lora {text}: write coarse=FILE or c2f=FILE")
    return name, Path(path)


def _seed_list(text: str) -> list[int]:
    try:
        seeds = [int(item) for item in text.split(",")]
    except ValueError as error:
        raise InputError(
            f"--seeds {text}: write numbers with commas, such as 0,1,2"
        ) from error
    if min(seeds) < 0:
        raise InputError(f"--seeds {text}: seeds are not negative")
    return seeds


def _print_verdict(result: Report) -> None:
    colour = {"PASS": "green", "AMBIGUOUS": "yellow", "FAIL": "red"}[result.verdict]
    for part in result.components:
        name = f"{part.name}.{part.variant}" if part.variant else part.name
        failed = [gate for gate in part.gates if gate.verdict == "FAIL"]
        out.print(f"  {name:16} {part.verdict:10} {len(part.cases)} cases")
        for gate in failed:
            out.print(f"    {gate.name} {gate.value} (must be {gate.direction} {gate.limit})"
                      f" {gate.worst_case} {gate.message}", markup=False)  # fmt: skip
    out.print(result.verdict_line, style=colour, markup=False)


def _cost(started: float) -> dict[str, float]:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"seconds": round(time.monotonic() - started, 1), "peak_memory_bytes": peak}


def _print_cost(started: float) -> None:
    cost = _cost(started)
    out.print(
        f"  {cost['seconds']:.1f} s, peak memory {cost['peak_memory_bytes'] / 1e9:.2f} GB"
    )


def _print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def _complain(message: str) -> None:
    err.print("[red]error:[/red] ", end="")
    err.print(message, markup=False)


def _stop(_number: int, _frame: object) -> None:
    # Ends like an interrupt, so that staging folders are removed.
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
