"""A folder of checkpoints to a staged version: every component, its facts, the manifest."""

from __future__ import annotations

import dataclasses
import gc
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from configs.config import Config
from configs.errors import InputError
from configs.manifest import (
    METADATA_PREFIX,
    ComponentRecord,
    Manifest,
    PassEntry,
    SourceRecord,
)
from models import ModelSet, SourceFile, check_set, open_models

from .components import COMPONENTS, LATENTS, available, build_component, required_checkpoint
from .exporter import Exported, export_component
from .onnx_file import save_graph
from .store import write_manifest
from .toolchain import toolchain


@dataclass(frozen=True)
class Request:
    """What to export.

    Attributes:
        model: name of the model in the store.
        checkpoint: folder of checkpoints.
        components: names; None for all that the folder allows.
        inputs: entry points of the transformers, ``codes`` and ``latents``.
        opset: of the default domain.
        external_data: put weights in files of their own.
        lora: LoRA overlay by transformer.
    """

    model: str
    checkpoint: Path
    components: tuple[str, ...] | None
    inputs: tuple[str, ...]
    opset: int
    external_data: bool
    lora: dict[str, Path]

    @classmethod
    def from_config(cls, config: Config, checkpoint: Path) -> Request:
        """Take the export part of a configuration.

        Args:
            config: read and validated.
            checkpoint: folder the checkpoints are in.
        """
        return cls(
            model=config.model,
            checkpoint=checkpoint,
            components=tuple(config.export.components) if config.export.components else None,
            inputs=tuple(config.export.inputs),
            opset=config.export.opset,
            external_data=config.export.external_data,
            lora={str(name): path for name, path in config.checkpoint.lora.items()},
        )


def export_set(
    request: Request, staged: Path, *, progress: Callable[[str, int, int], None]
) -> Manifest:
    """Export every component of a request into a staged folder and write its manifest.

    Args:
        request: what to export.
        staged: an empty folder.
        progress: told the component at work, how many are done and how many there are.

    Raises:
        InputError: the checkpoints are not fit for it.
    """
    jobs = _jobs(request)
    records, sources = [], set[SourceFile]()
    versions = toolchain()
    for done, (name, variant) in enumerate(jobs):
        progress(name if not variant else f"{name}.{variant}", done, len(jobs))
        # Opened one transformer at a time: two of released size do not fit side by side.
        models = open_models(
            request.checkpoint,
            only=required_checkpoint(name),
            lora={n: p for n, p in request.lora.items() if n == name},
        )
        sources.update(models.sources)
        component = build_component(name, models, variant=variant)
        own = _own_sources(name, models)
        del models
        exported = export_component(component, opset=request.opset)
        _annotate(exported, request.model, own, versions)
        records.append(_save(exported, staged, external=request.external_data))
        # The exporter leaves cycles behind that keep a gigabyte alive until collected.
        del component, exported
        gc.collect()
    progress("manifest", len(jobs), len(jobs))
    ordered = sorted(sources, key=lambda source: (source.name, source.sha256))
    manifest = Manifest(
        model=request.model,
        random_weights=any(source.label == "random" for source in sources),
        sources=tuple(SourceRecord(**dataclasses.asdict(source)) for source in ordered),
        toolchain=versions,
        components=tuple(records),
    )
    write_manifest(staged, manifest)
    return manifest


def _jobs(request: Request) -> list[tuple[str, str]]:
    present = available(check_set(request.checkpoint))
    wanted = request.components or tuple(present)
    missing = [name for name in wanted if name not in present]
    if missing:
        raise InputError(
            f"{request.checkpoint}: holds no checkpoint for {', '.join(missing)}; it allows"
            f" {', '.join(present) or 'nothing'}"
        )
    jobs = []
    for name in COMPONENTS:
        if name not in wanted:
            continue
        if name in ("coarse", "c2f"):
            jobs += [(name, LATENTS if entry == LATENTS else "") for entry in request.inputs]
        else:
            jobs.append((name, ""))
    return jobs


def _own_sources(name: str, models: ModelSet) -> list[SourceFile]:
    if name in ("coarse", "c2f"):
        return list(models.sources)
    return [source for source in models.sources if source.name == "codec.pth"]


def _annotate(
    exported: Exported, model: str, sources: list[SourceFile], versions: dict[str, str]
) -> None:
    """Write the facts of the manifest into the file itself."""
    component = exported.component
    facts: dict[str, object] = {
        "model": model,
        "component": component.name,
        "variant": component.variant,
        "random_weights": any(source.label == "random" for source in sources),
        "sources": [dataclasses.asdict(source) for source in sources],
        "dims": component.dims_record(),
        "passes": [dataclasses.asdict(record) for record in exported.passes],
        "toolchain": versions,
        "opset": exported.opset,
        "inputs": [item.model_dump(mode="json") for item in component.inputs],
        "outputs": [item.model_dump(mode="json") for item in component.outputs],
        "facts": component.facts,
    }
    for key in sorted(facts):
        value = facts[key]
        text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
        exported.model.metadata_props[METADATA_PREFIX + key] = text


def _save(exported: Exported, staged: Path, *, external: bool) -> ComponentRecord:
    component = exported.component
    file, data = save_graph(exported.model, staged / f"{component.id}.onnx", external=external)
    return ComponentRecord(
        name=component.name,
        variant=component.variant,
        file=file,
        data=data,
        inputs=component.inputs,
        outputs=component.outputs,
        opset=exported.opset,
        dims=component.dims_record(),
        facts=component.facts,
        passes=tuple(PassEntry(**dataclasses.asdict(record)) for record in exported.passes),
    )
