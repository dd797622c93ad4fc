"""A bench: what was asked for, part by part, into one set of rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from vampnet_onnx.configs.artifacts import Artifacts, open_artifacts
from vampnet_onnx.configs.errors import EnvironmentLacksError, InputError, nearest
from vampnet_onnx.configs.extras import require_optional
from vampnet_onnx.configs.interrupts import Interrupted, dealt_with
from vampnet_onnx.configs.machine import cores as cores_here
from vampnet_onnx.configs.machine import processor
from vampnet_onnx.configs.names import FLOAT32, FORMS, TRANSFORMERS
from vampnet_onnx.configs.runtime import USUAL, Runtime
from vampnet_onnx.export.components.registry import require_known, required_checkpoint
from vampnet_onnx.models import Checkpoints, ModelSet
from vampnet_onnx.models.checkpoints.random_checkpoint import sizes, write_random_set
from vampnet_onnx.pipeline.version.components import Components, version_with
from vampnet_onnx.pipeline.version.providers import require_runtime
from vampnet_onnx.reports.summary import describe_seconds
from vampnet_onnx.reports.timings import Bench, Contender, Row
from vampnet_onnx.verify.sides.export import require_same_sources

from .components import (
    BUDGET,
    Point,
    Progress,
    Thing,
    frames_of,
    points,
    things,
    timed,
    work_of,
)
from .contestants import AGAINST, SGEMM, Side, interpreter, open_worker
from .rounds import Budget
from .wholes import bench_export, bench_vamp, bench_verify
from .worker import SGEMM_PRODUCTS, SGEMM_SIDE

PARTS = ("components", "vamp", "export", "verify")
ROUNDS = 3
"""Of whole jobs."""

INTERRUPTED = "interrupted"

# To say how long it will take: the share of the machine's rate of matrix products that
# contestants come to, about; a slow core's rate; and what need not be said.
_SHARE, _SLOW, _SOON_S = 0.6, 10e9, 60.0

_VAMP = (
    *("audio_processor", "codec_encoder", "mask_generator"),
    *("coarse", "sampler", "c2f", "codec_decoder"),
)
_OURS, _BESIDE = "onnx", "beside"


@dataclass(frozen=True)
class Asked:
    """What a person asked for.

    Attributes:
        artifacts: opened, or None where `like` makes them.
        like: size of a random set to make and export.
        against: runtimes of PyTorch to compare with; None is torch where there is a
            checkpoint.
        beside: interpreter with another version of the package.
        variants: forms of the transformers that contend, the first of them what others are
            compared with; empty for float32, and for every file by itself.
        only: names of components and steps; empty for all.
        cores: numbers of them; empty for one, two, four and so on to all.
        rounds: that count; None is as many as fit into the time.
        on: what runs the artifacts, on all our sides.
    """

    artifacts: Artifacts | None
    like: str | None = None
    checkpoint: Path | None = None
    codec: Path | None = None
    against: Sequence[str] | None = None
    beside: str | None = None
    variants: Sequence[str] = ()
    parts: Sequence[str] = ("components",)
    only: Sequence[str] = ()
    cores: Sequence[int] = ()
    rounds: int | None = None
    on: Runtime = USUAL

    def __post_init__(self) -> None:
        """Refuse what cannot be measured, before anything is made.

        Raises:
            InputError: naming the option and the way out.
            EnvironmentLacksError: the runtime is not installed here.
        """
        require_runtime(self.on)
        if (self.artifacts is None) == (self.like is None):
            raise InputError(
                "give ARTIFACTS, or --like SIZE for random ones of that size, and not both"
            )
        if self.like is not None and self.checkpoint is not None:
            raise InputError("--like makes its own checkpoint; leave --checkpoint out")
        for name in self.against or ():
            if name not in AGAINST:
                raise InputError(
                    f"--against {name}: known are {', '.join(AGAINST)}"
                    f"{nearest(name, [*AGAINST])}"
                )
        for part in self.parts:
            if part not in PARTS:
                raise InputError(
                    f"--only {part}: known are {', '.join(PARTS)}{nearest(part, [*PARTS])}"
                )
        if not self.on.is_usual and "export" in self.parts:
            rest = " ".join(f"--only {part}" for part in PARTS if part != "export")
            raise InputError(
                f"{' '.join(self.on.words())}: an export runs nothing there to measure; ask"
                f" for the other parts ({rest}), or leave it out"
            )
        if self.ours in (self.against or ()):
            raise InputError(
                f"--against {self.ours}: with {' '.join(self.on.words())} our side runs on it;"
                " leave one of them out"
            )
        if self.on.bf16 and {*self.variants} - {FLOAT32}:
            raise InputError(
                "--bf16 makes a form of the float32 files, and --variants asks for others;"
                " give --against openvino-bf16 in place of --runtime openvino --bf16"
            )
        if self.like is None and self.checkpoint is None:
            against = [name for name in self.against or () if name.startswith("torch")]
            lacking = [*against, *(p for p in self.parts if p in PARTS[2:])]
            if lacking:
                raise InputError(
                    f"{lacking[0]} needs the checkpoint: give --checkpoint DIR, or --like"
                )
        if self.like is not None and self.like not in sizes():
            raise InputError(f"--like {self.like}: known are {', '.join(sizes())}")
        if self.only and "components" not in self.parts:
            raise InputError("--component goes with the part 'components', which was left out")
        for form in self.variants:
            if (count := list(self.variants).count(form)) > 1:
                raise InputError(f"--variants: {form} is there {count} times; name it once")
            if form not in (FLOAT32, *FORMS):
                raise InputError(
                    f"--variants {form}: known are {', '.join((FLOAT32, *FORMS))}"
                    f"{nearest(form, [FLOAT32, *FORMS])}"
                )
        if self.artifacts is not None:
            _require_there(self.artifacts, self)
        for name in self.against or ():
            if name.startswith("openvino"):
                require_optional("openvino", otherwise=f"leave {name} out of --against")
        if "openvino-bf16" in (self.against or ()):
            require_runtime(Runtime("openvino", bf16=True))
        if self.beside is not None:
            interpreter(self.beside)
        if any(count > cores_here() for count in self.cores):
            raise InputError(
                f"--cores {max(self.cores)}: this process has {cores_here()} of them"
            )

    @property
    def ours(self) -> str:
        """What our side is called, by what it runs on."""
        if self.on.name == "onnxruntime":
            return _OURS
        return f"{self.on.name}-bf16" if self.on.bf16 else self.on.name

    @property
    def sides(self) -> list[Side]:
        """Who takes part, the one that others are compared with first."""
        torch = self.like is not None or self.checkpoint is not None
        against = (("torch",) if torch else ()) if self.against is None else self.against
        ours = Side(self.ours, self.ours)
        if self.on.provider != "cpu":
            ours = replace(ours, on={"provider": self.on.provider, "tf32": self.on.tf32})
        found = [
            ours if form == FLOAT32 else replace(ours, name=form, form=form)
            for form in self.variants or [FLOAT32]
        ]
        found += [Side(name, name) for name in against]
        if self.beside is not None:
            python = interpreter(self.beside)
            found.append(replace(found[0], name=_BESIDE, python=python))
        return found

    def exported_by(self, side: Side) -> dict[str, list[str]]:
        """What a side exports beside the usual, as a worker takes it.

        Another version makes the form alone that it runs: it may know of no others.
        """
        forms = [side.form] if side.name == _BESIDE else self.variants
        made = list(dict.fromkeys([FLOAT32, *filter(None, forms)]))
        return {"variants": made} if len(made) > 1 else {}

    @property
    def counts(self) -> list[int]:
        """Numbers of cores to measure on, ascending."""
        most = cores_here()
        doubling = [1 << i for i in range(most.bit_length()) if 1 << i < most]
        return sorted({*self.cores}) or [*doubling, most]


@dataclass
class _Run:
    """A bench under way."""

    asked: Asked
    folder: Path
    progress: Progress
    say: Callable[[str], None]
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    contenders: list[Contender] = field(default_factory=list)
    artifacts: Artifacts | None = None

    def all_parts(self) -> None:
        """Measure part by part; what was measured stays, whatever comes next."""
        asked, sides = self.asked, self.asked.sides
        most = max(asked.counts)
        for side in sides:  # that each can take part shows before any of them is timed
            self.progress(f"{side.name} starts", 0, 1)
            with open_worker(side, self.folder, cores=most) as worker:
                self.contenders.append(worker.described)
        checkpoint, codec = (p and p.absolute() for p in (asked.checkpoint, asked.codec))
        if asked.like is not None:
            checkpoint = self.folder / "checkpoint"
            write_random_set(
                checkpoint,
                like=asked.like,
                seed=0,
                progress=lambda name: self.progress(f"drawing {name}", 0, 1),
            )
        # Whoever exports and verifies: each version of ours once, whatever the form.
        onnx = [sides[0], *(side for side in sides if side.name == _BESIDE)]
        rounds = asked.rounds or ROUNDS
        made: Mapping[str, Path] = {}
        if "export" in asked.parts:
            assert checkpoint is not None
            forms = {side.name: asked.exported_by(side) for side in onnx}
            if len({str(made) for made in forms.values()}) > 1:
                self.notes.append("export: the version beside this one makes fewer forms")
            made = bench_export(
                self.rows,
                onnx,
                checkpoint,
                codec,
                self.folder,
                cores=most,
                rounds=rounds,
                variants=asked.exported_by,
                progress=self.progress,
            )
        if asked.like is None:
            assert asked.artifacts is not None
            there = asked.artifacts.folder.absolute()  # the processes run elsewhere
            made = dict.fromkeys((side.name for side in onnx), there)
        elif not made:
            assert checkpoint is not None
            made = self._exported(onnx, checkpoint)
        self.artifacts = asked.artifacts or open_artifacts(made[onnx[0].name])
        _require_there(self.artifacts, asked)
        torch = {"files": str(checkpoint), "codec": None if codec is None else str(codec)}
        files = {
            side.name: torch
            if side.runtime.startswith("torch")
            else {"files": str(made[side.name if side in onnx else onnx[0].name])}
            for side in sides
        }
        if "components" in asked.parts:
            self._components(self.artifacts, sides, files)
        if "vamp" in asked.parts:
            rate = next(
                r.dim("sample_rate")
                for r in self.artifacts.manifest.components
                if "sample_rate" in r.dims
            )
            bench_vamp(
                self.rows,
                sides,
                {
                    side.name: files[side.name] | ({"variant": side.form} if side.form else {})
                    for side in sides
                },
                self.folder,
                cores=most,
                rounds=rounds,
                rate=rate,
                progress=self.progress,
            )
        if "verify" in asked.parts:
            assert checkpoint is not None
            bench_verify(
                self.rows,
                onnx,
                checkpoint,
                codec,
                made,
                self.folder,
                cores=most,
                rounds=rounds,
                progress=self.progress,
            )

    def _exported(self, sides: Sequence[Side], checkpoint: Path) -> dict[str, Path]:
        made = {}
        for side in sides:
            self.progress(f"{side.name} exports", 0, 1)
            with open_worker(side, self.folder, cores=max(self.asked.counts)) as worker:
                store = self.folder / f"{side.name}-made"
                answer = worker.ask(
                    "export",
                    checkpoint=str(checkpoint),
                    codec=None,
                    out=str(store),
                    **self.asked.exported_by(side),
                )
                made[side.name] = Path(answer["folder"])
        return made

    def _components(
        self,
        artifacts: Artifacts,
        sides: Sequence[Side],
        files: Mapping[str, Mapping[str, str | None]],
    ) -> None:
        asked, manifest = self.asked, artifacts.manifest
        chosen = things(manifest, asked.only, asked.variants)
        budget = BUDGET
        if asked.rounds is not None:
            budget = replace(BUDGET, least=asked.rounds, most=asked.rounds)
        at = points(asked.counts)
        self._tell_time(artifacts, chosen, at, len(sides), budget)
        counted = self._counted(len(chosen) * len(at))
        for cores in asked.counts:
            for row in timed(
                manifest,
                sides,
                files,
                self.folder,
                chosen,
                cores,
                [point for point in at if point.cores == cores],
                budget=budget,
                progress=counted,
            ):
                self.rows.append(row)

    def _counted(self, rows: int) -> Progress:
        """Return a progress that says which of how many rows it is, and how long the rest is.

        The rest is taken to be as slow as what was measured: of the last ones, on more cores,
        it says too much.
        """
        before, started = len(self.rows), time.monotonic()

        def tell(name: str, done: int, total: int) -> None:
            made = len(self.rows) - before
            rest = ""
            if made:
                left = (time.monotonic() - started) / made * (rows - made)
                rest = f", about {describe_seconds(float(round(left)))} left"
            self.progress(f"{made + 1} of {rows}{rest}: {name}", done, total)

        return tell

    def _tell_time(
        self,
        artifacts: Artifacts,
        chosen: Sequence[Thing],
        at: Sequence[Point],
        sides: int,
        budget: Budget,
    ) -> None:
        """Say how long the components will take, where it is more than a minute."""
        manifest = artifacts.manifest
        work = [
            (work_of(thing, frames_of(point.audio_s, manifest), point.batch), point.cores)
            for thing in chosen
            for point in at
        ]

        def seconds(rate: float) -> float:
            rounds = [sides * n / (_SHARE * rate * cores) for n, cores in work]
            return sum(one * (1 + budget.rounds(one)) for one in rounds)

        if seconds(_SLOW) < _SOON_S:
            return
        with open_worker(Side(SGEMM, "torch"), self.folder, cores=1) as machine:
            machine.ask("load", kind=SGEMM, runtime="torch")
            took = machine.ask("time")["seconds"]["total"]
        total = seconds(2 * SGEMM_SIDE**3 * SGEMM_PRODUCTS / took)
        if total > _SOON_S:
            self.say(
                f"the components will take about {total / 60:.0f} minutes; an interrupt keeps"
                " what was measured (--component, --cores and --rounds make it less)"
            )


def bench(
    asked: Asked,
    folder: Path,
    *,
    command: str,
    verified: bool = False,
    progress: Progress,
    say: Callable[[str], None],
) -> Bench:
    """Measure what was asked for.

    Args:
        folder: an empty one, for what is made on the way.
        command: that measures it again.
        verified: of the artifacts.
        progress: told what is at work, what is done of it and how much there is.
        say: told how long it will take.

    Returns:
        What was measured; of an interrupt, or of a contestant that failed, what was measured
        until then, and why it stopped.

    Raises:
        InputError: options or files do not fit each other.
        EnvironmentLacksError: a contestant cannot take part, before anything was measured.
    """
    progress("checking hashes", 0, 1)
    _require_same(asked)
    progress("checking hashes", 1, 1)
    run = _Run(asked, folder, progress, say)
    stopped = ""
    try:
        run.all_parts()
    except Interrupted:
        if not run.rows:
            raise
        dealt_with()
        stopped = INTERRUPTED
    except EnvironmentLacksError as error:
        if not run.rows:
            raise
        stopped = str(error)
    manifest = run.artifacts.manifest if run.artifacts is not None else None
    return Bench(
        model=manifest.model if manifest is not None and asked.like is None else "random",
        files=str(asked.artifacts.folder) if asked.artifacts else f"--like {asked.like}",
        verified=verified,
        random_weights=asked.like is not None
        or (manifest is not None and manifest.random_weights),
        processor=processor(),
        cores=cores_here(),
        command=command,
        contestants=run.contenders,
        rows=run.rows,
        notes=run.notes,
        stopped=stopped,
    )


def _require_there(artifacts: Artifacts, asked: Asked) -> None:
    """Refuse names that are none of the artifacts', and a whole of which a part is missing."""
    for record in artifacts.manifest.components:
        require_known(record, artifacts.folder)
    there = things(artifacts.manifest, (), asked.variants)
    for form in asked.variants:
        if form != FLOAT32 and not any(form in thing.files for thing in there):
            others = (version_with(f"{n}.{form}", artifacts.folder) for n in TRANSFORMERS)
            later = next(filter(None, others), None)
            way_out = f"export with --variants fp32,{form}"
            raise InputError(
                f"--variants {form}: {artifacts.folder} holds no transformer in {form} beside"
                f" float32; {way_out if later is None else f'{later} does: name it'}"
            )
    known = [thing.name for thing in there]
    for name in asked.only:
        if name not in known:
            raise InputError(
                f"--component {name}: there are {', '.join(known)}{nearest(name, known)}"
            )
    for side in asked.sides if "vamp" in asked.parts else ():
        components = Components(artifacts, form=side.form)
        for name in _VAMP:
            components.record(components.identifier(name))


def _require_same(asked: Asked) -> None:
    """Refuse a checkpoint that the artifacts were not made from."""
    if asked.artifacts is None or asked.checkpoint is None:
        return
    checkpoints = Checkpoints(asked.checkpoint, codec=asked.codec)
    for record in asked.artifacts.manifest.components:
        needed = required_checkpoint(record.name)
        paths = [p for n, p in checkpoints.files.items() if n == "codec" or n in needed]
        sources = tuple(checkpoints.source(path) for path in paths)
        models = ModelSet(asked.checkpoint, None, {}, sources, tuple(paths))
        require_same_sources(
            models, asked.artifacts.manifest.sources, asked.artifacts.path(record)
        )
