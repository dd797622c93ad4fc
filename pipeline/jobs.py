"""What the commands ``vamp``, ``encode`` and ``decode`` do: files in, files out."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.extras import require_optional
from vampnet_onnx.configs.settings import BeatSettings, MaskSettings, Mode, VampSettings

from .files.audio_files import (
    AudioFile,
    open_audio,
    require_usable,
    require_writable,
    write_audio,
)
from .files.plots import plot_codes, plot_spectrograms
from .files.token_files import read_tokens, require_npz, write_tokens
from .steps.noise import Floats, Integers
from .steps.preparation import Prepared
from .steps.prompts import read_beats
from .steps.streaming import joined
from .steps.variation import Progress
from .vamp import VampPipeline, Variation


@dataclass(frozen=True)
class VampJob:
    """A request to vary a file.

    Attributes:
        target: audio file to write; with a batch above 1 a number is put behind its stem.
        keep_stereo: vary each channel under one mask, not their mean.
        beats: file of beats to keep.
        save_tokens: ``.npz`` for codes, mask and tokens.
        plot: folder for pictures.
    """

    source: Path
    target: Path
    mask: MaskSettings
    settings: VampSettings
    seed: int
    coarse_only: bool
    keep_stereo: bool
    allow_clipped: bool
    beats: Path | None
    around_beats: BeatSettings
    save_tokens: Path | None
    plot: Path | None

    def __post_init__(self) -> None:
        """Refuse what cannot be done whatever the artifacts, before they are opened.

        Raises:
            InputError: an output cannot be written, or an option would have no effect.
            EnvironmentLacksError: librosa or matplotlib is asked for and not installed.
        """
        if self.target.exists() and self.source.exists() and self.target.samefile(self.source):
            raise InputError(
                f"{self.target}: is the input itself; choose another name for the output"
            )
        coarse = self.settings.coarse
        if coarse.top_k is not None and coarse.mode is Mode.REFERENCE:
            raise InputError(
                f"top_k = {coarse.top_k} has no effect in mode reference, as published;"
                " add --mode corrected"
            )
        require_writable(self.target)
        if self.save_tokens is not None:
            require_npz(self.save_tokens)
        if self.mask.onset_mask_width > 0:
            require_optional("librosa")
        if self.plot is not None:
            require_optional("matplotlib")


def vamp_file(pipeline: VampPipeline, job: VampJob, *, progress: Progress) -> list[Path]:
    """Vary an audio file.

    Args:
        progress: told component, steps done and steps in all.

    Returns:
        The files written: audio first, then tokens and pictures.

    Raises:
        InputError: see `pipeline.vamp.VampPipeline.process_audio`, or a file is unfit.
        NotFiniteError: a model computes NaN or infinity.
    """
    file = open_audio(job.source)
    require_usable(file, pipeline.codec, allow_clipped=job.allow_clipped)
    pipeline.require(coarse_only=job.coarse_only, sample_rate=file.sample_rate)
    prepared = _prepared(pipeline, file, keep_stereo=job.keep_stereo)
    made = pipeline.vary(
        prepared,
        seed=job.seed,
        mask=job.mask,
        settings=job.settings,
        coarse_only=job.coarse_only,
        around_beats=job.around_beats,
        progress=progress,
        beats=lambda n: read_beats(job.beats, pipeline.codec, n) if job.beats else (),
    )
    written = _write_pieces(pipeline, job.target, made.tokens, made.balance)
    if job.save_tokens is not None:
        write_tokens(
            job.save_tokens,
            pipeline.components,
            made.tokens,
            made.balance,
            input_codes=made.codes,
            mask=made.mask,
            masked_tokens=made.masked_tokens,
            seed=np.array(job.seed, np.uint64),
        )
        written.append(job.save_tokens)
    if job.plot is not None:
        written += _plot(job.plot, pipeline, prepared, made)
    return written


def encode_file(
    pipeline: VampPipeline, source: Path, target: Path, *, keep_stereo: bool
) -> tuple[int, ...]:
    """Write the codes of an audio file; returns their shape."""
    require_npz(target)
    file = open_audio(source)
    require_usable(file, pipeline.codec, allow_clipped=True)
    prepared = _prepared(pipeline, file, keep_stereo=keep_stereo)
    codes = pipeline.encode(prepared)[None]
    write_tokens(target, pipeline.components, codes, prepared.balance)
    return codes.shape


def decode_file(pipeline: VampPipeline, source: Path, target: Path) -> list[Path]:
    """Write the audio of a file of codes; several pieces get numbered names."""
    require_writable(target)
    return _write_pieces(pipeline, target, *read_tokens(source, pipeline.components))


def _prepared(pipeline: VampPipeline, file: AudioFile, *, keep_stereo: bool) -> Prepared:
    def read() -> Iterator[Floats]:
        for block in file.blocks():
            yield block[:, None] if keep_stereo else block[None]

    return pipeline.prepare_stream(read, file.sample_rate)


def _write_pieces(
    pipeline: VampPipeline, target: Path, codes: Integers, balance: Floats
) -> list[Path]:
    """Write codes, int64 [pieces, channels, C, T], as one file a piece."""
    written = []
    for number, piece in enumerate(codes, 1):
        path = target
        if len(codes) > 1:
            path = target.with_name(f"{target.stem}-{number}{target.suffix}")
        audio = pipeline.decode_channels(piece, balance)
        write_audio(path, audio, pipeline.codec.sample_rate)
        written.append(path)
    return written


def _plot(
    folder: Path, pipeline: VampPipeline, prepared: Prepared, made: Variation
) -> list[Path]:
    """Draw the first variation; of stereo, the first channel."""
    codes, spectrograms = folder / "codes.png", folder / "spectrograms.png"
    plot_codes(
        codes,
        codec=pipeline.codec,
        codes=made.codes[0],
        mask=made.mask[0],
        start=made.masked_tokens[0, 0],
        tokens=made.tokens[0, 0],
    )
    after = joined(pipeline.decode_channels(made.tokens[0, :1], made.balance[:1]))
    plot_spectrograms(
        spectrograms,
        sample_rate=pipeline.codec.sample_rate,
        before=joined(piece[0, 0] for piece in prepared.pieces()),
        after=after[0],
    )
    return [codes, spectrograms]
