"""``vampnet-onnx export``: checkpoints to ONNX, not verified."""

import time
from pathlib import Path
from typing import Annotated

import typer

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.extras import require_export_tools

from .options import Checkpoint, Codec, ConfigOption, GraphJobs, Json, Lora, NoCache
from .output import cost, out, print_cost, print_json, progress_bar, remark


def export(
    checkpoint: Checkpoint = None,
    artifacts: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Root of the artifact store; artifacts if left out."),
    ] = None,
    output: Annotated[Path | None, typer.Option("--out", hidden=True)] = None,
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
    rates: Annotated[
        list[int] | None,
        typer.Option("--rate", help="Rate in Hz that audio may come at; repeatable."),
    ] = None,
    variants: Annotated[
        str | None,
        typer.Option(
            metavar="FORMS",
            help="Forms of the transformers, such as fp32,int8: fp32, int8, w8, w4, fp16.",
        ),
    ] = None,
    leave: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="What quantise --search found: layers that a form leaves in float32.",
        ),
    ] = None,
    opset: Annotated[
        int | None,
        typer.Option(help="ONNX opset, 18 to 23; 23 needs ONNX Runtime 1.23."),
    ] = None,
    external_data: Annotated[
        bool,
        typer.Option("--external-data", help="Weights in files of their own, at any size."),
    ] = False,
    generator: Annotated[
        bool,
        typer.Option(
            "--generator",
            help="Also one graph of a whole generation, for coarse and for c2f: seed in,"
            " tokens out. Their weights are in files of their own then, shared.",
        ),
    ] = False,
    codec: Codec = None,
    lora: Lora = None,
    lora_adapters: Annotated[
        bool,
        typer.Option(
            "--lora-adapters",
            help="Make adapters of the --lora files, to switch to at run time; merge none.",
        ),
    ] = False,
    version: Annotated[
        int | None, typer.Option(min=1, help="Version number to make; the next if left out.")
    ] = None,
    jobs: GraphJobs = None,
    no_cache: NoCache = False,
    as_json: Json = False,
) -> None:
    r"""Export a folder of checkpoints to ONNX, without verifying.

    Files go to ARTIFACTS/MODEL/vN, with a manifest. The same checkpoint and toolchain give
    the same bytes and no new version.

    A network's graph depends on its dimensions, not on its weights. It is kept in the cache
    folder of the user (or in VAMPNET_ONNX_CACHE), so that the next checkpoint of the same
    dimensions costs the writing alone.

    Examples:
      vampnet-onnx export --checkpoint checkpoints/mine --artifacts files

      vampnet-onnx export --checkpoint checkpoints/mine \
          --input latents --component coarse

      vampnet-onnx export --checkpoint checkpoints/mine --variants fp32,int8

      vampnet-onnx export --checkpoint checkpoints/mine \
          --variants fp32,int8 --leave int8.toml

      vampnet-onnx export --checkpoint checkpoints/mine \
          --lora style.pth --lora-adapters

      vampnet-onnx export --checkpoint checkpoints/mine --generator

      vampnet-onnx export --checkpoint runs/NAME --codec models/codec.pth
    """
    require_export_tools()
    if artifacts is not None and output is not None:
        raise InputError("--out is an old name of --artifacts; give one")
    from vampnet_onnx.export.jobs import export_checkpoints

    started = time.monotonic()
    with progress_bar() as bar:
        made = export_checkpoints(
            checkpoint,
            artifacts or output or Path("artifacts"),
            config=config,
            model=model,
            components=component,
            inputs=inputs,
            rates=rates,
            variants=None if variants is None else variants.split(","),
            leave=leave,
            opset=opset,
            external_data=external_data or None,
            generator=generator or None,
            codec=codec,
            lora=lora or (),
            lora_adapters=lora_adapters,
            version=version,
            cache=not no_cache,
            jobs=jobs,
            progress=bar,
            note=remark,
        )
    manifest, folder = made.manifest, made.folder
    if checkpoint is not None and config is None and model is None:
        own = checkpoint.resolve().name
        if own != manifest.model:
            remark(f"'{own}' is no name for a model, {manifest.model} is (or give --model)")
    files = {r.id: str(folder / r.file.name) for r in manifest.components}
    if as_json:
        print_json(
            {
                "artifacts": str(folder),
                "new": made.new,
                "files": files,
                "notes": manifest.source_notes(),
                **cost(started),
            }
        )
        return
    rows = [(r.id, r.size, r.file) for r in manifest.components]
    rows += [(f"{a.component} {a.name}", a.file.size, a.file) for a in manifest.adapters]
    for name, size, file in rows:
        out.print(f"  {name:26} {size / 1e6:10.2f} MB  {folder / file.name}")
    for note in manifest.source_notes():
        out.print(f"  {note}", markup=False)
    if manifest.random_weights:
        out.print("  [yellow]random weights: the model makes no music[/yellow]")
    out.print(f"{'exported to' if made.new else 'unchanged:'} {folder}; not verified yet")
    print_cost(started)
