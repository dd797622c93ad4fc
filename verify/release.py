"""The main job: export, verify, report, and publish only if every gate holds."""

import contextlib
import itertools
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from vampnet_onnx.configs.artifacts import open_artifacts
from vampnet_onnx.configs.cache import cache_folder
from vampnet_onnx.configs.config import Config, load_gates
from vampnet_onnx.configs.files import (
    TakenError,
    publish_folder,
    staging_folder,
    temporary_folder,
)
from vampnet_onnx.configs.interrupts import Interrupted
from vampnet_onnx.configs.invocation import Given, shell_line
from vampnet_onnx.configs.runtime import USUAL
from vampnet_onnx.configs.store import model_folder_in, place_for
from vampnet_onnx.configs.verification import last_verified
from vampnet_onnx.export.export_set import export_set
from vampnet_onnx.export.fingerprint import Made
from vampnet_onnx.export.graph_cache import GraphCache
from vampnet_onnx.export.graphs import Graphs
from vampnet_onnx.export.trace import GraphRequest
from vampnet_onnx.models import Checkpoints
from vampnet_onnx.models.checkpoints.random_checkpoint import write_random_set
from vampnet_onnx.reports import (
    Report,
    Verdict,
    require_report_place,
    write_reports,
    written_reports,
)

from .gates.headroom import with_headroom
from .standing import settle, shortfalls
from .told_history import History
from .told_run import told_run
from .verification import graphs_afresh, verify_artifacts

REJECTED = "rejected"


@dataclass(frozen=True)
class Outcome:
    """What a release came to.

    Attributes:
        folder: of the version, or of the rejected files.
        new: whether the version did not exist before.
        standing: whether it counts as verified, and why not.
    """

    report: Report
    files: dict[str, Path]
    folder: Path
    published: bool
    new: bool
    standing: str


def release_set(
    config: Config,
    *,
    artifacts: Path,
    report: Path,
    progress: Callable[[str, int, int], None],
    judged: Callable[[Report], None] = lambda _report: None,
    source: Path | None = None,
    cache: bool = True,
    jobs: int | None = None,
    note: Callable[[str], None] = lambda _text: None,
) -> Outcome:
    """Release one model.

    The version and its report are one step: both are there at the end, or neither.

    Args:
        judged: told the report as soon as the verdict stands, whatever fails afterwards.
        source: file of the configuration, for the commands that a report names.
        cache: use graphs that earlier exports kept, and keep those of this one.  The audit
            makes them afresh all the same.
        jobs: processes that make graphs at once; as many as cores and memory allow if None.
        note: told what is wrong with a kept graph, which is made again then.

    Raises:
        InputError: the checkpoints, the folders or the configuration are not fit for it.
    """
    started = time.monotonic()
    require_report_place(report)
    gates = load_gates(config.gates)
    home = model_folder_in(artifacts, config.model)
    with (
        _checkpoint(config) as checkpoint,
        staging_folder(home) as staged,
        contextlib.ExitStack() as stack,
    ):
        checkpoints = Checkpoints(
            checkpoint, config.checkpoint.overlays, codec=config.checkpoint.codec
        )
        made = dict[str, Made]()
        afresh = list[Graphs]()

        def begin(kept: Collection[GraphRequest]) -> None:
            """Make those of the audit while files are written."""
            afresh.append(stack.enter_context(graphs_afresh(kept, jobs)))

        manifest = export_set(
            config,
            checkpoints,
            staged,
            made=made.__setitem__,
            kept=begin,
            cache=GraphCache(cache_folder(), note) if cache else None,
            jobs=jobs,
            progress=lambda name, done, total: progress(f"export {name}", done, total),
        )
        found = verify_artifacts(
            open_artifacts(staged),
            checkpoints,
            matrix=config.verify,
            localise_seconds=config.localise.seconds,
            gates=gates,
            toolchain=manifest.toolchain,
            made=made,
            graphs=afresh[0],
            given=_given(config, home, source),
            progress=lambda name, done, total: progress(f"verify {name}", done, total),
        )
        found = found.model_copy(update={"notes": [*found.notes, *_remade(config, found)]})
        last = last_verified(home)
        before = last[0].name if last else ""
        run = told_run(started, config.checkpoint.path, before, str(USUAL))
        found = found.model_copy(update={"run": run})
        if last is not None:
            factor, then = gates.headroom.factor, last[1].gates
            found = with_headroom(found, then, last[0].name, factor=factor)
        judged(found)
        if found.unfinished:
            raise Interrupted
        reasons = shortfalls(found, manifest, config.verify, gates)
        finish = _reject if found.verdict is Verdict.FAIL else _publish
        keep = partial(settle, matrix=config.verify, reasons=reasons)
        history = History(home, manifest, config.verify, gates.headroom)
        return finish(found, staged, report, keep, history)


def _given(config: Config, home: Path, source: Path | None) -> Given:
    """Return what commands are made of: where a set is that fails, and its checkpoint."""
    checkpoint = config.checkpoint.path or _remake_at(config)
    return Given(
        home / REJECTED,
        checkpoint,
        config.checkpoint.overlays,
        codec=config.checkpoint.codec,
        config=source,
    )


def _remade(config: Config, found: Report) -> list[str]:
    """Say how to make a checkpoint again that was made on the spot and is gone."""
    if config.checkpoint.path is not None or found.verdict is not Verdict.FAIL:
        return []
    size, seed = str(config.checkpoint.like), str(config.checkpoint.seed)
    line = shell_line("make-checkpoint", _remake_at(config), "--like", size, "--seed", seed)
    return [f"the checkpoint was made on the spot; make it again first: {line}"]


def _remake_at(config: Config) -> Path:
    return Path("checkpoints", f"{config.checkpoint.like}-{config.checkpoint.seed}")


# What becomes of a version of which a report was made: written beside it, and told.
_Settle = Callable[[Path, Report], str]


def _publish(
    found: Report, staged: Path, report: Path, keep: _Settle, history: History
) -> Outcome:
    while True:
        folder, new = place_for(staged, history.home)
        named = found.model_copy(update={"version": folder.name})
        named, line = history.placed(named, staged if new else folder)
        if not new:
            files = write_reports(named, report)
            standing = f"{keep(folder, named)}; {history.keep(line)}"
            return Outcome(named, files, folder, True, False, standing)
        standing = keep(staged, named)  # so it is there from the first moment on
        with contextlib.suppress(TakenError), contextlib.ExitStack() as undo:
            undo.callback(_take_back, staged, folder)
            with written_reports(named, report) as files:
                publish_folder(staged, folder)
            undo.pop_all()
            standing = f"{standing}; {history.keep(line)}"
            return Outcome(named, files, folder, True, True, standing)


def _take_back(staged: Path, folder: Path) -> None:
    """Undo a publication, if there was one, whose report could not be written."""
    if not staged.exists():
        folder.rename(staged)


def _reject(
    found: Report, staged: Path, report: Path, keep: _Settle, history: History
) -> Outcome:
    """Keep the files of a failed release for inspection, replacing those of the last one."""
    home = history.home
    same, new = place_for(staged, home)
    found, line = history.placed(found, staged)
    standing = "was not published" if new else f"was not published; {same} {keep(same, found)}"
    folder = home / REJECTED
    with written_reports(found, report) as files, staging_folder(home) as aside:
        for earlier in itertools.count():
            try:
                publish_folder(staged, folder)
                break
            except TakenError:
                if not folder.is_dir():
                    raise
                with contextlib.suppress(FileNotFoundError):  # another run was faster
                    folder.rename(aside / str(earlier))
    standing = f"{standing}; {history.keep(line)}"
    return Outcome(found, files, folder, False, True, standing)


@contextlib.contextmanager
def _checkpoint(config: Config) -> Iterator[Path]:
    """Give the folder of checkpoints, a random set made on the spot if that is asked for."""
    if config.checkpoint.path is not None:
        yield config.checkpoint.path
        return
    with temporary_folder() as folder:
        write_random_set(folder, like=str(config.checkpoint.like), seed=config.checkpoint.seed)
        yield folder
