"""A whole verification: every component of an artifact version against the oracle."""

import gc
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import partial

import torch

from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.config import Gates, VerifySection
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.files import is_there
from vampnet_onnx.configs.interrupts import Interrupted, dealt_with
from vampnet_onnx.configs.invocation import Given
from vampnet_onnx.configs.machine import give_memory_back, new_garbage_only
from vampnet_onnx.configs.manifest import (
    LORA_ROLE,
    MANIFEST_NAME,
    AdapterRecord,
    ComponentRecord,
    Manifest,
)
from vampnet_onnx.configs.names import CODEC, TRACKER, TRANSFORMERS
from vampnet_onnx.configs.runtime import Runtime
from vampnet_onnx.export.components.registry import is_known, required_checkpoint
from vampnet_onnx.export.export_set import graph_requests
from vampnet_onnx.export.fingerprint import Made
from vampnet_onnx.export.graphs import Graphs
from vampnet_onnx.export.toolchain import source_hash
from vampnet_onnx.export.trace import GraphRequest
from vampnet_onnx.models import LAC, Checkpoints, ModelSet, VampNet, WaveBeat
from vampnet_onnx.reports import Cause, Component, Forms, Report, Verdict

from .causes.find import Suspect, consequence_of, describe_nonfinite, find_cause
from .causes.fresh import left_to_make
from .forms import forms_of
from .gates.adapter_files import audit_adapter, with_adapters
from .gates.at_once import Threads, beforehand, in_threads
from .gates.audit import Origin, audit
from .gates.component import check_component
from .gates.measured import Measured
from .gates.modules import modules
from .gates.overflow import overflow
from .gates.own_loop import own_loop
from .gates.processes import MANY_SEEDS, Elsewhere, Job, RunCases
from .gates.report import build_report
from .sides.export import adapters_of, open_export, require_runs, require_same_sources
from .sides.models import Reference
from .sides.oracle import Oracle, Sides
from .subjects.case import Case, Computed
from .subjects.registry import records_of, subject_of

Progress = Callable[[str, int, int], None]

_RANDOM = (
    "the weights are random, by their checkpoint's own word: what they find plausible is not"
    " music, so errors and agreement are all there is to measure of a form"
)


def verify_artifacts(
    artifacts: Artifacts,
    checkpoints: Checkpoints,
    *,
    matrix: VerifySection,
    gates: Gates,
    toolchain: dict[str, str],
    only: tuple[str, ...] = (),
    cases: Sequence[Case] = (),
    given: Given | None = None,
    localise_seconds: float | None = None,
    elsewhere: Elsewhere | None = None,
    exit_first: bool = False,
    oracle: Callable[[ModelSet], Oracle] = Reference,
    made: Mapping[str, Made] = {},
    quick: bool = False,
    runtime: Runtime | None = None,
    graphs: Graphs | None = None,
    progress: Progress,
) -> Report:
    """Verify a version against the checkpoints it was made from.

    One component after the other, so that two transformers of released size never share the
    memory but in whole generations.  What the oracle has nothing to compare with is left out,
    and the report says so, unless it was asked for by name.

    Args:
        checkpoints: they were made from.  A LoRA overlay that the version has an adapter of
            is switched on there.
        only: components to check; empty for all.
        cases: to run instead of the matrix's, of whatever components.
        given: what a person gave, for the commands that the report names; what is known here
            if left out.
        localise_seconds: look into every component that fails, so long at most; None does not.
        elsewhere: makes of a job what runs its cases in other processes, with the standard
            oracle; this process runs them if left out.
        oracle: makes the reference from our models of the checkpoint.
        made: what was exported just now, by component, so that it need not be again.
        quick: do not look at modules one by one.
        runtime: runs the export, with the matrix's threads; ONNX Runtime on the CPU if left
            out.
        graphs: makes afresh those that the audit holds files to; None begins with them here.
        progress: told component, cases done and cases in all.

    Returns:
        What was found; of an interrupt, what was found until then, which is never a PASS.

    Raises:
        InputError: the checkpoints are not those of the artifacts, or nothing is left.
        EnvironmentLacksError: the runtime does not run all of a network.
    """
    asked = replace(runtime or Runtime(), threads=matrix.threads)
    files, artifacts = artifacts.manifest, artifacts.run_on(asked)
    manifest = artifacts.manifest
    only = only or tuple(dict.fromkeys(case.component for case in cases))
    given = given or Given(
        artifacts.folder,
        checkpoints.folder,
        checkpoints.lora,
        unsealed=bool(artifacts.changed),
    )
    records = chosen_records(artifacts, checkpoints, only)
    if not asked.is_usual:
        require_runs(artifacts, records, asked, progress)
    afresh = graphs or graphs_afresh(_audited_graphs(records, checkpoints, made, gates))
    run = _Run(
        artifacts,
        checkpoints,
        matrix,
        gates,
        toolchain,
        given,
        localise_seconds,
        elsewhere,
        exit_first,
        made,
        afresh,
        quick,
        asked,
        progress,
        [record.id for record in records if not subject_of(record).needs],
    )
    components, left_out, stopped = list[Component](), list[str](), list[str]()
    unfit, forms = dict[str, str](), list[Forms]()
    notes = manifest.source_notes() + _left_out_of(files, manifest)
    with (
        nullcontext() if graphs else afresh,
        new_garbage_only(),
        _interrupt_kept(components, stopped),
        _threads(matrix.threads),
    ):
        for record in records:
            progress(record.id, 0, 1)
            if why := run.unfit_by_label(record):
                unfit[record.id] = why
                continue
            opened = run.open(record, oracle)
            described = opened.reference.description
            if not (only or opened.reference.knows(record)):
                left_out.append(record.id)
            elif why := run.unfit(opened):
                unfit[record.id] = why
            else:
                own = [case for case in cases if case.component == record.id]
                if subject_of(record).needs and not own and run.elsewhere_for(record) is None:
                    opened = run.with_reference_made(opened)
                notes += run.verify(opened, own, components)
            del opened  # its models are given back before the next ones are read
            give_memory_back()
            if exit_first and components and components[-1].verdict is Verdict.FAIL:
                notes.append(f"stopped at the first failure, in {record.id}, as was asked")
                break
        whole = not (cases or quick or exit_first)
        forms = (
            forms_of(artifacts, components, run.runtime, progress=progress) if whole else []
        )
    done = {*left_out, *unfit, *(part.id for part in components if not part.interrupted)}
    unfinished = [record.id for record in records if record.id not in done]
    if not components and unfit:
        raise InputError("; ".join(f"{name}: {why}" for name, why in unfit.items()))
    if not components:
        raise InputError(f"{described} has nothing to compare {', '.join(left_out)} with")
    notes += [f"not verified, since the reference has no part like it: {n}" for n in left_out]
    return build_report(
        artifacts,
        components,
        described,
        notes,
        matrix=matrix,
        toolchain=toolchain,
        given=given,
        unfinished=(unfinished or [components[-1].id]) if stopped else (),
        unfit=unfit,
        forms=forms,
    )


def graphs_afresh(requests: Iterable[GraphRequest], jobs: int | None = None) -> Graphs:
    """Return what makes graphs for the audit: none is kept, none made twice by a process.

    Args:
        jobs: processes that make them at once; as many as cores and memory allow if None.
    """
    return Graphs(left_to_make(requests), jobs=jobs)


@dataclass(frozen=True)
class _Run:
    """What is the same for every component of a verification; see `verify_artifacts`."""

    artifacts: Artifacts
    checkpoints: Checkpoints
    matrix: VerifySection
    gates: Gates
    toolchain: dict[str, str]
    given: Given
    localise_seconds: float | None
    elsewhere: Elsewhere | None
    exit_first: bool
    made: Mapping[str, Made]
    graphs: Graphs
    quick: bool
    runtime: Runtime
    progress: Progress
    files: Sequence[str]
    shared: dict[Case, Future[Computed]] = field(default_factory=dict)
    verdicts: list[str] = field(default_factory=list)

    def open(self, record: ComponentRecord, oracle: Callable[[ModelSet], Oracle]) -> Suspect:
        """Open what a component, or a whole, was made from."""
        artifacts, checkpoints = self.artifacts, _laid_over(record, self)
        needed = checkpoints_of(record, artifacts.manifest)
        models = checkpoints.models_for(needed, merged=True)
        require_made_from(models, artifacts, record)
        adapters = _adapters(record, checkpoints, artifacts)
        unadapted = partial(_unadapted, record, checkpoints, models, adapters)
        return Suspect(
            artifacts, record, oracle(models), models, unadapted, adapters, self.runtime
        )

    def elsewhere_for(self, record: ComponentRecord) -> Elsewhere | None:
        """Return what runs its cases elsewhere, if anything: not where all are one case."""
        return None if subject_of(record).shares_reference else self.elsewhere

    def unfit_by_label(self, record: ComponentRecord) -> str:
        """Say why nothing would follow from a comparison, by the checkpoint's own word."""
        if self.artifacts.manifest.random_weights and subject_of(record).shares_reference:
            return _RANDOM
        return ""

    def unfit(self, opened: Suspect) -> str:
        """Say why nothing would follow from a comparison with these models, as measured."""
        subject = subject_of(opened.record)
        if not subject.shares_reference:
            return ""
        if not self.verdicts:  # the same for every form
            self.verdicts.append(subject.unfit(opened.models, self.gates))
        return self.verdicts[0]

    def with_reference_made(self, opened: Suspect) -> Suspect:
        """Compute the reference of a whole now, and give its models back if all is compared.

        The models of several components and their files do not go into the memory together.
        What several forms are compared with is computed once.
        """
        record, reference = opened.record, opened.reference
        every = reference.cases(record, self.matrix)
        threads = Threads.of(self.matrix.threads)
        if subject_of(record).shares_reference:
            threads = Threads(1, threads.at_once * threads.each)
            of_all = {case: replace(case, component=record.name) for case in every}
            new = [case for case, shared in of_all.items() if shared not in self.shared]
            made = beforehand(reference, record, new, threads)
            self.shared.update({of_all[case]: made.results[case] for case in new})
            results = {case: self.shared[shared] for case, shared in of_all.items()}
            return replace(opened, reference=replace(made, results=results))
        kept = beforehand(reference, record, every, threads)
        self.checkpoints.let_go()
        give_memory_back()
        bare = ModelSet(self.checkpoints.folder, codec=None)
        return replace(opened, reference=kept, models=bare, unadapted=lambda: bare)

    def verify(
        self, opened: Suspect, cases: Sequence[Case], components: list[Component]
    ) -> list[str]:
        """Verify one, add what was found to the components, and return what there is to note.

        Args:
            cases: to run instead of the matrix's.

        Raises:
            Interrupted: some of its cases ran, and what they gave was added.
        """
        record = opened.record
        for case in cases:
            opened.reference.require(record, case)
        started = time.monotonic()
        of_file = self._of_file(opened)  # before a session holds all weights once more
        found, ran = self._by_cases(opened, cases, of_file)
        components.append(found)
        if found.interrupted:
            raise Interrupted
        notes = [] if self.runtime.is_usual else [ran]
        if found.verdict is Verdict.FAIL and self.localise_seconds is not None:
            self.progress(f"why {record.id}", 0, 1)
            cause = _cause(
                found, opened, components, self.given, self.localise_seconds, of_file
            )
            components[-1] = found = found.model_copy(update={"causes": [cause]})
            self.progress(f"why {record.id}", 1, 1)
            notes += describe_nonfinite(found)
        spent = round(time.monotonic() - started, 3)
        components[-1] = found.model_copy(update={"seconds": spent})
        notes += [f"{record.id}: {m.doubt}" for m in of_file.values() if m.doubt]
        notes += [
            f"{record.id} was verified with the adapter {item.name} of {item.component}"
            for item in opened.adapters
        ]
        return notes

    def _by_cases(
        self, opened: Suspect, cases: Sequence[Case], of_file: Mapping[str, Measured]
    ) -> tuple[Component, str]:
        record, adapters, runtime = opened.record, opened.adapters, self.runtime
        # A whole's steps use all cores by themselves; of other runtimes nobody knows.
        by_itself = bool(subject_of(record).needs) or not runtime.is_usual
        at_work = Threads.of(runtime.threads)
        one = runtime if by_itself else replace(runtime, threads=at_work.each)
        export, mismatches, ran = open_export(self.artifacts, record, one, adapters=adapters)
        sides = Sides(record, opened.reference, export, mismatches)
        run_cases: RunCases | None = None
        if (elsewhere := self.elsewhere_for(record)) is not None:
            transformers = checkpoints_of(record, self.artifacts.manifest)
            job = Job(
                self.artifacts,
                record,
                adapters,
                _laid_over(record, self),
                transformers,
                self.gates,
                runtime,
            )
            run_cases = elsewhere(job)
        elif not by_itself:
            run_cases = in_threads(sides, self.gates, at_work)
        with nullcontext() if by_itself else at_work.of_torch():
            found = check_component(
                sides,
                matrix=self.matrix,
                gates=self.gates,
                only=cases,
                of_file=of_file,
                run_cases=run_cases,
                exit_first=self.exit_first,
                progress=partial(self.progress, record.id),
            )
        return found, ran

    def _of_file(self, opened: Suspect) -> dict[str, Measured]:
        """Measure what there is to measure of a file itself; nothing of a whole."""
        record = opened.record
        if subject_of(record).needs:
            return {}
        found = {}
        asked = self.gates.for_component(record.name, record.variant)
        if not self.quick and "modules" in asked:
            found["modules"] = modules(
                opened.models,
                record,
                opened.path,
                self.gates.modules,
                adapters=opened.adapter_files,
                progress=partial(self.progress, f"modules {record.id}"),
            )
        gc.collect()  # graphs hold themselves in circles, and their weights with them
        if "audit" in asked:
            told, before = f"audit {record.id}", self.files.index(record.id)
            self.progress(told, before, len(self.files))
            found["audit"] = self._audited(opened)
            self.progress(told, before + 1, len(self.files))
            gc.collect()
        if "overflow" in asked:
            seeds = self.matrix.seeds[:MANY_SEEDS]  # of a sweep: here they are run in turn
            fewer = self.matrix.model_copy(update={"seeds": seeds})
            cases = opened.reference.cases(record, fewer)
            inputs = (opened.reference.inputs(record, case) for case in cases)
            found["overflow"] = overflow(opened.path, inputs, adapters=opened.adapter_files)
            gc.collect()
        if "own_loop" in asked:
            self.progress(f"own loop of {record.name}", 0, 1)
            found["own_loop"] = self._own_loop(opened)
            self.progress(f"own loop of {record.name}", 1, 1)
            gc.collect()
        return found

    def _own_loop(self, opened: Suspect) -> Measured:
        """Compare with the pipeline's own loop, in one case of every setting."""
        record, reference = opened.record, opened.reference
        by_setting = {case.setting: case for case in reference.cases(record, self.matrix)}
        cases = ((case, reference.inputs(record, case)) for case in by_setting.values())
        return own_loop(self.artifacts, record, cases, self.runtime)

    def _audited(self, opened: Suspect) -> Measured:
        """Audit a component's file, and those of its adapters."""
        record, manifest = opened.record, self.artifacts.manifest
        origin = Origin.of(
            manifest.source, manifest.toolchain, ours=source_hash(), tools=self.toolchain
        )
        of_graph = audit(
            opened.unadapted(),
            record,
            opened.path,
            self.gates.audit,
            origin=origin,
            adaptable=subject_of(record).adaptable
            and any(item.component == record.name for item in manifest.adapters),
            made=self.made.get(record.id),
            graphs=self.graphs,
        )
        return self._with_adapters(of_graph, opened, origin)

    def _with_adapters(self, of_graph: Measured, opened: Suspect, origin: Origin) -> Measured:
        """Audit the adapter files of a component, those whose LoRA file was given."""
        record, folder = opened.record, self.artifacts.folder
        made = [a for a in self.artifacts.manifest.adapters if a.component == record.name]
        if not subject_of(record).adaptable:
            made = []
        audited = []
        if opened.adapters:
            plain = _without_lora(record, self.checkpoints)
            base = plain.models_for((record.name,)).transformers[record.name]
            lora = self.checkpoints.read_lora(self.checkpoints.lora[record.name])
            audited = [
                audit_adapter(base, lora.state, folder / item.file.name, origin=origin)
                for item in opened.adapters
            ]
        left = {a.file.name: a.source.name for a in made if a not in opened.adapters}
        return with_adapters(of_graph, audited, left)


@contextmanager
def _interrupt_kept(components: Sequence[Component], stopped: list[str]) -> Iterator[None]:
    """Go on after an interrupt with what was found until then, and say that it was one."""
    try:
        yield
    except Interrupted:
        if not components:
            raise
        dealt_with()
        stopped.append("interrupted")


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Give PyTorch so many threads, 0 for its own choice, and take them back."""
    before = torch.get_num_threads()
    try:
        if count:
            torch.set_num_threads(count)
        yield
    finally:
        torch.set_num_threads(before)


def _cause(
    found: Component,
    suspect: Suspect,
    earlier: Sequence[Component],
    given: Given,
    seconds: float,
    of_file: Mapping[str, Measured],
) -> Cause:
    """Return why a component, or a whole, failed."""
    record, manifest = suspect.record, suspect.artifacts.manifest
    if subject_of(record).needs:
        parts = [part.id for part in subject_of(record).parts(record, manifest)]
        return consequence_of(found, parts, earlier, given)
    failed = {gate.name for gate in found.gates if gate.verdict is Verdict.FAIL}
    blamed = [m for name, seen in of_file.items() if name in failed for m in seen.modules]
    return find_cause(found, suspect, given, seconds, blamed)


def _laid_over(record: ComponentRecord, run: "_Run") -> Checkpoints:
    """Return the checkpoints, without the LoRA file of an adapter that a file cannot take."""
    overlay = run.checkpoints.lora.get(record.name)
    if overlay is None or subject_of(record).adaptable:
        return run.checkpoints
    digest = run.checkpoints.source(overlay).sha256
    adapted = any(item.source.sha256 == digest for item in run.artifacts.manifest.adapters)
    return _without_lora(record, run.checkpoints) if adapted else run.checkpoints


def _unadapted(
    record: ComponentRecord,
    checkpoints: Checkpoints,
    models: ModelSet,
    adapters: Sequence[AdapterRecord],
) -> ModelSet:
    """Return the models that a file was made from: what an adapter adds is not in them."""
    if not adapters:
        return models
    plain = _without_lora(record, checkpoints)
    return plain.models_for(required_checkpoint(record.name), merged=True)


def _without_lora(record: ComponentRecord, checkpoints: Checkpoints) -> Checkpoints:
    """Return the checkpoints without the LoRA file of a component."""
    others = {n: path for n, path in checkpoints.lora.items() if n != record.name}
    return Checkpoints(checkpoints.folder, others, codec=checkpoints.files.get(CODEC))


def _adapters(
    record: ComponentRecord, checkpoints: Checkpoints, artifacts: Artifacts
) -> list[AdapterRecord]:
    """Return the adapters that were made of the LoRA files laid over what a record needs."""
    needed = checkpoints_of(record, artifacts.manifest)
    overlays = {n: path for n, path in checkpoints.lora.items() if n in needed}
    digests = {n: checkpoints.source(path).sha256 for n, path in overlays.items()}
    return adapters_of(record, artifacts.manifest, digests)


def _audited_graphs(
    records: Sequence[ComponentRecord],
    checkpoints: Checkpoints,
    made: Mapping[str, object],
    gates: Gates,
) -> Iterator[GraphRequest]:
    """Yield the graphs that files are held to, but for those that were made just now."""
    for record in records:
        audited = "audit" in gates.for_component(record.name, record.variant)
        if audited and not subject_of(record).needs and record.id not in made:
            part = (record.name, record.variant)
            yield from graph_requests([part], record.opset, checkpoints).values()


def _left_out_of(files: Manifest, run: Manifest) -> list[str]:
    """Say which files are not what is run: forms, where the runtime makes one itself."""
    ran = {record.file.name for record in run.components}
    left = [record.id for record in files.components if record.file.name not in ran]
    return [f"not verified, being forms by themselves: {', '.join(left)}"] if left else []


def chosen_records(
    artifacts: Artifacts, checkpoints: Checkpoints, only: tuple[str, ...]
) -> list[ComponentRecord]:
    """Return what of a version there is to verify against checkpoints, wholes among it.

    Args:
        only: components by name with variant; empty for all.

    Raises:
        InputError: the manifest contradicts itself, there is no such component, or the
            checkpoints have not the LoRA file of the export.
    """
    manifest = artifacts.manifest
    if manifest.random_weights != any(item.label == "random" for item in manifest.sources):
        raise InputError(
            f"{artifacts.folder / MANIFEST_NAME}: random_weights is"
            f" {str(manifest.random_weights).lower()}, and the labels of its sources say"
            " otherwise; export again"
        )
    if not manifest.components:
        raise InputError("the manifest lists no components, so there is nothing to verify")
    for record in manifest.components:
        if not is_known(record.name, record.variant):
            raise InputError(
                f"the manifest lists {record.id!r}, which this version of the tool does not"
                " know"
            )
    records = records_of(manifest)
    known = [record.id for record in records]
    for name in only:
        if name not in known:
            raise InputError(f"no component {name!r} here; there are {', '.join(known)}")
    chosen = [record for record in records if not only or record.id in only]
    if any(checkpoints_of(record, manifest) for record in chosen):
        _require_same_lora(checkpoints, artifacts)
    return chosen


def checkpoints_of(record: ComponentRecord, manifest: Manifest) -> tuple[str, ...]:
    """Return what a component, or a whole, is made from besides the codec."""
    parts = subject_of(record).parts(record, manifest)
    return tuple(name for part in parts for name in required_checkpoint(part.name))


def _require_same_lora(checkpoints: Checkpoints, artifacts: Artifacts) -> None:
    """Refuse to compare an export that has a LoRA file in it with a model that has not."""
    overlays = [path for path in checkpoints.lora.values() if is_there(path)]
    given = {checkpoints.source(path).sha256 for path in overlays}
    left = [s for s in artifacts.manifest.sources if s.sha256 not in given]
    counts = Counter(source.name for source in left)
    plain = {f"{name}.pth" for name in (CODEC, *TRANSFORMERS, TRACKER)}
    for source in left:
        # Manifests of before say nothing of a role.
        unsaid = source.name not in plain or counts[source.name] > 1
        if source.role == LORA_ROLE or (not source.role and unsaid):
            raise InputError(
                f"{artifacts.folder}: made with the LoRA file {source.name} (sha256"
                f" {source.sha256[:16]}…); give it with --lora"
            )


def require_made_from(models: ModelSet, artifacts: Artifacts, record: ComponentRecord) -> None:
    """Refuse checkpoints of which a component, or a part of a whole, was not made."""
    manifest = artifacts.manifest
    known = {*manifest.sources, *(adapter.source for adapter in manifest.adapters)}
    for part in subject_of(record).parts(record, manifest):
        require_same_sources(models, known, artifacts.path(part))
        model: LAC | VampNet | WaveBeat | None = models.transformers.get(part.name)
        if model is None:
            made_from = required_checkpoint(part.name)
            model = models.tracker if TRACKER in made_from else models.codec
        assert model is not None
        if asdict(model.dims) != part.dims:
            raise InputError(
                f"{artifacts.folder / MANIFEST_NAME}: the dimensions of {part.id} are not"
                f" those of {models.folder}; the manifest was changed, export again"
            )
