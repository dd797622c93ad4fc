"""What ``vampnet-onnx export`` does: a folder of checkpoints in, a version out."""

from collections.abc import Callable, Sequence
from pathlib import Path

from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.cache import cache_folder
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.files import staging_folder
from vampnet_onnx.configs.store import model_folder_in, publish, read_manifest
from vampnet_onnx.models import Checkpoints

from .export_set import export_set
from .graph_cache import GraphCache
from .options import Files, Names, adapters_from, listed, settings_from


def export_checkpoints(
    checkpoint: str | Path | None = None,
    out: str | Path = "artifacts",
    *,
    config: str | Path | None = None,
    model: str | None = None,
    components: Names | None = None,
    inputs: Names | None = None,
    rates: Sequence[int] | None = None,
    variants: Names | None = None,
    leave: str | Path | None = None,
    opset: int | None = None,
    external_data: bool | None = None,
    generator: bool | None = None,
    codec: str | Path | None = None,
    lora: Files = (),
    lora_adapters: bool = False,
    version: int | None = None,
    cache: bool = True,
    jobs: int | None = None,
    progress: Callable[[str, int, int], None] = lambda _name, _done, _total: None,
    note: Callable[[str], None] = lambda _text: None,
) -> Artifacts:
    """Export a folder of checkpoints to ONNX, without verifying.

    The same checkpoint and toolchain give the same bytes and no new version.  What is left out
    comes from the configuration, if one is given, else from the defaults.

    Args:
        checkpoint: folder with codec.pth, coarse.pth and c2f.pth, or some of them, or that
            of a training run.
        out: root of the artifact store; files go to OUT/MODEL/vN.
        model: name in the store; the folder's if left out.
        components: what to export; all that the folder allows if left out.
        inputs: entries of the transformers, ``codes`` and ``latents``.
        rates: rates in Hz that audio may come at.
        variants: forms of the transformers, ``fp32``, ``int8``, ``w8``, ``w4``, ``fp16``.
        leave: a file of ``quantise --search``: what a form leaves in float32 besides.
        opset: 18 to 23; 23 where ONNX Runtime is 1.23 or newer.
        external_data: weights in files of their own, at any size.
        generator: beside each transformer, a graph of a whole generation with its weights,
            which then are in a file of their own.
        codec: file of the codec, in place of the folder's own.
        lora: LoRA files to merge: FILE, ``coarse=FILE`` or ``c2f=FILE``.
        lora_adapters: make adapters of them, to switch to at run time, and merge none.
        version: number to make; the next if left out.
        cache: use graphs that earlier runs kept, and keep those of this one (`graph_cache`).
        jobs: processes that make graphs at once; as many as cores and memory allow if left
            out.
        progress: told the component at work, how many are done and how many there are.
        note: told what is wrong with a kept graph, which is made again then.

    Raises:
        InputError: the checkpoints, the options or the store are not fit for it.
        EnvironmentLacksError: a process that made graphs was killed.
    """
    given = {
        "components": components if components is None else listed(components),
        "inputs": inputs if inputs is None else listed(inputs),
        "variants": variants if variants is None else listed(variants),
        "leave": leave,
        "rates": rates if rates is None else list(rates),
        "opset": opset,
        "external_data": external_data,
        "generator": generator,
    }
    settings = settings_from(
        config,
        checkpoint,
        model=model,
        codec=codec,
        lora=() if lora_adapters else lora,
        export={name: value for name, value in given.items() if value is not None},
    )
    source = settings.checkpoint.path
    if source is None:
        raise InputError("export reads a folder: give --checkpoint DIR")
    if lora_adapters and not lora:
        raise InputError("--lora-adapters makes adapters of LoRA files: give --lora FILE")
    adapters = adapters_from(lora, source) if lora_adapters else ()
    checkpoints = Checkpoints(
        source, settings.checkpoint.overlays, codec=settings.checkpoint.codec
    )
    home = model_folder_in(Path(out), settings.model)
    with staging_folder(home) as staged:
        export_set(
            settings,
            checkpoints,
            staged,
            adapters=adapters,
            cache=GraphCache(cache_folder(), note) if cache else None,
            jobs=jobs,
            progress=progress,
        )
        folder, new = publish(staged, home, version=version)
    return Artifacts(folder, read_manifest(folder), new=new)
