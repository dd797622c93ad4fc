"""When and where a run was, for its report."""

import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

from vampnet_onnx.configs.machine import cores, processor
from vampnet_onnx.reports import Run


def told_run(
    started: float, checkpoint: Path | None, previous: str = "", runtime: str = ""
) -> Run:
    """Return what a report says of a run that ends now.

    Args:
        started: its monotonic time.
        checkpoint: folder of the checkpoints, or None where they were made on the spot.
        previous: verified version before this one.
        runtime: that ran the export.
    """
    return Run(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - started, 1),
        processor=processor(),
        cores=cores(),
        commit=commit_around(checkpoint or Path.cwd()),
        previous=previous,
        runtime=runtime,
    )


def commit_around(folder: Path) -> str:
    """Return the commit checked out in the Git repository around a folder.

    What is not committed is not asked for: that would run what a repository's own
    configuration says, and a checkpoint may come from anywhere.

    Returns:
        Its hash; empty where there is no repository, no commit, or no Git.
    """
    line = ["git", "-C", str(folder), "rev-parse", "--verify", "--quiet", "HEAD"]
    try:
        done = subprocess.run(line, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
