"""What the commands ``vamp``, ``encode`` and ``decode`` do: files in, files out."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.extras import require_optional
from vampnet_onnx.configs.files import file_errors, is_there, require_place
from vampnet_onnx.configs.settings import BeatSettings, MaskSettings, Mode, VampSettings

from .files.audio_files import (
    AudioFile,
    open_audio,
    require_usable,
    require_writable,
    write_audio,
)
from .files.plots import plot_codes, plot_spectrograms
from .files.standard import STANDARD, input_file, output_file, require_streams
from .files.token_files import read_tokens, require_npz, write_tokens
from .steps.masks import Beats
from .steps.noise import DrawsOf, Floats, Integers
from .steps.preparation import Prepared, rates_taken
from .steps.prompts import read_beats
from .steps.streaming import joined
from .steps.variation import Progress
from .vamp import VampPipeline, Variation


@dataclass(frozen=True)
class VampJob:
    """A request to vary a file.

    Attributes:
        source: audio file, ``-`` for standard input.
        target: audio file to write, ``-`` for standard output (WAV); with a batch above 1 a
            number is put behind its stem.
        keep_stereo: vary each channel under one mask, not their mean.
        beats: file of beats to keep.
        follow_beats: keep the beats that the tracker hears.
        save_tokens: ``.npz`` for codes, mask and tokens.
        plot: folder for pictures.
        noise: gives the random numbers of the seed.
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
    follow_beats: bool
    around_beats: BeatSettings
    save_tokens: Path | None
    plot: Path | None
    noise: DrawsOf

    def __post_init__(self) -> None:
        """Refuse what cannot be done whatever the artifacts, before they are opened.

        Raises:
            InputError: an output cannot be written, or an option would have no effect.
            EnvironmentLacksError: librosa or matplotlib is asked for and not installed.
        """
        require_streams(source=self.source, target=self.target)
        pieces = self.settings.batch_size
        if self.target == STANDARD and pieces > 1:
            raise InputError(
                f"batch_size = {pieces} makes several files, and standard output is one; name"
                " a file to write"
            )
        outputs = [self.target, *_pieces_there(self.target, pieces)]
        if self.save_tokens is not None:
            outputs.append(self.save_tokens)
        if self.plot is not None:
            outputs += _names_of_plots(self.plot)
        require_apart(outputs, (self.source, *([self.beats] if self.beats else ())))
        if self.beats is not None and self.follow_beats:
            raise InputError(
                "beats are to be read from a file and heard in the clip; leave out --beats or"
                " --follow-beats"
            )
        coarse = self.settings.coarse
        if coarse.top_k is not None and coarse.mode is Mode.REFERENCE:
            raise InputError(
                f"top_k = {coarse.top_k} has no effect in mode reference, as published;"
                " add --mode corrected"
            )
        if self.target != STANDARD:
            require_writable(self.target)
        if self.save_tokens is not None:
            require_npz(self.save_tokens)
        if self.mask.onset_mask_width > 0:
            require_optional("librosa")
        if self.plot is not None:
            require_optional("matplotlib")
            require_place(self.plot, [path.name for path in _names_of_plots(self.plot)])


def vamp_file(
    pipeline: VampPipeline, job: VampJob, *, progress: Progress, say: Callable[[str], None]
) -> list[Path]:
    """Vary an audio file.

    Args:
        progress: told component, steps done and steps in all.
        say: told what somebody should know of the input.

    Returns:
        The files written: audio first, then tokens and pictures.

    Raises:
        InputError: see `pipeline.vamp.VampPipeline.process_audio`, or a file is unfit.
        NotFiniteError: a model computes NaN or infinity.
    """
    with input_file(job.source) as (path, name):
        file = _usable(
            pipeline,
            open_audio(path, name),
            keep_stereo=job.keep_stereo,
            allow_clipped=job.allow_clipped,
            say=say,
        )
        if file.sample_rate != (rate := pipeline.codec.sample_rate):
            say(
                f"{file.name}: comes at {file.sample_rate} Hz; what is made of it has the"
                f" codec's rate, {rate} Hz"
                + (f", and nothing above {rate // 2} Hz" if file.sample_rate > rate else "")
            )
        progress("opening", 0, 1)
        pipeline.begin(
            coarse_only=job.coarse_only,
            sample_rate=file.sample_rate,
            follow_beats=job.follow_beats,
        )
        progress("opening", 1, 1)
        return _vamp_opened(pipeline, job, file, progress=progress)


def _vamp_opened(
    pipeline: VampPipeline, job: VampJob, file: AudioFile, *, progress: Progress
) -> list[Path]:
    prepared = _prepared(pipeline, file, keep_stereo=job.keep_stereo)

    def beats(seconds: float) -> Beats:
        if job.beats is None:
            return pipeline.track_beats(prepared, job.around_beats)
        return read_beats(job.beats, seconds, job.around_beats)

    made = pipeline.vary(
        prepared,
        seed=job.seed,
        mask=job.mask,
        settings=job.settings,
        coarse_only=job.coarse_only,
        noise=job.noise,
        progress=progress,
        beats=beats if job.beats or job.follow_beats else None,
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
    pipeline: VampPipeline,
    source: Path,
    target: Path,
    *,
    keep_stereo: bool,
    say: Callable[[str], None],
) -> tuple[int, ...]:
    """Write the codes of an audio file; returns their shape.

    Both may be ``-``; `say` is told what somebody should know of the input.
    """
    require_streams(source=source, target=target)
    if target != STANDARD:
        require_npz(target)
    require_apart([target], [source])
    with input_file(source) as (path, name):
        codes, balance = codes_of_file(pipeline, path, name, keep_stereo=keep_stereo, say=say)
    with output_file(target, ".npz") as written:
        write_tokens(written, pipeline.components, codes[None], balance)
    return codes[None].shape


def codes_of_file(
    pipeline: VampPipeline,
    path: Path,
    name: str,
    *,
    keep_stereo: bool = False,
    say: Callable[[str], None],
) -> tuple[Integers, Floats]:
    """Return the codes of an audio file, int64 [channels, C, T], and `Prepared.balance`.

    Args:
        name: of the file, as messages give it.
        say: told what somebody should know of the input.

    Raises:
        InputError: the file is unfit, or the artifacts do not take its rate.
    """
    file = _usable(
        pipeline,
        open_audio(path, name),
        keep_stereo=keep_stereo,
        allow_clipped=True,
        say=say,
    )
    prepared = _prepared(pipeline, file, keep_stereo=keep_stereo)
    return pipeline.encode(prepared), prepared.balance


def decode_file(pipeline: VampPipeline, source: Path, target: Path) -> list[Path]:
    """Write the audio of a file of codes; several pieces get numbered names.

    Both may be ``-``; standard output gets WAV.
    """
    require_streams(source=source, target=target)
    if target != STANDARD:
        require_writable(target)
    with input_file(source) as (path, name):
        try:
            codes, balance = read_tokens(path, pipeline.components)
        except InputError as error:
            raise InputError(str(error).replace(str(path), name)) from error
    if target == STANDARD and len(codes) > 1:
        raise InputError(
            f"{name}: holds {len(codes)} pieces, and standard output is one file; name a file"
            " to write"
        )
    require_apart([target, *_pieces_there(target, len(codes))], [source])
    return _write_pieces(pipeline, target, codes, balance)


def require_apart(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Refuse to write where the input is, by whatever name, before any work.

    Raises:
        InputError: an output is one of the inputs.
    """
    there = [path for path in inputs if is_there(path)]
    for output in outputs:
        if is_there(output) and any(output.samefile(path) for path in there):
            raise InputError(
                f"{output}: is the input itself; choose another name for the output"
            )


def _usable(
    pipeline: VampPipeline,
    file: AudioFile,
    *,
    keep_stereo: bool,
    allow_clipped: bool,
    say: Callable[[str], None],
) -> AudioFile:
    require_usable(
        file,
        pipeline.codec,
        keep_stereo=keep_stereo,
        allow_clipped=allow_clipped,
        rates=rates_taken(pipeline.components),
    )
    if file.note:
        say(f"{file.name}: {file.note}; what is there is read")
    return file


def _prepared(pipeline: VampPipeline, file: AudioFile, *, keep_stereo: bool) -> Prepared:
    def read() -> Iterator[Floats]:
        for block in file.blocks():
            yield block[:, None] if keep_stereo else block[None]

    return pipeline.prepare_stream(read, file.sample_rate)


def _write_pieces(
    pipeline: VampPipeline, target: Path, codes: Integers, balance: Floats
) -> list[Path]:
    """Write codes, int64 [pieces, channels, C, T], as one file a piece."""
    names = _names_of_pieces(target, len(codes))
    for name, piece in zip(names, codes, strict=True):
        audio = pipeline.decode_channels(piece, balance)
        with output_file(name, ".wav") as path:
            write_audio(path, audio, pipeline.codec.sample_rate)
    return names


def _names_of_pieces(target: Path, pieces: int) -> list[Path]:
    """Return the names of so many files: numbered, if there are several."""
    if pieces == 1:
        return [target]
    numbers = range(1, pieces + 1)
    return [target.with_name(f"{target.stem}-{i}{target.suffix}") for i in numbers]


def _pieces_there(target: Path, pieces: int) -> list[Path]:
    """Return those of `_names_of_pieces` that may be there already, however many are asked.

    Other names are the same file where a file system knows no capitals.
    """
    name = re.compile(
        rf"{re.escape(target.stem)}-([1-9][0-9]*){re.escape(target.suffix)}", re.IGNORECASE
    )
    with file_errors(target.parent):
        found = target.parent.iterdir() if target.parent.is_dir() else ()
        numbers = [int(match[1]) for path in found if (match := name.fullmatch(path.name))]
    return [
        target.with_name(f"{target.stem}-{number}{target.suffix}")
        for number in sorted(set(numbers))
        if 1 < pieces >= number
    ]


def _names_of_plots(folder: Path) -> list[Path]:
    return [folder / "codes.png", folder / "spectrograms.png"]


def _plot(
    folder: Path, pipeline: VampPipeline, prepared: Prepared, made: Variation
) -> list[Path]:
    """Draw the first variation; of stereo, the first channel."""
    codes, spectrograms = _names_of_plots(folder)
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
