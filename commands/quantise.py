"""``vampnet-onnx quantise``: what each layer costs in a form, and which must stay as it is."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.extras import require_export_tools, require_optional
from vampnet_onnx.configs.files import require_place
from vampnet_onnx.configs.interrupts import Interrupted
from vampnet_onnx.configs.invocation import shell_line

from .options import ArtifactsArgument, Json, seed_list
from .output import (
    err,
    here,
    newest_of,
    out,
    print_cost,
    print_json,
    print_table,
    progress_bar,
    remark,
)

if TYPE_CHECKING:
    from vampnet_onnx.verify.search.job import Layer, Sensitivity
    from vampnet_onnx.verify.search.measure import Cost

_SHOWN = 12  # layers of a transformer


def quantise(
    artifacts: ArtifactsArgument,
    search: Annotated[
        bool,
        typer.Option(
            "--search", help="Find the fewest layers to leave in float32; with --agreement."
        ),
    ] = False,
    agreement: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Of best tokens that must stay the same, outside near-ties; 0.98, say.",
        ),
    ] = None,
    variant: Annotated[
        str, typer.Option(metavar="FORM", help="Form of the transformers: int8, w8, w4, fp16.")
    ] = "int8",
    component: Annotated[
        list[str] | None,
        typer.Option(help="This transformer only, coarse or c2f; may be repeated."),
    ] = None,
    clip: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Audio whose codes are masked, best of your own kind; if left out, the clip"
            " that comes along.",
        ),
    ] = None,
    seeds: Annotated[
        str, typer.Option(metavar="LIST", help="Seeds of the masks, such as 0,1 or 0:4.")
    ] = "0",
    target: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE.toml", help="What was found, for export --leave."),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Picture of what each layer costs; .svg, .png."),
    ] = None,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Neither use nor keep earlier measurements.")
    ] = False,
    as_json: Json = False,
) -> None:
    r"""Measure what a smaller form costs layer by layer, and find what must stay in float32.

    Every product of the transformers is rounded alone, and its logits are compared with the
    float32 file's on the codes of a clip, with 30, 70 and 97 percent of them masked: how often
    the best token stays the same (agreement, outside near-ties, in the worst of the masks) and
    how far the distributions are apart (KL divergence). Nothing else is needed: no checkpoint,
    no form in the version.

    With --search, the dearest layers for their bytes are left in float32 until the agreement
    is kept, and none of them can be taken out. What is printed of the result is measured on
    the finished graph. export --leave makes that form, and verify holds it to it.

    An interrupted run goes on where it stopped: measurements are kept in the user's cache
    folder (or in VAMPNET_ONNX_CACHE) with the hashes of what they were measured on.

    Examples:
      vampnet-onnx quantise artifacts/mine

      vampnet-onnx quantise artifacts/mine --search --agreement 0.98 \
          --out int8.toml

      vampnet-onnx export --checkpoint checkpoints/mine \
          --variants fp32,int8 --leave int8.toml
    """
    if search != (agreement is not None):
        raise InputError("--search and --agreement SHARE, such as 0.98, go together")
    if target is not None and not search:
        raise InputError("--out gets what --search finds; add --search --agreement SHARE")
    require_export_tools()
    if plot is not None:
        require_optional("matplotlib")
    for path in filter(None, (target, plot)):
        require_place(path.parent, [path.name])
    from vampnet_onnx.configs.artifacts import open_artifacts
    from vampnet_onnx.configs.cache import cache_folder
    from vampnet_onnx.configs.leave import write_leave
    from vampnet_onnx.verify.search.job import measure_layers

    started = time.monotonic()
    (chosen,) = newest_of(here(artifacts))
    with progress_bar() as bar:
        bar("checking hashes", 0, 1)
        opened = open_artifacts(chosen)
        bar("checking hashes", 1, 1)
        try:
            found = measure_layers(
                opened,
                form=variant,
                agreement=agreement,
                components=component or (),
                clip=clip,
                seeds=seed_list(seeds),
                kept=None if no_cache else cache_folder(),
                progress=bar,
                note=remark,
            )
        except Interrupted:
            if not no_cache:
                remark("what was measured is kept; the same command goes on from there")
            raise
    if target is not None:
        tables = {one.component: one.table for one in found if one.table is not None}
        write_leave(target, variant, tables)
    if plot is not None:
        from vampnet_onnx.verify.search.picture import plot_layers

        plot_layers(found, plot)
    if as_json:
        rows = [_row(one) for one in found]
        print_json({"artifacts": chosen, "form": variant, "found": rows})
        return
    err.print(f"  artifacts  {chosen}", markup=False)
    for one in found:
        _print(one)
    if opened.manifest.random_weights:
        out.print("  [yellow]random weights: near-ties everywhere, this says little[/yellow]")
    for what, file in (("found", target), ("picture", plot)):
        if file is not None:
            out.print(f"  {what:10} {file}", markup=False)
    if target is not None:
        # Where the checkpoint is, no version says; what it is called, it does.
        names = dict.fromkeys(source.name for source in opened.manifest.sources)
        line = shell_line("export", "--variants", f"fp32,{variant}", "--leave", target)
        out.print(
            f"  export it with --checkpoint, the folder of {', '.join(names)}: {line}",
            markup=False,
        )
    print_cost(started)


def _row(found: Sensitivity) -> dict[str, object]:
    row = dataclasses.asdict(found)
    table = None if found.table is None else found.table.model_dump()
    return {**row, "table": table, "always": sorted(found.always), "left": sorted(found.left)}


def _print(found: Sensitivity) -> None:
    out.print(f"\n[bold]{found.component} in {found.form}, layer by layer[/bold]")
    shown = [x for i, x in enumerate(found.layers) if i < _SHOWN or x.left]
    rest = ["all but the layers", "", "", *_told(found.rest), ""]
    print_table(
        ["layer alone", "MB", "own error", "agreement", "KL, nats", ""],
        [*(_cells(layer, found) for layer in shown), rest],
    )
    if len(found.layers) > len(shown):
        out.print(f"  and {len(found.layers) - len(shown)} cheaper ones; --json has all")
    count = len(found.layers)
    lines = [("all rounded" if not found.always else "as exported", found.always, found.whole)]
    if found.cost is not None:
        lines.append(("found", found.left, found.cost))
    for what, left, cost in lines:
        agreement, kl = _told(cost)
        out.print(
            f"  {what}: {len(left)} of {count} layers in float32, agreement {agreement},"
            f" KL {kl} nats"
        )
    share = found.form_bytes / found.float32_bytes
    positions = ", ".join(f"{n} of {mask}" for mask, n in found.positions.items())
    out.print(f"  weights: {found.form_bytes / 1e6:.1f} MB, {share:.0%} of float32's")
    out.print(f"  positions that count: {positions}", markup=False)
    facts = (f"{key} {value}" for key, value in found.measured.items())
    out.print(f"  measured on {'; '.join(facts)}", markup=False)


def _cells(layer: Layer, found: Sensitivity) -> list[str]:
    kept = "in float32" if layer.left else ""
    if layer.name in found.always:
        kept = "in float32: its own error"
    return [
        layer.name,
        f"{layer.bytes / 1e6:.2f}",
        f"{layer.error:.2g}",
        *_told(layer.alone),
        kept,
    ]


def _told(cost: Cost) -> tuple[str, str]:
    return f"{cost.agreement:.4f}", f"{cost.kl_nats:.2g}"
