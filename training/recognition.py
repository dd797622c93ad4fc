"""Whether the input can be recognised in a variation of it, through the exported files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor

from vampnet_onnx.configs.config import config_from
from vampnet_onnx.configs.files import temporary_folder
from vampnet_onnx.export.export_set import export_set
from vampnet_onnx.models import Checkpoints
from vampnet_onnx.models.checkpoints.random_checkpoint import write_random_set
from vampnet_onnx.pipeline.files.audio_files import open_audio
from vampnet_onnx.pipeline.steps.noise import Floats, Integers
from vampnet_onnx.pipeline.vamp import VampPipeline

from .quality import mel

_SEEDS = range(3)


@dataclass(frozen=True)
class Recognition:
    """Correlations of a clip's log-mel spectrum, over time and bands.

    Attributes:
        codec: with that of the clip encoded and decoded.
        vamp: with those of its variations under the published options, mean of three seeds.
        codec_changes: as `codec`, each band's mean taken off, so of what changes in time.
        vamp_changes: as `vamp`, likewise.
    """

    codec: float
    vamp: float
    codec_changes: float
    vamp_changes: float


def recognition(checkpoints: Path, clips: list[Path]) -> dict[str, Recognition]:
    """Export checkpoints, vary clips with the files, and compare.

    Args:
        checkpoints: folder of a whole set.
        clips: audio files.

    Returns:
        By name of the clip.

    Raises:
        InputError: checkpoints or a clip are unfit.
    """
    with temporary_folder() as temporary:
        config = config_from(
            {"model": "measured", "checkpoint": {"path": checkpoints}}, source="measured set"
        )
        export_set(
            config,
            Checkpoints(checkpoints),
            temporary,
            progress=lambda _name, _done, _total: None,
        )
        pipeline = VampPipeline.open(temporary)
        return {clip.name: _recognition(pipeline, clip) for clip in clips}


def untrained_recognition(size: str, clips: list[Path]) -> dict[str, Recognition]:
    """Return the same of a random set of a size of ``configs/sizes.toml``."""
    with temporary_folder() as temporary:
        write_random_set(temporary / "random", like=size, seed=0)
        return recognition(temporary / "random", clips)


def mel_correlations(made: Floats, audio: Floats, rate: int) -> tuple[float, float]:
    """Return the correlations of two log-mel spectra, as they are and of their changes.

    Args:
        made: float32 [B, 1, samples].
        audio: of the same shape.
        rate: samples a second.
    """
    spectra = [mel(torch.from_numpy(x), rate) for x in (made, audio)]
    whole = [spectrum - spectrum.mean() for spectrum in spectra]
    changes = [spectrum - spectrum.mean(-1, keepdim=True) for spectrum in spectra]
    return _cosine(*whole), _cosine(*changes)


def _cosine(a: Tensor, b: Tensor) -> float:
    return float((a * b).sum() / (a.norm() * b.norm()))


def _recognition(pipeline: VampPipeline, clip: Path) -> Recognition:
    file = open_audio(clip)
    prepared = pipeline.prepare(file.read(), file.sample_rate)
    audio, rate = prepared.audio, pipeline.codec.sample_rate

    def compared(codes: Integers) -> tuple[float, float]:
        return mel_correlations(pipeline.decode(codes), audio, rate)

    codec, codec_changes = compared(pipeline.encode(prepared))
    made = [compared(pipeline.vary(prepared, seed=s).tokens[:, 0]) for s in _SEEDS]
    vamp, vamp_changes = (fmean(values) for values in zip(*made, strict=True))
    return Recognition(*(round(v, 4) for v in (codec, vamp, codec_changes, vamp_changes)))
