"""The manifest of an artifact version: what ``manifest.json`` holds.

It is the contract between export, which writes it, and pipeline and verify, which trust
nothing it does not vouch for.  It holds no time, host or path: the same export gives the same
bytes.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator

from .errors import InputError
from .files import sha256
from .names import (
    BFLOAT16,
    GENERATOR,
    TRANSFORMERS,
    entry_and_form,
    variant_of,
    variant_of_file,
)
from .text import as_text

SCHEMA_VERSION = 1
LORA_ROLE = "lora"  # of a source that is laid over a network
METADATA_PREFIX = "vampnet_onnx."  # of our keys in a file's own metadata
MANIFEST_NAME = "manifest.json"


_LARGEST = 1 << 20  # of dimensions of a checkpoint and facts of an export

Number = Annotated[int, Field(ge=0, le=_LARGEST, strict=True)]

# A number, or rows of numbers.
Fact = Number | list[list[Number]]


class Record(BaseModel):
    """Plain data as it is written to a file: nothing more in it, and never changed."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="strings")

    @field_validator("*", mode="before")
    @classmethod
    def _of_text(cls, value: object) -> object:
        """Write names of files that are no text so that JSON takes them."""
        if isinstance(value, str):
            return as_text(value)
        if isinstance(value, list):
            return [as_text(item) if isinstance(item, str) else item for item in value]
        return value


class TensorSignature(Record):
    """One input or output of a file."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]  # a number for a fixed axis, a name for a free one

    def __str__(self) -> str:
        return f"{self.name} {self.dtype} [{', '.join(str(axis) for axis in self.shape)}]"


class FileRecord(Record):
    """A file: its name without a folder, hex digest and bytes."""

    name: str
    sha256: str
    size: int

    @classmethod
    def of(cls, path: Path, **more: str) -> Self:
        """Return the record of a file that is there."""
        return cls(name=path.name, sha256=sha256(path), size=path.stat().st_size, **more)


class SourceRecord(FileRecord):
    """A checkpoint file the artifacts were made from.

    Attributes:
        name: of the file, within the folder of checkpoints where it lies in one there.
        label: what its metadata says of the weights, ``random`` for random ones; else empty.
        role: the network it holds, or ``lora``; empty in manifests that say nothing of it.
        prefix: what stood before each of its keys and was taken off.
    """

    label: str = Field(default="", description="'random' for random weights")
    role: str = Field(default="", description="codec, coarse, c2f or lora")
    prefix: str = Field(default="", description="taken off its keys, such as '_orig_mod.'")

    @property
    def note(self) -> str:
        """What a person should know of how it was read; empty if nothing."""
        beside = self.role == LORA_ROLE and "/" in self.name
        said = [
            f"from a training run, as {self.role}" if "/" in self.name and not beside else "",
            "laid over the weights beside it, whose LoRA is another" if beside else "",
            f"{self.prefix!r} was taken off its keys" if self.prefix else "",
        ]
        return f"{self.name}: {'; '.join(filter(None, said))}" if any(said) else ""


class PassRecord(Record):
    """A pass that was applied, with what its own check allowed.

    What the check measured is no fact of the export: it changes with the number of threads.

    Attributes:
        tolerance: largest ||after - before|| / ||before|| of a float output that the check
            let pass; None for passes over graphs, whose check is the verification.
    """

    name: str
    changed: int
    details: str
    tolerance: float | None = None


class ComponentRecord(Record):
    """One exported component.

    Attributes:
        variant: empty for the standard one, else such as ``latents``, ``int8`` or
            ``latents.int8``.
        file: the graph; `data` is its external data, if it has any.
        dims: of the checkpoint.
        facts: what a caller must know beyond the signature: `context_frames`, how many frames
            on each side a frame of the codec depends on; `requantised`, the codes that the
            published decoding replaces, as [codebook, code, new code]; `loudness_stride`,
            samples from one gating block to the next; `resampling`, as [reduced old rate,
            reduced new rate, input samples needed on each side].
        defaults: of a generator, what its inputs are where nobody chooses; no runtime knows
            them, since not every runtime lets a caller give an input that has a default.
        left: of a form that rounds weights, those that it leaves in float32, each with the
            relative error that its product would have had.
    """

    name: str
    variant: str = ""
    file: FileRecord
    data: FileRecord | None = None
    inputs: tuple[TensorSignature, ...]
    outputs: tuple[TensorSignature, ...]
    opset: int
    dims: dict[str, Number | tuple[Number, ...]]
    facts: dict[str, Fact] = {}
    passes: tuple[PassRecord, ...]
    left: dict[str, float] = {}
    defaults: dict[str, bool | int | float] = {}

    @property
    def id(self) -> str:
        """Name with variant, such as ``coarse.latents``."""
        return f"{self.name}.{self.variant}" if self.variant else self.name

    @property
    def files(self) -> tuple[FileRecord, ...]:
        """The graph, and its external data if it has any."""
        return (self.file,) if self.data is None else (self.file, self.data)

    @property
    def size(self) -> int:
        """Bytes of the graph and its external data, but for data that is another graph's."""
        shared = self.data is not None and not self.data.name.startswith(self.file.name)
        return self.file.size if shared else sum(file.size for file in self.files)

    def dim(self, name: str, *, least: int = 1) -> int:
        """Return a dimension that is one number.

        Raises:
            InputError: the manifest gives none, or a smaller one.
        """
        value = self.dims.get(name)
        if not isinstance(value, int) or value < least:
            raise InputError(f"{MANIFEST_NAME}: {self.id} has no number {name}; export again")
        return value

    def dim_list(self, name: str) -> tuple[int, ...]:
        """Return a dimension that is several numbers, none of them 0.

        Raises:
            InputError: the manifest gives none.
        """
        value = self.dims.get(name)
        if not isinstance(value, tuple) or not value or 0 in value:
            raise InputError(f"{MANIFEST_NAME}: {self.id} has no numbers {name}; export again")
        return value

    @property
    def hop_length(self) -> int:
        """Samples a frame, of a component made from the codec.

        Raises:
            InputError: the manifest does not say, or it cannot be.
        """
        found = math.prod(self.dim_list("decoder_rates"))
        if found > _LARGEST:
            raise InputError(f"{MANIFEST_NAME}: {self.id} has {found} samples a frame")
        return found

    def require_facts(self, metadata: Mapping[str, str], path: Path) -> None:
        """Refuse a file whose own metadata says otherwise.

        Raises:
            InputError: naming what differs.
        """
        for key, mine in (
            ("component", self.name),
            ("variant", variant_of_file(self.variant)),
            ("opset", self.opset),
            ("dims", self.dims),
            ("facts", self.facts),
            ("left", self.left),
            ("defaults", self.defaults),
        ):
            wanted = mine if isinstance(mine, str) else json.dumps(mine, sort_keys=True)
            found = metadata.get(METADATA_PREFIX + key, wanted)
            if found != wanted:
                raise InputError(
                    f"{path}: says {key} = {found} of itself, {MANIFEST_NAME} {wanted};"
                    " export again"
                )


class AdapterRecord(Record):
    """A low-rank update that a component can be switched to at run time."""

    name: str  # what it is asked for by
    component: str  # that it belongs to, in all its variants
    file: FileRecord
    source: SourceRecord


class GateRecord(Record):
    """A gate of a verification, as `configs.verification` keeps it."""

    component: str
    name: str
    verdict: str
    value: float | None
    limit: float


class Manifest(Record):
    """All facts of a version."""

    schema_version: int = SCHEMA_VERSION
    model: str
    random_weights: bool = Field(description="weights are random, not trained")
    sources: tuple[SourceRecord, ...]
    toolchain: dict[str, str]
    source: str = Field(
        default="", description="digest of our source that made the graphs; empty: not known"
    )
    components: tuple[ComponentRecord, ...]
    adapters: tuple[AdapterRecord, ...] = ()
    gates: tuple[GateRecord, ...] = Field(
        default=(), description="only read: earlier versions of ours wrote them at release"
    )

    @field_validator("components")
    @classmethod
    def _files_alone(
        cls, components: tuple[ComponentRecord, ...]
    ) -> tuple[ComponentRecord, ...]:
        for record in components:
            if variant_of_file(record.variant) != record.variant:
                raise ValueError(f"{record.id} is none of a file")
        return components

    def in_bf16(self) -> Self:
        """Return what OpenVINO makes of it in bf16: transformers are a form of their own.

        Files that are forms themselves are left out, and generators stay what they are: they
        run on ONNX Runtime.
        """
        found = list[ComponentRecord]()
        for record in self.components:
            entry, form = entry_and_form(record.variant)
            if record.name not in TRANSFORMERS or record.variant == GENERATOR:
                found.append(record)
            elif form in ("", BFLOAT16):
                variant = variant_of(entry, BFLOAT16)
                found.append(record.model_copy(update={"variant": variant}))
        return self.model_copy(update={"components": tuple(found)})

    def files(self) -> list[FileRecord]:
        """Return every file of the version but the manifest."""
        found = [file for component in self.components for file in component.files]
        return found + [adapter.file for adapter in self.adapters]

    def source_notes(self) -> list[str]:
        """Return what a person should know of how checkpoint files were read."""
        sources = (*self.sources, *(adapter.source for adapter in self.adapters))
        return [source.note for source in dict.fromkeys(sources) if source.note]

    def adapter(self, component: str, name: str) -> AdapterRecord | None:
        """Return the adapter of a component with this name, if there is one."""
        return next(
            (a for a in self.adapters if (a.component, a.name) == (component, name)), None
        )

    def component(self, identifier: str) -> ComponentRecord | None:
        """Return the component with this name (and variant), if there is one."""
        return next((c for c in self.components if c.id == identifier), None)
