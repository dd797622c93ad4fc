"""``vampnet-onnx localise``: which module an error comes from."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.extras import require_export_tools, require_optional
from vampnet_onnx.configs.files import is_there, require_place
from vampnet_onnx.configs.invocation import shell_line

from .options import Checkpoint, Codec, Json, Lora, Unsealed
from .output import err, newest_of, out, print_json, spinner

if TYPE_CHECKING:
    from vampnet_onnx.verify.localisation.culprit import Localisation

_SHOWN = 40


def localise(
    artifacts: Annotated[
        Path,
        typer.Argument(
            metavar="ARTIFACTS", help="A version, a model or a store; or one .onnx file."
        ),
    ],
    new: Annotated[
        Path | None,
        typer.Argument(metavar="NEW", help="Compare this one with the first instead."),
    ] = None,
    checkpoint: Checkpoint = None,
    case: Annotated[
        str | None,
        typer.Option(
            "--case", metavar="ID", help="Case to walk, as verify names it; it names all else."
        ),
    ] = None,
    component: Annotated[
        str | None,
        typer.Option(
            help="Component to walk, such as c2f or coarse.latents; coarse if left out, or"
            " whatever the file holds."
        ),
    ] = None,
    reference: Annotated[
        Literal["models", "golden"],
        typer.Option(
            help="What to compare with: our models, or the activations that a recorded set in"
            " the checkpoint folder holds (golden)."
        ),
    ] = "models",
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of the input, or number of the recorded case.")
    ] = 0,
    length: Annotated[
        int | None, typer.Option(min=1, help="Frames, or samples of audio.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Items of the input.")] = 2,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Picture of the error over depth.")
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Write the first culprit with its inputs; see replay."
        ),
    ] = None,
    codec: Codec = None,
    lora: Lora = None,
    unsealed: Unsealed = False,
    as_json: Json = False,
) -> None:
    """Walk an export module by module and name the one that introduces an error.

    Every module of the export runs on the reference's own inputs: one whose output is wrong
    then introduces the error, one that is wrong only in the whole passes it on. With NEW, two
    versions, or two files, are compared with each other instead of with the checkpoint. If
    values are not finite, the first module and node that made them are named.

    Exit code 1 means that a module was named.

    Examples:
      vampnet-onnx localise artifacts --checkpoint checkpoints/mine --component c2f --seed 17

      vampnet-onnx localise artifacts/mine/v1 artifacts/mine/v2 --component coarse

      vampnet-onnx localise old.onnx new.onnx

      vampnet-onnx localise artifacts --checkpoint tests/golden/a --reference golden
    """
    require_export_tools()
    if plot is not None:
        require_optional("matplotlib")
        require_place(plot.parent, [plot.name])
    if bundle is not None:
        if is_there(bundle):
            raise InputError(f"{bundle}: exists already and is never overwritten")
        require_place(bundle.parent)
    from vampnet_onnx.verify.causes.locate import localise_error

    walked = newest_of(artifacts, *filter(None, [new]))
    with spinner("walking module by module"):
        found = localise_error(
            artifacts,
            checkpoint,
            new=new,
            case=case,
            component=component,
            seed=seed,
            length=length,
            batch=batch,
            codec=codec,
            lora=lora or (),
            unsealed=unsealed,
            reference=reference,
        )
    if plot is not None:
        from vampnet_onnx.verify.localisation.depth_plot import plot_depth

        plot_depth(found.localisation, plot, title=found.case)
    if bundle is not None:
        from vampnet_onnx.verify.causes.bundle import write_bundle

        if write_bundle(bundle, found):
            line = shell_line("replay", bundle)
            err.print(f"bundle in {bundle}; run it with: {line}", markup=False)
        else:
            err.print("no bundle: there is no culprit in the export to cut out")
    if as_json:
        print_json(
            {
                "artifacts": walked,
                "case": found.case,
                "culprits": found.localisation.culprits,
                "findings": [dataclasses.asdict(f) for f in found.localisation.findings],
                "nonfinite": dataclasses.asdict(found.birth),
                "unsealed": found.unvouched,
            }
        )
    else:
        for name in found.unvouched:
            out.print(f"[yellow]unsealed:[/yellow] no manifest vouches for {name} as it is")
        _print(found.localisation)
        for path in walked:
            err.print(f"  artifacts  {path}", markup=False)
        if reference == "golden" and found.localisation.culprits:
            out.print("  what nothing was recorded of belongs to the next part that is named")
        out.print(f"  non-finite values: {found.birth}", markup=False)
        if plot is not None:
            out.print(f"  picture    {plot}")
    raise typer.Exit(1 if found.localisation.culprits else 0)


def _print(found: Localisation) -> None:
    table = Table("module", "error so far", "own error", "verdict", box=None, pad_edge=False)
    named = [f for f in found.findings if f.path in found.culprits]
    # Those that ran by themselves come before what only the whole was watched for.
    others = sorted(
        (f for f in found.findings if f.path not in found.culprits),
        key=lambda f: f.own_error != f.own_error,
    )
    for finding in (*named, *others)[:_SHOWN]:
        style = "red" if finding.path in found.culprits else None
        table.add_row(
            finding.path,
            f"{finding.error:.2e}",
            "" if finding.own_error != finding.own_error else f"{finding.own_error:.2e}",
            finding.verdict,
            style=style,
        )
    out.print(table)
    if len(found.findings) > _SHOWN:
        out.print(f"  … and {len(found.findings) - _SHOWN} more modules (--json has them all)")
    if found.culprits:
        first = found.culprits[0] or "outside of any module"
        out.print(f"[red]the error comes from {first}[/red]")
    else:
        out.print("[green]no module introduces an error[/green]")
