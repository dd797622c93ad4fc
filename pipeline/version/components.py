"""The components of one artifact version, opened when asked for, and checked to be of one set.

Nothing is trusted that the manifest does not vouch for: a file is hashed while it is loaded,
and runs once its hash has held; here the dimensions of the parts are compared, and each file's
own metadata with the manifest, so that files of two models in one folder are refused.

Files are loaded by threads, as many at once as there are cores.  Memory: that of the sessions,
which is the bytes of their files, and of those still loading once more at most.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.machine import cores
from vampnet_onnx.configs.manifest import (
    MANIFEST_NAME,
    METADATA_PREFIX,
    AdapterRecord,
    ComponentRecord,
    Fact,
)
from vampnet_onnx.configs.names import (
    CODEC,
    FLOAT32,
    FORMS,
    GENERATOR,
    TRANSFORMERS,
    variant_of,
)
from vampnet_onnx.configs.runtime import Runtime
from vampnet_onnx.configs.store import VERSION, read_manifest, versions

from .products import require_exact_products
from .providers import require_runtime, where_it_runs
from .session import Opened, open_session

_CODEC_FILE = "codec.pth"
_NOT_OF_ONE_SET = "they are not of one set; export them together"
_MIXED = "artifacts of two models are mixed; export them together"


@dataclass(frozen=True)
class Codec:
    """What the codec's parts have in common."""

    sample_rate: int  # Hz
    hop_length: int  # samples a frame
    n_codebooks: int
    codebook_size: int  # also the index of the mask token

    def frames_of(self, seconds: float) -> int:
        """Return the frames that hold `seconds`, rounded up, as the published package does."""
        return int(np.ceil(seconds * self.sample_rate / self.hop_length))

    def seconds_of(self, frames: int) -> float:
        """Return how long so many frames last."""
        return frames * self.hop_length / self.sample_rate


@dataclass(frozen=True)
class Transformer:
    """A transformer; its session is asked for at every run, so it may still be loading."""

    name: str
    session: Callable[[], Opened]
    n_codebooks: int  # in its input
    n_conditioning_codebooks: int  # leading ones that it does not predict
    mask_token: int

    def logits(self, codes: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return logits, float32 [B, V, T * P], time-major and codebook-minor.

        Takes codes, int64 [B, n_codebooks, T], mask token allowed.
        """
        return self.session().run({"codes": codes})["logits"]


@dataclass(frozen=True)
class Generator:
    """A graph that holds a transformer and all of a generation with it; see `Transformer`."""

    name: str  # of the transformer
    session: Callable[[], Opened]
    n_codebooks: int
    n_conditioning_codebooks: int
    mask_token: int


G = TypeVar("G", Transformer, Generator)


class Components:
    """Opens components and keeps them."""

    def __init__(
        self,
        artifacts: Artifacts,
        runtime: Runtime | None = None,
        *,
        form: str = "",
        opened_by: Callable[[ComponentRecord], Opened] | None = None,
    ) -> None:
        """Check that the parts fit each other, by the manifest.

        Args:
            runtime: ONNX Runtime on the CPU if left out.
            form: of the transformers; empty for float32.
            opened_by: opens components in the place of the runtime.

        Raises:
            InputError: the parts are of different sets, a transformer is not there in the
                form, or this processor computes products of integers wrong that it needs.
            EnvironmentLacksError: the runtime is not installed.
        """
        self.runtime = runtime or Runtime()
        require_runtime(self.runtime)
        require_exact_products(form)
        self.artifacts, self._form, self._opened_by = artifacts, form, opened_by
        self._open: dict[tuple[str, int], Future[Opened]] = {}
        self._loaders = ThreadPoolExecutor(cores(), "load")
        self._adapters: dict[str, AdapterRecord] = {}
        self.codec = _codec_of(artifacts)
        self.codec_hash = _codec_hash(artifacts)
        for name in TRANSFORMERS:
            record = artifacts.manifest.component(self.identifier(name))
            if record is not None:
                self._check_transformer(record)
        if form:
            plain = [name for name in TRANSFORMERS if artifacts.manifest.component(name)]
            for name in plain or TRANSFORMERS[:1]:
                self.record(self.identifier(name))

    def record(self, identifier: str) -> ComponentRecord:
        """Return what the manifest says of a component.

        Raises:
            InputError: it is not among the artifacts.
        """
        found = self.artifacts.manifest.component(identifier)
        if found is None:
            folder = self.artifacts.folder
            elsewhere = version_with(identifier, folder)
            way_out = (
                _way_out(identifier)
                if elsewhere is None
                else f"{elsewhere} does: name it, or verify it, and it is used unasked"
            )
            raise InputError(f"{folder}: holds no {identifier}; {way_out}")
        return found

    @property
    def threads(self) -> int:
        """Return how many threads may compute at once: as asked for, or the cores.

        One for another provider: what it runs on is one device.
        """
        return 1 if self.runtime.provider != "cpu" else self.runtime.threads or cores()

    def load(self, *identifiers: str, threads: Mapping[str, int] = {}) -> None:
        """Begin to open components in the background, in this order.

        Args:
            threads: for one operator of some of them; of the others as in `session`.

        Raises:
            InputError: one is not among the artifacts, or one begun earlier cannot be opened.
        """
        for record in [self.record(identifier) for identifier in identifiers]:
            self._begin(record, threads.get(record.id, self.runtime.threads))
        self.require_sound()

    def require_sound(self) -> None:
        """Look at what was opened in the background until now.

        Raises:
            InputError: a component cannot be opened; see `session`.
        """
        for (identifier, threads), opening in list(self._open.items()):
            if opening.done():
                self.session(identifier, threads=threads)

    def session(self, identifier: str, *, threads: int | None = None) -> Opened:
        """Return a component's session, opened at the first call.

        Args:
            threads: for one operator; None is what these components were opened with.

        Raises:
            InputError: it is not there, changed or not loadable, or made from other
                checkpoints than the manifest says.
        """
        record = self.record(identifier)
        opening = self._begin(record, self.runtime.threads if threads is None else threads)
        try:
            session = opening.result()
            self._switch(record, session)
        except BaseException:  # an interrupt, too, is not to wait for what has not begun
            self._forget()
            raise
        return session

    def where_they_run(self) -> list[str]:
        """Say of every component that is open where it runs; nothing of the usual runtime."""
        if self.runtime.is_usual:
            return []
        lines = [
            where_it_runs(self.record(name), self.runtime, opening.result().placement)
            for (name, _), opening in sorted(self._open.items(), key=lambda item: item[0])
            if opening.done() and opening.exception() is None
        ]
        return list(dict.fromkeys(lines))

    def _begin(self, record: ComponentRecord, threads: int) -> Future[Opened]:
        key = record.id, threads
        if key not in self._open:
            self._open[key] = self._loaders.submit(self._opened, record, threads)
        return self._open[key]

    def _forget(self) -> None:
        """Drop what waits to be opened and what could not be: it may be asked for again."""
        for key, opening in list(self._open.items()):
            if opening.cancel() or (opening.done() and opening.exception() is not None):
                del self._open[key]

    def _opened(self, record: ComponentRecord, threads: int) -> Opened:
        runtime = replace(self.runtime, threads=threads)
        if self._opened_by is None:
            session = open_session(self.artifacts, record, runtime)
        else:
            session = self._opened_by(record)
        record.require_facts(session.metadata, session.path)
        self._check_origin(record.id, session)
        _check_signature(record, session)
        return session

    def switch_adapter(self, name: str | None) -> None:
        """Switch every transformer that has an adapter of this name to it, the others to none.

        Raises:
            InputError: no component has it.
        """
        self.use_adapters([] if name is None else self.artifacts.adapters(name))

    def use_adapters(self, adapters: Sequence[AdapterRecord]) -> None:
        """Switch to adapters of the manifest, at most one a component, and to no other."""
        self._adapters = {adapter.component: adapter for adapter in adapters}
        self.require_sound()

    def _switch(self, record: ComponentRecord, session: Opened) -> None:
        """Switch a session to the adapter in use."""
        adapter = self._adapters.get(record.name)
        path = None if adapter is None else self.artifacts.folder / adapter.file.name
        if session.adapter != path:
            with self.artifacts.sealed(*([] if adapter is None else [adapter.file])):
                session.use_adapter(path)

    def identifier(self, name: str) -> str:
        """Return what a component is called in the form that is used, as ``coarse.int8``."""
        return variant_of(name, self._form) if name in TRANSFORMERS else name

    def transformer(self, name: str) -> Transformer:
        """Return a transformer, ``coarse`` or ``c2f``, opened when it first runs.

        Raises:
            InputError: it is not among the artifacts.
        """
        return self._generating(Transformer, name, self.identifier(name))

    def generator(self, name: str) -> Generator:
        """Return the generator of a transformer, opened when it first runs.

        Raises:
            InputError: it is not among the artifacts.
        """
        return self._generating(Generator, name, generator_id(name))

    def _generating(self, kind: type[G], name: str, identifier: str) -> G:
        record = self.record(identifier)
        return kind(
            name=name,
            session=partial(self.session, identifier),
            n_codebooks=record.dim("n_codebooks"),
            n_conditioning_codebooks=record.dim("n_conditioning_codebooks", least=0),
            mask_token=record.dim("vocab_size"),
        )

    def has_generator(self, name: str) -> bool:
        """Return whether a transformer has a generator."""
        return self.artifacts.manifest.component(generator_id(name)) is not None

    def instead_of_generator(self, name: str) -> str:
        """Say why a transformer's generator cannot take its place; empty if it can.

        A generator computes in float32, with no low-rank update, on ONNX Runtime's CPU.
        """
        if self._form:
            return f"the form {self._form} is asked for"
        if not self.runtime.is_usual:
            return f"{self.runtime} is asked for"
        if name in self._adapters:
            return f"the adapter {self._adapters[name].name} is in use"
        return ""

    def number(self, identifier: str, name: str) -> int:
        """Return a fact of a component that is a number.

        Raises:
            InputError: the artifacts are of a version that did not record it.
        """
        found = self._fact(identifier, name)
        if not isinstance(found, int):
            raise self._no_fact(identifier, name)
        return found

    def triples(self, identifier: str, name: str) -> list[tuple[int, int, int]]:
        """Return a fact of a component that is rows of three numbers.

        Raises:
            InputError: the artifacts are of a version that did not record it.
        """
        found = self._fact(identifier, name)
        if isinstance(found, int) or any(len(row) != 3 for row in found):
            raise self._no_fact(identifier, name)
        return [(a, b, c) for a, b, c in found]

    def _fact(self, identifier: str, name: str) -> Fact:
        facts = self.record(identifier).facts
        if name not in facts:
            raise self._no_fact(identifier, name)
        return facts[name]

    def _no_fact(self, identifier: str, name: str) -> InputError:
        return InputError(
            f"{self.artifacts.folder}: {identifier} was exported by a version that did not"
            f" record {name}; export again"
        )

    def _check_transformer(self, record: ComponentRecord) -> None:
        entries, books = record.dim("vocab_size"), record.dim("n_codebooks")
        codec, who = self.codec, f"{self.artifacts.folder}: {record.name}"
        if entries != codec.codebook_size:
            raise InputError(
                f"{who} has {entries} entries a codebook, the codec {codec.codebook_size}:"
                f" {_NOT_OF_ONE_SET}"
            )
        if books > codec.n_codebooks or (record.name == "c2f" and books < codec.n_codebooks):
            raise InputError(
                f"{who} works on {books} codebooks, the codec has {codec.n_codebooks}:"
                f" {_NOT_OF_ONE_SET}"
            )

    def _check_origin(self, identifier: str, session: Opened) -> None:
        """Compare a file's own metadata with the manifest."""
        manifest, facts = self.artifacts.manifest, session.metadata
        model = facts.get(f"{METADATA_PREFIX}model", "")
        known = {(source.name, source.sha256) for source in manifest.sources}
        try:
            sources = json.loads(facts.get(f"{METADATA_PREFIX}sources", "[]"))
            strange = [s["name"] for s in sources if (s["name"], s["sha256"]) not in known]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(
                f"{session.path}: what it says of its sources cannot be read ({error}); export"
                " again"
            ) from error
        if model == manifest.model and sources and not strange:
            return
        made_of = f"another {strange[0]}" if strange else f"model {model!r}"
        raise InputError(
            f"{self.artifacts.folder}: {identifier} was made from {made_of}, the manifest is"
            f" that of {manifest.model!r}: {_MIXED}"
        )


def generator_id(name: str) -> str:
    """Return what the generator of a transformer is called."""
    return f"{name}.{GENERATOR}"


def _check_signature(record: ComponentRecord, session: Opened) -> None:
    """Refuse a file that does not take and give what the manifest says."""
    wanted, found = (record.inputs, record.outputs), (session.inputs, session.outputs)
    if wanted != found:
        says, does = (", ".join(map(str, (*ins, *outs))) for ins, outs in (wanted, found))
        raise InputError(
            f"{session.path}: is of {does}; {MANIFEST_NAME} says {says}; export again"
        )


def _codec_hash(artifacts: Artifacts) -> str:
    """Return the hash of the codec's checkpoint, or nothing if there is none."""
    found = {
        source.sha256
        for source in artifacts.manifest.sources
        if source.role == CODEC or source.name == _CODEC_FILE
    }
    if len(found) > 1:
        raise InputError(
            f"{artifacts.folder}: made from {len(found)} different codecs: {_MIXED}"
        )
    return next(iter(found), "")


def _codec_of(artifacts: Artifacts) -> Codec:
    parts = [c for c in artifacts.manifest.components if "decoder_rates" in c.dims]
    if not parts:
        raise InputError(
            f"{artifacts.folder}: holds no part of a codec; {_way_out('codec_encoder')}"
        )
    found = {
        part.id: Codec(
            sample_rate=part.dim("sample_rate"),
            hop_length=part.hop_length,
            n_codebooks=part.dim("n_codebooks"),
            codebook_size=part.dim("codebook_size"),
        )
        for part in parts
    }
    first, *others = found
    for other in others:
        if found[other] != found[first]:
            raise InputError(
                f"{artifacts.folder}: {first} is of a codec of {found[first]}, {other} of"
                f" {found[other]}: {_NOT_OF_ONE_SET}"
            )
    return found[first]


def version_with(identifier: str, folder: Path) -> Path | None:
    """Return the newest later version of a model that holds a component, if one does."""
    here = VERSION.fullmatch(folder.name)
    later = [] if here is None else versions(folder.parent)
    for number, other in reversed(later):
        if here is not None and number > int(here[1]):
            manifest = read_manifest(other)
            if manifest.component(identifier) is not None:
                return other
    return None


def _way_out(identifier: str) -> str:
    name, _, variant = identifier.partition(".")
    if variant in FORMS:
        return (
            f"export it (vampnet-onnx export --checkpoint DIR --variants {FLOAT32},{variant}),"
            " or leave --variant out"
        )
    if variant == GENERATOR:
        return "export it (vampnet-onnx export --checkpoint DIR --generator)"
    if name == "c2f":
        return (
            "export it (vampnet-onnx export --checkpoint DIR, with c2f.pth in DIR), or ask for"
            " coarse codes only (--coarse-only)"
        )
    if name == "beat_tracker":
        return (
            "export it (vampnet-onnx export --checkpoint DIR, with wavebeat.pth in DIR), or"
            " give the beats in a file (--beats)"
        )
    if name == "audio_processor" and variant:
        return (
            f"export one for that rate (rates = [{variant.removeprefix('from_')}] in [export]"
            " of a configuration), or convert the audio to a rate it has"
        )
    return "export it: vampnet-onnx export --checkpoint DIR"
