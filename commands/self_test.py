"""``vampnet-onnx self-test``: the harness tried on planted defects."""

from pathlib import Path
from typing import Annotated

import typer

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.extras import require_export_tools
from vampnet_onnx.configs.files import temporary_folder
from vampnet_onnx.configs.interrupts import EXIT_CODE

from .options import Json
from .output import complain, out, print_json, progress_bar


def self_test(
    runs: Annotated[
        int, typer.Option(min=0, help="Seeded runs of sound exports that must pass.")
    ] = 1000,
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="Plant this defect only; may be repeated; a wrong name lists all there are."
        ),
    ] = None,
    into: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Add the table to the report in this folder."),
    ] = None,
    artifacts: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Plant one defect in a copy of these, and try nothing."
        ),
    ] = None,
    keep: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where that copy stays.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Plant every defect we know how to make and see that the gates catch it.

    Each is planted in an export of a small random set; the default gates must fail and
    localisation must name the module. Then sound exports run over many seeds and must raise
    no alarm. Exit code 1 means that a defect slipped through, that a
    wrong module was named or an alarm was false.

    With --only, --artifacts and --keep a copy of artifacts with that defect is left, for
    which its manifest vouches: what an export with such a mistake looks like.

    Examples:
      vampnet-onnx self-test --into report

      vampnet-onnx self-test --only RowOfNaN --artifacts artifacts --keep broken
    """
    require_export_tools()
    if (artifacts is None) != (keep is None) or (artifacts and len(only or ()) != 1):
        raise InputError("--artifacts and --keep go together, with one defect: --only NAME")
    if artifacts is not None and keep is not None:
        _plant(artifacts, (only or [""])[0], keep, as_json=as_json)
        return
    from vampnet_onnx.models.checkpoints.random_checkpoint import write_random_set
    from vampnet_onnx.reports import read_report, require_report_place, write_reports
    from vampnet_onnx.verify.self_test.run import chosen_defects, run_self_test

    existing = read_report(into / "report.json") if into is not None else None
    if into is not None:
        require_report_place(into)

    with temporary_folder() as folder:
        write_random_set(folder, like="tiny", seed=0, beats=True)
        defects = chosen_defects(tuple(only or ()))
        with progress_bar() as bar:
            result = run_self_test(folder, defects, runs=runs, progress=bar)
    trials, count, alarms = result.trials, result.sound_runs, result.alarms
    caught = sum(trial.caught for trial in trials)
    if as_json:
        print_json(result.model_dump(mode="json"))
    else:
        for trial in trials:
            style = None if trial.caught and trial.right else "red"
            gates = ", ".join(trial.gates) or "nothing"
            told = (
                f"{trial.defect} in {trial.component}: {gates}; named {trial.named or 'none'}"
            )
            out.print(told, style=style, markup=False)
        out.print(
            f"{caught} of {len(trials)} defects caught,"
            f" {sum(trial.right for trial in trials)} named rightly;"
            f" {len(alarms)} false alarms in {count} sound runs"
        )
    if result.unfinished:
        complain(f"interrupted; {result.unfinished} trials were not made, the rest is above")
        raise typer.Exit(EXIT_CODE)
    if into is not None and existing is not None:
        write_reports(existing.model_copy(update={"self_test": result}), into)
    right = all(trial.caught and trial.right for trial in trials)
    raise typer.Exit(0 if right and not alarms else 1)


def _plant(artifacts: Path, name: str, keep: Path, *, as_json: bool) -> None:
    """Leave a copy of artifacts with a defect in it."""
    from vampnet_onnx.verify.self_test.planted import plant_copy
    from vampnet_onnx.verify.self_test.run import chosen_defects

    (defect,) = chosen_defects([name])
    file = plant_copy(artifacts, defect, keep)
    if as_json:
        print_json({"defect": defect.name, "is": defect.description, "file": str(file)})
    else:
        out.print(f"  planted    {defect.name} in {file}: {defect.description}", markup=False)
