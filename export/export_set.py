"""A folder of checkpoints to a staged version: every component, its facts, the manifest."""

import gc
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from functools import partial
from pathlib import Path

from vampnet_onnx.configs.config import Config
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.leave import Left, read_leave
from vampnet_onnx.configs.machine import new_garbage_only
from vampnet_onnx.configs.manifest import (
    METADATA_PREFIX,
    AdapterRecord,
    ComponentRecord,
    FileRecord,
    Manifest,
    SourceRecord,
)
from vampnet_onnx.configs.names import (
    CODEC,
    FLOAT32,
    GENERATOR,
    TRANSFORMERS,
    entry_and_form,
    variant_of,
)
from vampnet_onnx.configs.store import write_manifest
from vampnet_onnx.models import Checkpoints, ModelSet

from .adapters import Adapter, adapter_values, write_adapter
from .components.component import GeneratorComponent
from .components.registry import (
    COMPONENTS,
    available,
    build_component,
    required_checkpoint,
    structure_of,
    variants,
)
from .exporter import Exported, export_component
from .fingerprint import Made, fingerprint
from .graph_cache import GraphCache
from .graphs import Graphs
from .onnx_file import save_beside, save_graph
from .passes import NotFiniteError
from .toolchain import source_hash, toolchain
from .trace import GraphRequest, weight_shapes
from .variants.forms import FORMS, require_smaller


def export_set(
    config: Config,
    checkpoints: Checkpoints,
    staged: Path,
    *,
    adapters: Sequence[Adapter] = (),
    made: Callable[[str, Made], None] | None = None,
    kept: Callable[[Collection[GraphRequest]], None] | None = None,
    cache: GraphCache | None = None,
    jobs: int | None = 1,
    progress: Callable[[str, int, int], None],
) -> Manifest:
    """Export every component of a configuration into a staged folder and write its manifest.

    Args:
        config: its model is the name in the store, its export section says what to export.
        checkpoints: what to export it from, whatever the configuration says; their LoRA
            overlays become part of it.
        staged: an empty folder.
        adapters: LoRA files to make adapters of.
        made: told each component, with variant, and what its export gave, if the graph was
            made now: what another run made proves nothing of this one.
        kept: told, before anything is written, which graphs are used that an earlier run made.
        cache: where graphs are kept from one run to the next; None keeps none and uses none.
        jobs: processes that make graphs at once; as many as cores and memory allow if None.
        progress: told the component at work, how many are done and how many there are.

    Raises:
        InputError: the checkpoints are not fit for it.
        EnvironmentLacksError: a process that made graphs was killed.
    """
    parts = _parts(config, checkpoints, adapters)
    records = dict[tuple[str, str], ComponentRecord]()
    sources, adapted = set[SourceRecord](), dict[str, AdapterRecord]()
    versions, leave = toolchain(), _leave(config)
    _require_measured_of(leave, {name for name, _ in parts}, checkpoints, config)
    requests = graph_requests(parts, config.export.opset, checkpoints)
    for part, graph in requests.items():
        if form := entry_and_form(part[1])[1]:
            require_smaller(FORMS[form], *weight_shapes(graph.structure))
    graphs = Graphs(requests.values(), cache=cache, jobs=jobs)
    if kept is not None:
        kept(graphs.kept)
    with new_garbage_only(), graphs:
        # What needs no graph traced comes first: others are at that meanwhile.
        for done, part in enumerate(sorted(parts, key=lambda part: part in requests)):
            name, variant = part
            progress(name if not variant else f"{name}.{variant}", done, len(parts))
            models = checkpoints.models_for(required_checkpoint(name))
            sources.update(models.sources)
            component = build_component(name, models, variant=variant)
            own = list(models.sources)
            taken = [] if variant == GENERATOR else adapters  # by a generator none
            wanted = [adapter for adapter in taken if adapter.component == name]
            for adapter in wanted:
                adapted[adapter.file_name] = _write_adapter(
                    adapter, checkpoints, models, staged
                )
            del models
            request = requests.get(part)
            try:
                exported = export_component(
                    component,
                    opset=config.export.opset,
                    adaptable=bool(wanted),
                    graph=None if request is None else partial(graphs.of, request),
                    leave=_left_of(leave, name, variant),
                )
            except NotFiniteError as error:
                raise InputError(
                    f"{checkpoints.folder}: {component.id} computes NaN or infinite values"
                    " with these weights, though each of them is finite; the checkpoint is"
                    " damaged"
                ) from error
            if made is not None and (request is None or request in graphs.made_now):
                made(component.id, Made(fingerprint(exported.model), exported.passes))
            annotate(exported, config.model, own, versions)
            path = staged / f"{component.id}.onnx"
            if variant == GENERATOR:
                owner = records[name, ""]
                assert owner.data is not None, f"{owner.id} has no data to share"
                file = save_beside(exported.model, path, staged / owner.file.name)
                data: FileRecord | None = owner.data
            else:
                shared = (name, GENERATOR) in parts and not variant
                external = config.export.external_data or shared
                file, data = save_graph(exported.model, path, external=external)
            records[part] = component_record(exported, file, data)
            # A graph's nodes and values know each other: cycles, which keep a gigabyte of
            # mapped weights alive until they are collected.
            del component, exported
            gc.collect()
    progress("manifest", len(parts), len(parts))
    manifest = Manifest(
        model=config.model,
        random_weights=any(source.label == "random" for source in sources),
        sources=tuple(sorted(sources, key=lambda source: (source.name, source.sha256))),
        toolchain=versions,
        source=source_hash(),
        components=tuple(records[part] for part in parts),
        adapters=tuple(adapted.values()),
    )
    write_manifest(staged, manifest)
    if cache is not None:
        cache.note_used(graphs.kept)
    return manifest


def graph_requests(
    parts: Iterable[tuple[str, str]], opset: int, checkpoints: Checkpoints
) -> dict[tuple[str, str], GraphRequest]:
    """Return which graphs components need, by name and variant; of those traced alone."""
    return {
        part: GraphRequest(structure, opset)
        for part in parts
        if (
            structure := structure_of(
                *part, checkpoints.codec_dims, checkpoints.dims, checkpoints.tracker_dims
            )
        )
    }


def _parts(
    config: Config, checkpoints: Checkpoints, adapters: Sequence[Adapter]
) -> list[tuple[str, str]]:
    present = available(checkpoints.present)
    wanted = config.export.components or present
    missing = [name for name in wanted if name not in present]
    if missing:
        raise InputError(
            f"{checkpoints.folder}: holds no checkpoint for {', '.join(missing)}; it allows"
            f" {', '.join(present) or 'nothing'}"
        )
    unused = [name for name in checkpoints.given if name not in wanted]
    if unused:
        raise InputError(
            f"{checkpoints.folder}: a LoRA file was given for {', '.join(unused)}, which is"
            f" not exported ({', '.join(wanted)})"
        )
    unused = [adapter.name for adapter in adapters if adapter.component not in wanted]
    if unused:
        raise InputError(
            f"{checkpoints.folder}: adapter {unused[0]!r} is for a transformer that is not"
            f" exported ({', '.join(wanted)})"
        )
    for path in checkpoints.lora.values():
        checkpoints.read_lora(path)  # now rather than after the minutes that others take
    inputs, rates, dims = config.export.inputs, config.export.rates, checkpoints.codec_dims
    forms = ["" if form == FLOAT32 else form for form in config.export.variants]
    parts = [
        (name, variant_of(variant, form))
        for name in COMPONENTS
        if name in wanted
        for variant in variants(name, inputs=inputs, rates=rates, dims=dims)
        for form in (forms if name in TRANSFORMERS else [""])
    ]
    return _with_generators(parts) if config.export.generator else parts


def _with_generators(parts: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Add a generator behind the other variants of every transformer."""
    around = [name for name in TRANSFORMERS if (name, "") in parts]
    there = dict.fromkeys(name for name, _ in parts if name in TRANSFORMERS)
    if not around or len(around) < len(there):
        raise InputError(
            "a generator is made around a transformer that takes codes, in float32:"
            f" {', '.join(n for n in there if n not in around) or 'coarse or c2f'} is not"
            f" exported so; add codes to --input and {FLOAT32} to --variants, or leave"
            " --generator out"
        )
    return [
        part
        for name in dict.fromkeys(name for name, _ in parts)
        for part in (
            *(part for part in parts if part[0] == name),
            *([(name, GENERATOR)] if name in around else ()),
        )
    ]


def _leave(config: Config) -> dict[str, dict[str, Left]]:
    """Read what forms leave in float32, where the configuration names a file that says so."""
    if config.export.leave is None:
        return {}
    found = read_leave(config.export.leave)
    unused = sorted(found.keys() - {*config.export.variants})
    if unused:
        raise InputError(
            f"{config.export.leave}: is of {unused[0]}, which is not exported"
            f" ({', '.join(config.export.variants)}); add it to --variants"
        )
    return found


def _require_measured_of(
    leave: Mapping[str, Mapping[str, Left]],
    exported: Set[str],
    checkpoints: Checkpoints,
    config: Config,
) -> None:
    """Refuse what was measured of another checkpoint, before anything is exported."""
    for form, tables in leave.items():
        for name in sorted(tables.keys() & exported):
            found = tables[name]
            paths = [path for n in (CODEC, name) if (path := checkpoints.files.get(n))]
            paths += filter(None, [checkpoints.lora.get(name)])
            if {*found.sources} != {checkpoints.source(path).sha256 for path in paths}:
                raise InputError(
                    f"{config.export.leave}: {form}.{name} was measured of another checkpoint;"
                    " run quantise --search on an export of this one"
                )


def _left_of(
    leave: Mapping[str, Mapping[str, Left]], name: str, variant: str
) -> Sequence[str]:
    """Return what a form leaves of a component."""
    found = leave.get(entry_and_form(variant)[1], {}).get(name)
    return () if found is None else found.left


def _write_adapter(
    adapter: Adapter, checkpoints: Checkpoints, models: ModelSet, staged: Path
) -> AdapterRecord:
    path = staged / adapter.file_name
    base = models.transformers[adapter.component]
    write_adapter(adapter_values(base, checkpoints.read_lora(adapter.path).state), path)
    return AdapterRecord(
        name=adapter.name,
        component=adapter.component,
        file=FileRecord.of(path),
        source=checkpoints.source(adapter.path),
    )


def annotate(
    exported: Exported, model: str, sources: list[SourceRecord], versions: dict[str, str]
) -> None:
    """Write the facts of the manifest into the graph itself: whose sources, what toolchain."""
    component = exported.component
    facts: dict[str, object] = {
        "model": model,
        "component": component.name,
        "variant": component.variant,
        "random_weights": any(source.label == "random" for source in sources),
        "sources": [source.model_dump() for source in sources],
        "dims": component.dims_record(),
        "passes": [record.model_dump() for record in exported.passes],
        "toolchain": versions,
        "opset": exported.opset,
        "inputs": [item.model_dump(mode="json") for item in component.inputs],
        "outputs": [item.model_dump(mode="json") for item in component.outputs],
        "facts": component.facts,
    }
    if exported.left:
        facts["left"] = dict(exported.left)
    if isinstance(component, GeneratorComponent):
        facts["defaults"] = dict(component.defaults)
    for key, value in sorted(facts.items()):
        text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
        exported.model.metadata_props[METADATA_PREFIX + key] = text


def component_record(
    exported: Exported, file: FileRecord, data: FileRecord | None
) -> ComponentRecord:
    """Return what the manifest says of one exported component."""
    component = exported.component
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
        passes=exported.passes,
        left=dict(exported.left),
        defaults=dict(component.defaults) if isinstance(component, GeneratorComponent) else {},
    )
