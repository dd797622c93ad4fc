"""Whether artifacts and checkpoints belong together."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.manifest import SourceRecord
from vampnet_onnx.models import ModelSet


def require_same_sources(
    models: ModelSet, listed: Collection[SourceRecord], path: Path
) -> None:
    """Refuse to compare an artifact with checkpoints that it was not made from.

    Args:
        models: opened checkpoints.
        listed: what the artifact was made from.
        path: of the artifact.

    Raises:
        InputError: a checkpoint is not among them.
    """
    for source in models.sources:
        if source not in listed:
            raise InputError(
                f"{models.folder / source.name}: {path} was not made from this file (its"
                " sha256 is not in the manifest); give the checkpoint it was made from"
            )
