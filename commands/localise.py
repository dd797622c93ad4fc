"""``vampnet-onnx localise``: which module an error comes from."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.extras import require_export_tools, require_optional
from vampnet_onnx.configs.files import is_there, require_place
from vampnet_onnx.configs.invocation import shell_line
from vampnet_onnx.reports.summary import counted

from .options import Bf16, Cases, Checkpoint, Codec, Json, Lora, Provider, Runs, Tf32, Unsealed
from .output import (
    err,
    here,
    newest_of,
    out,
    print_json,
    spinner,
)

if TYPE_CHECKING:
    from vampnet_onnx.verify.causes.locate import Located

_SHOWN = 8  # modules that pass an error on


def localise(
    artifacts: Annotated[
        Path,
        typer.Argument(
            metavar="ARTIFACTS",
            help="A version, a model, a store or hub:USER/REPO; or one .onnx file.",
        ),
    ],
    new: Annotated[
        Path | None,
        typer.Argument(metavar="NEW", help="Compare this one with the first instead."),
    ] = None,
    checkpoint: Checkpoint = None,
    case: Cases = None,
    component: Annotated[
        str | None,
        typer.Option(
            help="Component to walk, such as c2f or coarse.latents; all of them if left out."
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
    provider: Provider = "cpu",
    runtime: Runs = "onnxruntime",
    tf32: Tf32 = False,
    bf16: Bf16 = False,
    as_json: Json = False,
) -> None:
    r"""Walk an export module by module and name the one that introduces an error.

    Every module of the export runs on the reference's own inputs: one whose output is wrong
    then introduces the error, one that is wrong only in the whole passes it on. With NEW, two
    versions, or two files, are compared with each other instead of with the checkpoint. If
    values are not finite, the first module and node that made them are named. Without a
    component or a case every component is walked, on one case each. On another provider or
    runtime every part of the export that is cut out runs there, wholly, or it is an error.

    Exit code 1 means that a module was named, or that two files differ all the same.

    Examples:
      vampnet-onnx localise artifacts --checkpoint checkpoints/mine \
          --component c2f --seed 17

      vampnet-onnx localise artifacts/mine/v1 artifacts/mine/v2 --component coarse

      vampnet-onnx localise old.onnx new.onnx

      vampnet-onnx localise artifacts --checkpoint tests/golden/a \
          --reference golden
    """
    require_export_tools()
    if plot is not None:
        require_optional("matplotlib")
        require_place(plot.parent, [plot.name])
    if bundle is not None:
        if is_there(bundle):
            raise InputError(f"{bundle}: exists already and is never overwritten")
        require_place(bundle.parent)
    from vampnet_onnx.configs.runtime import Runtime
    from vampnet_onnx.verify.causes.locate import localise_each

    asked = Runtime(runtime, provider, tf32=tf32, bf16=bf16)
    artifacts, new = here(artifacts), here(new) if new is not None else None
    chosen = newest_of(artifacts, *filter(None, [new]))
    with spinner("walking module by module") as tell:
        walked = list(
            localise_each(
                artifacts,
                checkpoint,
                new=new,
                cases=case or (),
                components=component or (),
                seed=seed,
                length=length,
                batch=batch,
                codec=codec,
                lora=lora or (),
                unsealed=unsealed,
                reference=reference,
                runtime=asked,
                progress=tell,
            )
        )
    wrong = [found for found in walked if found.localisation.culprits]
    first = (wrong or walked)[0]
    if plot is not None:
        from vampnet_onnx.verify.localisation.depth_plot import plot_depth

        plot_depth(first.localisation, plot, title=first.case)
    if bundle is not None:
        from vampnet_onnx.verify.causes.bundle import write_bundle

        if write_bundle(bundle, first):
            again = shell_line("replay", bundle, *asked.words())
            assert first.localisation.cut_out is not None
            module = first.localisation.cut_out.path or "the whole"
            line = f"bundle of {module} in {bundle}; run it with: {again}"
            err.print(line, markup=False)
        else:
            err.print("no bundle: there is no culprit in the export to cut out")
    if as_json:
        rows = [_row(found) for found in walked]
        one = component is not None or len(case or ()) == 1 or artifacts.is_file()
        versions = {"artifacts": chosen}
        print_json(versions | (rows[0] if one else {"walked": rows}))
    else:
        for path in chosen:
            err.print(f"  artifacts  {path}", markup=False)
        for name in first.unvouched:
            line = f"unsealed: no manifest vouches for {name} as it is"
            out.print(line, style="yellow", markup=False)
        if not asked.is_usual:
            for line in dict.fromkeys(f"{f.component} on {f.runtime}" for f in walked):
                out.print(f"  walked {line}", markup=False)
        for found in sorted(walked, key=lambda found: not found.localisation.culprits):
            _print(found)
        if reference == "golden" and wrong:
            out.print("  what nothing was recorded of belongs to the next part that is named")
        if plot is not None:
            out.print(f"  picture    {plot}", markup=False)
        _print_end(walked, wrong)
    raise typer.Exit(1 if wrong or any(found.differs for found in walked) else 0)


def _row(found: Located) -> dict[str, object]:
    return {
        "component": found.component,
        "case": found.case,
        "culprits": found.localisation.culprits,
        "happened": dict(found.happened),
        "differs": found.differs,
        "findings": [dataclasses.asdict(f) for f in found.localisation.findings],
        "nonfinite": dataclasses.asdict(found.birth),
        "unsealed": found.unvouched,
        "runtime": str(found.runtime),
    }


def _print(located: Located) -> None:
    """Print one walk: what is wrong, what passes it on, and how many modules agree."""
    found = located.localisation
    out.print(located.case, style="bold", markup=False)
    for path in found.culprits:
        words = located.happened.get(path)
        line = f"  the error comes from {path or 'outside of any module'}"
        out.print(line + (f": {words}" if words else ""), style="red", markup=False)
    if located.differs:
        line = f"  no module goes wrong on this case, but the file differs: {located.differs}"
        out.print(line, style="red", markup=False)
    agree = [f for f in found.findings if f.verdict == "agrees"]
    if found.culprits:
        named = [f for path in found.culprits for f in found.findings if f.path == path]
        others = [f for f in found.findings if f not in (*named, *agree)]
        # Those that ran by themselves come before what only the whole was watched for.
        others.sort(key=lambda f: math.isnan(f.own_error))
        out.print("  so far    own       module")
        for finding in (*named, *others[:_SHOWN]):
            numbers = (_error(value) for value in (finding.error, finding.own_error))
            line = "  {:9} {:9} {}: {}".format(*numbers, finding.path, finding.verdict)
            out.print(line, style="red" if finding in named else "", markup=False)
        if len(others) > _SHOWN:
            more = counted(len(others) - _SHOWN, "more module")
            out.print(f"  and {more} after it; --json has all")
    out.print(f"  {counted(len(agree), 'module')} without an error")
    out.print(f"  non-finite values: {located.birth}", markup=False)


def _print_end(walked: list[Located], wrong: list[Located]) -> None:
    if wrong:
        names = ", ".join(dict.fromkeys(found.component for found in wrong))
        line = f"{len(wrong)} of {counted(len(walked), 'walk')} found a culprit: {names}"
        out.print(line, style="red", markup=False)
    else:
        differs = any(found.differs for found in walked)
        told = [found for found in walked if bool(found.differs) == differs]
        names = ", ".join(dict.fromkeys(found.component for found in told))
        end = (
            "the file differs, and no case that was walked shows it"
            if differs
            else "no module introduces an error"
        )
        out.print(f"{end}: {names}", style="red" if differs else "green", markup=False)
        line = "on these inputs; for a case that fails, give --case as verify names it"
        out.print(f"  {line}", markup=False)


def _error(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.2e}"
