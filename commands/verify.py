"""``vampnet-onnx verify``: artifacts against their checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vampnet_onnx.configs.config import load_gates
from vampnet_onnx.configs.errors import InputError

from .doctor import require_export_tools
from .options import (
    Checkpoint,
    ConfigOption,
    Json,
    Lora,
    Unsealed,
    UpstreamPython,
    seed_list,
    settings_from,
)
from .output import (
    cost,
    err,
    out,
    print_cost,
    print_json,
    print_verdict,
    progress_bar,
    spinner,
)

if TYPE_CHECKING:
    from vampnet_onnx.verify.sides.models import Oracle

Against = Literal["models", "upstream", "golden"]


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
    exit_first: Annotated[
        bool, typer.Option("--exitfirst", "-x", help="Stop at the first case that fails.")
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
    as_json: Json = False,
) -> None:
    """Verify artifacts against the checkpoints they were made from, and report.

    Hashes are checked first. Every component runs over a matrix of seeds, lengths and batch
    sizes on both sides. Exit code 1 means that a gate failed. Many seeds (0:2000) run in
    parallel; every seed that failed is listed with the command that runs it again. Where
    values are not finite, the report says which module and node made them, and whose fault
    it is.

    Examples:
      vampnet-onnx verify artifacts --checkpoint checkpoints/mine --report report

      vampnet-onnx verify artifacts --checkpoint checkpoints/mine --component c2f
          --seeds 0:2000 --exitfirst

      vampnet-onnx verify artifacts --checkpoint ckpt --reference upstream
          --upstream-python build/upstream/bin/python
    """
    require_export_tools()
    from vampnet_onnx.configs.artifacts import open_artifacts
    from vampnet_onnx.export.toolchain import toolchain
    from vampnet_onnx.reports import write_reports
    from vampnet_onnx.reports.summary import label
    from vampnet_onnx.verify.gates.processes import jobs_for
    from vampnet_onnx.verify.verification import verify_artifacts

    settings = settings_from(config, checkpoint, "verify", lora, {})
    if settings.checkpoint.path is None:
        raise InputError("verify compares with checkpoints: give --checkpoint DIR")
    matrix = settings.verify
    if seeds is not None:
        matrix = matrix.model_copy(update={"seeds": seed_list(seeds)})
    if jobs is not None and jobs > 1 and reference != "models":
        raise InputError("--jobs goes with --reference models; the others are one process")
    if jobs is None:
        many = reference == "models"
        jobs = jobs_for(len(matrix.seeds), matrix.threads) if many else 1
    started = time.monotonic()
    with spinner(err, "checking hashes"):
        opened = open_artifacts(artifacts, unsealed=unsealed)
    overlays = {str(name): path for name, path in settings.checkpoint.lora.items()}
    folder = settings.checkpoint.path
    with (
        _oracle(reference, upstream_python, folder, overlays, matrix.threads) as given,
        progress_bar(err) as bar,
    ):
        result = verify_artifacts(
            opened,
            folder,
            matrix=matrix,
            gates=load_gates(settings.gates),
            lora=overlays,
            toolchain=toolchain(),
            only=tuple(component or ()),
            jobs=jobs,
            exit_first=exit_first,
            progress=bar,
            **given,
        )
    files = write_reports(result, report)
    if as_json:
        print_json(
            {
                "verdict": result.verdict,
                "verdict_line": result.verdict_line,
                "notes": result.notes,
                "bad_seeds": {
                    label(part): [bad.model_dump(mode="json") for bad in part.bad_seeds]
                    for part in result.components
                },
                "artifacts": str(opened.folder),
                "report": {name: str(path) for name, path in files.items()},
                **cost(started),
            }
        )
    else:
        print_verdict(result)
        out.print(f"  report     {files['html']}")
        print_cost(started)
    raise typer.Exit(1 if result.verdict == "FAIL" else 0)


@contextmanager
def _oracle(
    reference: Against,
    python: Path | None,
    checkpoint: Path,
    lora: dict[str, Path],
    threads: int,
) -> Iterator[dict[str, Callable[..., Oracle]]]:
    """Give the argument of `verify_artifacts` that says what to compare with."""
    if python is not None and reference != "upstream":
        raise InputError("--upstream-python goes with --reference upstream")
    if reference == "models":
        yield {}
    elif reference == "upstream":
        from vampnet_onnx.models import check_set
        from vampnet_onnx.verify.sides.upstream import UpstreamReference, open_worker

        check_set(checkpoint)
        with open_worker(python, checkpoint, lora=lora, threads=threads) as worker:
            yield {"oracle": lambda _models: UpstreamReference(worker)}
    else:
        from vampnet_onnx.verify.sides.recorded import RecordedReference, RecordedSet

        if lora:
            raise InputError(
                "--reference golden: no recorded set has a LoRA file laid over it"
            )
        yield {"oracle": partial(RecordedReference, RecordedSet(checkpoint))}
