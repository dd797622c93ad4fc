"""What ``vampnet-onnx verify`` does, for programs as well."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

from vampnet_onnx.configs.artifacts import Artifacts, open_artifacts
from vampnet_onnx.configs.config import VerifySection, load_gates, validated
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.extras import require_optional
from vampnet_onnx.configs.invocation import Given
from vampnet_onnx.configs.matrix import load_matrix
from vampnet_onnx.configs.runtime import ProviderName, Runtime, RuntimeName
from vampnet_onnx.configs.verification import last_verified
from vampnet_onnx.export.options import Files, Names, listed, settings_from
from vampnet_onnx.export.toolchain import toolchain
from vampnet_onnx.models import Checkpoints, ModelSet
from vampnet_onnx.pipeline.version.providers import require_runtime
from vampnet_onnx.reports import Report

from .gates.headroom import with_headroom
from .gates.processes import Elsewhere, in_processes, jobs_for
from .matrix import verify_on_runtimes
from .sides.models import Reference
from .sides.oracle import Oracle
from .sides.recorded import RecordedReference, RecordedSet
from .sides.runtimes.backend import chosen_backends
from .sides.upstream import UpstreamReference, open_worker
from .standing import settle, shortfalls
from .subjects.case import Case
from .told_history import History
from .told_run import told_run
from .verification import verify_artifacts

Against = Literal["models", "upstream", "golden"]


def verify_export(
    artifacts: Artifacts | str | Path,
    checkpoint: str | Path | None = None,
    *,
    config: str | Path | None = None,
    components: Names = (),
    seeds: Sequence[int] | None = None,
    cases: Names = (),
    localise: bool = True,
    jobs: int | None = None,
    scheduler: str | None = None,
    exit_first: bool = False,
    codec: str | Path | None = None,
    quick: bool = False,
    strict: bool = False,
    lora: Files = (),
    unsealed: bool = False,
    reference: Against = "models",
    upstream_python: str | Path | None = None,
    provider: ProviderName = "cpu",
    runtime: RuntimeName = "onnxruntime",
    tf32: bool = False,
    bf16: bool = False,
    runtimes: Names = (),
    progress: Callable[[str, int, int], None] = lambda _name, _done, _total: None,
    settled: Callable[[Path, str], None] = lambda _folder, _standing: None,
) -> Report:
    """Verify artifacts against the checkpoints they were made from.

    A version that passes over the whole default matrix counts as verified from then on, until
    it fails: ``verification.json`` beside its manifest says so.  That is said of ONNX Runtime
    on the CPU: what is found on another runtime leaves it as it is.

    Args:
        artifacts: opened, or the folder of a version, a model or a store.
        checkpoint: folder of the checkpoints; or the configuration names it.
        config: a configuration file, for its matrix and gates.
        components: to verify, with variant; empty for all, whole generations among them.
        seeds: of the cases; the configuration's or the default ones if left out.
        cases: ids of cases to run instead of the matrix's, as reports name them.
        localise: name the module behind every failure, for as long as the configuration says.
        jobs: processes that run cases, each with models of its own; if left out, one, and
            from 32 seeds on one for every core.
        scheduler: address of one of dask.distributed, whose workers run the cases; they see
            the same files at the same paths.
        codec: file of the codec, in place of the folder's own.
        quick: do not look at modules one by one.
        strict: fail where a gate lost headroom since the last verified version.
        lora: LoRA files of the export: FILE, ``coarse=FILE`` or ``c2f=FILE``.
        unsealed: accept files whose hash is wrong, and say so.
        reference: what to compare with: our models, the published packages (``upstream``), or
            what a recorded set in the checkpoint folder holds (``golden``).
        upstream_python: interpreter that has the published packages; this one if left out.
        provider: of ONNX Runtime, that runs the networks wholly or not at all.
        runtime: what runs the networks.
        tf32: let a GPU round the factors of float32 products to 10 bits.
        bf16: let OpenVINO compute the transformers in bf16; they and what they generate are
            held to gates of their own.
        runtimes: run the execution matrix in the place of a verification: a few cases of
            every component on each of these; see `verify.matrix`.
        progress: told component, cases done and cases in all.
        settled: told which version it was, and whether it counts as verified.

    Raises:
        InputError: files, options or checkpoints do not fit each other.
        EnvironmentLacksError: provider or runtime are not installed, or do not run all of a
            network; or the workers of the scheduler have not what this process has.
    """
    started = time.monotonic()
    asked = Runtime(runtime, provider, tf32=tf32, bf16=bf16)
    require_runtime(asked)
    backends = chosen_backends(list(listed(runtimes)))
    if backends:
        _require_matrix_alone(
            {
                "--provider and --runtime": not asked.is_usual,
                "--jobs": jobs is not None,
                "--scheduler": scheduler is not None,
                "--exitfirst": exit_first,
                "--quick": quick,
                "--strict": strict,
                f"--reference {reference}": reference != "models",
            }
        )
    settings = settings_from(config, checkpoint, model="verify", codec=codec, lora=lora)
    source, matrix = settings.checkpoint.path, settings.verify
    if source is None:
        raise InputError("verify compares with checkpoints: give --checkpoint DIR")
    chosen = [Case.parse(text) for text in dict.fromkeys(listed(cases))]
    for option, left in (("components", components), ("seeds", seeds)):
        if chosen and left:
            raise InputError(f"a case names its component and its seed; leave {option} out")
    if seeds is not None:
        matrix = validated(VerifySection, {**dict(matrix), "seeds": list(seeds)}, "seeds")
    if jobs is not None and jobs > 1 and reference != "models":
        raise InputError("--jobs goes with --reference models; the others are one process")
    if scheduler is not None:
        require_optional("distributed")
        if jobs is not None or reference != "models":
            raise InputError("--scheduler goes with --reference models, and without --jobs")
    if jobs is None:
        many = reference == "models" and scheduler is None
        jobs = jobs_for(len(matrix.seeds), matrix.threads) if many else 1
    if not isinstance(artifacts, Artifacts):
        progress("checking hashes", 0, 1)
        artifacts = open_artifacts(artifacts, unsealed=unsealed)
        progress("checking hashes", 1, 1)
    given = Given(
        artifacts.folder,
        settings.checkpoint.path,
        settings.checkpoint.overlays,
        codec=settings.checkpoint.codec,
        config=Path(config) if config is not None else None,
        unsealed=unsealed or bool(artifacts.changed),
        reference=reference,
        upstream_python=upstream_python,
        runtime=asked,
    )
    overlays, own_codec = settings.checkpoint.overlays, settings.checkpoint.codec
    if scheduler is not None:  # workers have working folders of their own
        artifacts = replace(artifacts, folder=artifacts.folder.absolute())
        source = source.absolute()
        overlays = {name: path.absolute() for name, path in overlays.items()}
        own_codec = own_codec.absolute() if own_codec else None
    checkpoints = Checkpoints(source, overlays, codec=own_codec)
    gates = load_gates(settings.gates)
    localise_seconds = settings.localise.seconds if localise else None
    folder = artifacts.folder
    last = last_verified(folder.parent, folder) if artifacts.version else None
    before = last[0].name if last else ""
    if backends:
        plan, names = load_matrix(), ", ".join(backend.name for backend in backends)
        report = verify_on_runtimes(
            artifacts,
            checkpoints,
            backends=backends,
            plan=plan,
            matrix=plan.section(
                seeds=None if seeds is None else list(seeds), threads=matrix.threads
            ),
            gates=gates,
            toolchain=toolchain(),
            given=given,
            only=tuple(listed(components)),
            cases=chosen,
            localise_seconds=localise_seconds,
            progress=progress,
        )
        report = report.model_copy(update={"run": told_run(started, source, before, names)})
        standing = "was run elsewhere; what it counts as stays as it is"
        if report.runtimes is not None and report.runtimes.verify_first:
            standing = (
                "does not count as verified, and this run verifies no file; run:"
                f" {report.runtimes.verify_first}"
            )
        settled(artifacts.folder, standing)
        return report
    with (
        _oracle(
            reference, upstream_python, checkpoints, matrix.threads, tuple(seeds or ())
        ) as oracle,
        _elsewhere(scheduler, jobs, artifacts, checkpoints, progress) as elsewhere,
    ):
        report = verify_artifacts(
            artifacts,
            checkpoints,
            matrix=matrix,
            gates=gates,
            toolchain=toolchain(),
            only=tuple(listed(components)),
            cases=chosen,
            given=given,
            localise_seconds=localise_seconds,
            elsewhere=elsewhere,
            exit_first=exit_first,
            quick=quick,
            oracle=oracle,
            runtime=asked,
            progress=progress,
        )
    run = told_run(started, source, before, str(asked))
    report = report.model_copy(update={"run": run})
    if last is not None and asked.is_usual:
        factor, then = gates.headroom.factor, last[1].gates
        report = with_headroom(report, then, last[0].name, factor=factor, strict=strict)
    less = {
        "only single cases were asked for": bool(chosen),
        "only some components were asked for": bool(listed(components)),
        "-x would have stopped at the first failure": exit_first,
        "a quick run was asked for": quick,
        "the files are unsealed": unsealed or bool(artifacts.changed),
        "it was held to a recorded set": reference == "golden",
    }
    reasons = [what for what, so in less.items() if so]
    partial = reasons + (["it was interrupted"] if report.unfinished else [])
    history = History(
        folder.parent, artifacts.manifest, matrix, gates.headroom, tuple(partial)
    )
    if artifacts.version:
        report, line = history.placed(report, folder)
    if asked.is_usual:
        reasons = reasons or shortfalls(report, artifacts.manifest, matrix, gates)
        told = settle(folder, report, matrix=matrix, reasons=reasons)
    else:
        told = f"was run on {asked}; what it counts as stays as it is"
    if artifacts.version:
        told += f"; {history.keep(line)}"
    settled(folder, told)
    return report


def _require_matrix_alone(others: Mapping[str, bool]) -> None:
    """Refuse options that say nothing to the execution matrix."""
    for option, given in others.items():
        if given:
            raise InputError(
                f"--runtimes runs every file as it is, on each runtime by its own name; leave"
                f" {option} out"
            )


@contextmanager
def _oracle(
    reference: Against,
    python: str | Path | None,
    checkpoints: Checkpoints,
    threads: int,
    seeds: tuple[int, ...],
) -> Iterator[Callable[[ModelSet], Oracle]]:
    """Give what makes the side to compare with from our models of the checkpoint."""
    if python is not None and reference != "upstream":
        raise InputError("--upstream-python goes with --reference upstream")
    if reference == "models":
        yield Reference
    elif reference == "upstream":
        with open_worker(python, checkpoints, threads=threads) as worker:
            yield lambda _models: UpstreamReference(worker)
    elif checkpoints.lora:
        raise InputError("--reference golden: no recorded set has a LoRA file laid over it")
    else:
        recorded = RecordedSet(checkpoints.folder)
        yield partial(RecordedReference, recorded, seeds=seeds)


@contextmanager
def _elsewhere(
    scheduler: str | None,
    jobs: int,
    artifacts: Artifacts,
    checkpoints: Checkpoints,
    progress: Callable[[str, int, int], None],
) -> Iterator[Elsewhere | None]:
    """Give what runs cases in other processes, of this machine or of a cluster, if anything.

    Raises:
        EnvironmentLacksError: the workers of a scheduler have not what this process has.
    """
    if scheduler is None:
        yield partial(in_processes, jobs=jobs) if jobs > 1 else None
        return
    from .cluster.cases import on_cluster  # and with it dask, which nobody else needs
    from .cluster.needs import needs_of
    from .cluster.workers import connected, require_same

    needs = needs_of(artifacts, checkpoints)
    with connected(scheduler) as client:
        progress("checking workers", 0, 1)
        require_same(client, needs)
        progress("checking workers", 1, 1)
        yield on_cluster(client, needs)
