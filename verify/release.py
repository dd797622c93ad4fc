"""The main job: export, verify, report, and publish only if every gate holds."""

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from vampnet_onnx.configs.artifacts import open_artifacts
from vampnet_onnx.configs.config import Config, load_gates
from vampnet_onnx.configs.files import publish_folder, staging_folder
from vampnet_onnx.configs.store import publish, write_manifest
from vampnet_onnx.export.export_set import export_set
from vampnet_onnx.models import Checkpoints
from vampnet_onnx.models.checkpoints.random_checkpoint import write_random_set
from vampnet_onnx.reports import Report, Verdict, write_reports

from .gates.report import gate_records
from .verification import verify_artifacts

REJECTED = "rejected"


@dataclass(frozen=True)
class Outcome:
    """What a release came to.

    Attributes:
        folder: of the version, or of the rejected files.
        new: whether the version did not exist before.
    """

    report: Report
    files: dict[str, Path]
    folder: Path
    published: bool
    new: bool


def release_set(
    config: Config,
    *,
    artifacts: Path,
    report: Path,
    progress: Callable[[str, int, int], None],
) -> Outcome:
    """Release one model.

    Raises:
        InputError: the checkpoints, the folders or the configuration are not fit for it.
    """
    gates = load_gates(config.gates)
    home = artifacts / config.model
    with _checkpoint(config) as checkpoint, staging_folder(home) as staged:
        checkpoints = Checkpoints(checkpoint, config.checkpoint.overlays)
        manifest = export_set(
            config,
            checkpoints,
            staged,
            progress=lambda name, done, total: progress(f"export {name}", done, total),
        )
        found = verify_artifacts(
            open_artifacts(staged),
            checkpoints,
            matrix=config.verify,
            gates=gates,
            toolchain=manifest.toolchain,
            progress=lambda name, done, total: progress(f"verify {name}", done, total),
        )
        published = found.verdict is not Verdict.FAIL
        write_manifest(staged, manifest.model_copy(update={"gates": gate_records(found)}))
        if published:
            folder, new = publish(staged, home)
            found = found.model_copy(update={"version": folder.name})
        else:
            folder, new = _keep_rejected(staged, home), True
        return Outcome(found, write_reports(found, report), folder, published, new)


@contextlib.contextmanager
def _checkpoint(config: Config) -> Iterator[Path]:
    """Give the folder of checkpoints, a random set made on the spot if that is asked for."""
    if config.checkpoint.path is not None:
        yield config.checkpoint.path
        return
    with tempfile.TemporaryDirectory(prefix="vampnet-onnx-") as temporary:
        folder = Path(temporary)
        write_random_set(folder, like=str(config.checkpoint.like), seed=config.checkpoint.seed)
        yield folder


def _keep_rejected(staged: Path, home: Path) -> Path:
    """Keep the files of a failed release for inspection, replacing those of the last one."""
    folder = home / REJECTED
    shutil.rmtree(folder, ignore_errors=True)
    publish_folder(staged, folder)
    return folder
