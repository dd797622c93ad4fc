"""``vampnet-onnx self-test``: the harness tried on planted defects."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from .doctor import require_export_tools
from .options import Json
from .output import err, out, print_json, progress_bar


def self_test(
    runs: Annotated[
        int, typer.Option(min=0, help="Seeded runs of sound exports that must pass.")
    ] = 1000,
    only: Annotated[
        list[str] | None, typer.Option(help="Plant this defect only; may be repeated.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write the table as Markdown.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Plant every defect we know how to make and see that the gates catch it.

    Each is planted in an export of a small random set; the default gates must fail and
    localisation must name the module. Then sound exports run over many seeds and must raise
    no alarm. Exit code 1 means that a defect slipped through or an alarm was false.

    Example:
      vampnet-onnx self-test --out self-test.md
    """
    require_export_tools()
    from export.components import COMPONENTS
    from models import open_models
    from models.random_checkpoint import write_random_set
    from verify.self_test import as_markdown, chosen_defects, run_defects, run_sound

    with tempfile.TemporaryDirectory(prefix="vampnet-onnx-") as folder:
        write_random_set(Path(folder), like="tiny", seed=0)
        models = open_models(Path(folder))
        defects = chosen_defects(tuple(only or ()))
        with progress_bar(err) as bar:
            trials = list(run_defects(models, defects, progress=bar))
            sound = run_sound(models, COMPONENTS, runs=runs, progress=bar)
    caught = sum(trial.caught for trial in trials)
    named = sum(trial.right for trial in trials)
    if output is not None:
        output.write_text(as_markdown(trials, sound), "utf-8")
    if as_json:
        print_json(
            {
                "trials": [dataclasses.asdict(trial) for trial in trials],
                "sound": dataclasses.asdict(sound),
                "caught": caught,
                "named": named,
            }
        )
    else:
        table = Table("defect", "in", "caught by", "named", box=None, pad_edge=False)
        for trial in trials:
            style = None if trial.caught and trial.right else "red"
            gates = ", ".join(trial.gates) or "nothing"
            table.add_row(trial.defect, trial.component, gates, trial.named, style=style)
        out.print(table)
        out.print(
            f"{caught} of {len(trials)} defects caught, {named} named rightly;"
            f" {len(sound.alarms)} false alarms in {sound.runs} sound runs"
        )
    raise typer.Exit(0 if caught == len(trials) and not sound.alarms else 1)
