"""A component to look at: one of an artifact version, or a plain file with the facts in it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.external_data import require_own_data
from vampnet_onnx.configs.files import sha256
from vampnet_onnx.configs.manifest import (
    METADATA_PREFIX,
    ComponentRecord,
    FileRecord,
    SourceRecord,
)
from vampnet_onnx.configs.names import FLOAT16, entry_and_form
from vampnet_onnx.configs.runtime import USUAL, Runtime
from vampnet_onnx.configs.store import read_manifest
from vampnet_onnx.export.components.registry import require_known
from vampnet_onnx.pipeline.version.providers import runtime_for
from vampnet_onnx.verify.localisation.graph import GraphModules
from vampnet_onnx.verify.sides.export import adapters_of

from .elsewhere import parts_on

STANDARD = "coarse"


@dataclass(frozen=True)
class ComponentFile:
    """One component.

    Attributes:
        record: what the manifest, or the file itself, says of it.
        sources: checkpoint files it was made from, and perhaps others of its version.
        unvouched: files whose content no manifest vouches for.
        graph: by its modules, adapters switched on.
        runtime: that it is walked on.
        adapted: whether there are any.
    """

    record: ComponentRecord
    path: Path
    sources: tuple[SourceRecord, ...]
    unvouched: tuple[str, ...]
    graph: GraphModules
    runtime: Runtime
    adapted: bool = False


def walked_on(component: str, asked: Runtime) -> Runtime:
    """Return what a component is walked on: never in half precision.

    Its parts by themselves would round otherwise than the whole.
    """
    return replace(runtime_for(component, asked), bf16=False)


def walkable(
    graph: GraphModules, record: ComponentRecord, runtime: Runtime = USUAL
) -> GraphModules:
    """Return a component's graph, made fit to be walked.

    A form in half precision computes in float32, see `walked_on`.

    Args:
        runtime: asked for; what runs on the CPU on purpose is walked there.
    """
    if entry_and_form(record.variant)[1] == FLOAT16:
        graph.compute_in_float32()
    runtime = walked_on(record.id, runtime)
    if not runtime.is_usual:
        graph.elsewhere = parts_on(runtime, record.file.name)
    return graph


def open_component(
    opened: Artifacts | str | Path,
    component: str | None,
    *,
    lora: Mapping[str, Path] = {},
    runtime: Runtime = USUAL,
) -> ComponentFile:
    """Open one component.

    Args:
        opened: an artifact version; or an ``.onnx`` file, with a manifest beside it or not.
        component: with variant; None for the one the file holds, or coarse of a version.
        lora: LoRA overlay by transformer; a version's adapter made of it is switched on.
        runtime: that it is walked on, where it belongs there.

    Raises:
        InputError: nothing there, another component than asked for, or a foreign file.
    """
    if not isinstance(opened, Artifacts):
        return _plain(Path(opened), component, runtime)
    artifacts = opened
    record = artifacts.manifest.component(component or STANDARD)
    if record is None:
        known = ", ".join(item.id for item in artifacts.manifest.components)
        raise InputError(
            f"{artifacts.folder}: no component {component or STANDARD!r}; there are {known}"
        )
    require_known(record, artifacts.folder)
    digests = {name: sha256(path) for name, path in lora.items()}
    adapters = adapters_of(record, artifacts.manifest, digests)
    files = [artifacts.folder / adapter.file.name for adapter in adapters]
    graph = walkable(GraphModules(artifacts.path(record), files), record, runtime)
    record.require_facts(graph.metadata, artifacts.path(record))
    require_own_data(record, artifacts.path(record))
    return ComponentFile(
        record,
        artifacts.path(record),
        (*artifacts.manifest.sources, *(adapter.source for adapter in adapters)),
        artifacts.changed,
        graph,
        walked_on(record.id, runtime),
        bool(adapters),
    )


def _plain(path: Path, component: str | None, runtime: Runtime) -> ComponentFile:
    """Take the facts from the file's own metadata."""
    graph = GraphModules(path)
    found = {
        key.removeprefix(METADATA_PREFIX): text
        for key, text in graph.metadata.items()
        if key.startswith(METADATA_PREFIX)
    }
    try:
        record = ComponentRecord(
            name=found["component"],
            variant=found["variant"],
            file=FileRecord.of(path),
            opset=int(found["opset"]),
            left=json.loads(found.get("left", "{}")),
            **{key: json.loads(found[key]) for key in ("inputs", "outputs", "dims", "passes")},
        )
        sources = tuple(SourceRecord(**item) for item in json.loads(found["sources"]))
    except (KeyError, ValueError, TypeError, RecursionError) as error:
        raise InputError(
            f"{path}: holds no facts of this tool ({type(error).__name__}: {error}), so its"
            " inputs cannot be made; give a file that this tool exported"
        ) from error
    require_known(record, path)
    if component not in (None, record.id):
        raise InputError(f"{path}: holds {record.id}, not {component}")
    unvouched = () if _is_vouched_for(record.file, path) else (path.name,)
    graph = walkable(graph, record, runtime)
    ran_on = walked_on(record.id, runtime)
    return ComponentFile(record, path, sources, unvouched, graph, ran_on)


def _is_vouched_for(found: FileRecord, path: Path) -> bool:
    """Return whether the manifest beside a file lists it, and its data, as they are."""
    try:
        for item in read_manifest(path.parent).components:
            if item.file == found:
                require_own_data(item, path)
                data = item.data
                return data is None or data == FileRecord.of(path.with_name(data.name))
    except InputError:  # no manifest, none that can be read, or data that it does not list
        return False
    return False
