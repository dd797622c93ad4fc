"""What the commands ``vamp``, ``encode`` and ``decode`` do: files in, files out."""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.extras import require_optional
from vampnet_onnx.configs.files import file_errors, is_there, require_place
from vampnet_onnx.configs.settings import (
    BeatSettings,
    MaskSettings,
    Mode,
    VampSettings,
    generation_settings,
    mask_settings,
    other_options,
    vamp_settings,
)

from .files.audio_files import (
    AudioFile,
    open_audio,
    require_usable,
    require_writable,
    write_audio,
)
from .files.plots import plot_codes, plot_spectrograms, plot_steps
from .files.spool import spooled
from .files.standard import STANDARD, input_file, output_file, require_streams
from .files.token_files import Tokens, read_tokens, require_npz, write_tokens
from .steps.crossfade import Crossfade, require_crossfade
from .steps.loudness import measure
from .steps.masks import Beats
from .steps.noise import DrawsOf, Floats, Integers
from .steps.output import (
    AudioFacts,
    Levelled,
    OutputLoudness,
    OutputSettings,
    Read,
    level,
)
from .steps.preparation import Prepared, rates_taken
from .steps.prompts import read_beats
from .steps.settled import WatchedSampler, joined_settled, unwatched
from .steps.streaming import joined
from .steps.variation import Progress
from .vamp import VampPipeline, Variation
from .version.session import Graph

_MOST = 10_000  # files of a run, and times that its output is fed back: nobody hears more


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
        output: what is done to the output.
        crossfade_s: seconds in which chunks of coarse overlap; 0 joins them as they are.
        loop: times the output is fed back: each time it is the input, under the next seed.
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
    output: OutputSettings
    crossfade_s: float
    loop: int
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
        if pieces > _MOST:
            raise InputError(f"batch_size = {pieces} is more files than the {_MOST} allowed")
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
        self.output.require_fit(self.settings)
        require_crossfade(self.crossfade_s, self.settings)
        if self.crossfade_s and self.plot is not None:
            raise InputError(
                f"crossfade_s = {self.crossfade_s} makes two sets of codes where chunks"
                " overlap, and --plot draws one; leave one out"
            )
        if not 0 <= self.loop <= _MOST:
            raise InputError(f"loop = {self.loop} is outside 0 to {_MOST}")
        if self.loop and pieces > 1:
            raise InputError(
                f"loop = {self.loop} feeds one output back, and batch_size = {pieces} makes"
                " several; add --batch-size 1"
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


@dataclass(frozen=True)
class Written:
    """A file that was written.

    Attributes:
        path: ``-`` is standard output.
        audio: what is in it and was done to it, if it is audio.
    """

    path: Path
    audio: AudioFacts | None = None


def vamp_file(
    pipeline: VampPipeline, job: VampJob, *, progress: Progress, say: Callable[[str], None]
) -> list[Written]:
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
        if job.keep_stereo and file.channels == 1:
            say(f"{file.name}: is mono; --keep-stereo changes nothing")
        progress("opening", 0, 1)
        pipeline.begin(
            file.seconds,
            channels=file.channels if job.keep_stereo else 1,
            stretch=job.settings.time_stretch_factor,
            coarse_only=job.coarse_only,
            sample_rate=file.sample_rate,
            follow_beats=job.follow_beats,
            noise=job.noise,
            watched=job.plot is not None,
        )
        progress("opening", 1, 1)
        return _vamp_opened(pipeline, job, file, progress=progress, say=say)


def _vamp_opened(
    pipeline: VampPipeline,
    job: VampJob,
    file: AudioFile,
    *,
    progress: Progress,
    say: Callable[[str], None],
) -> list[Written]:
    read = _channels_of(file, keep_stereo=job.keep_stereo)
    loudness = _loudness(read, file.sample_rate)
    first = prepared = pipeline.prepare_stream(read, file.sample_rate)
    with ExitStack() as spools:
        for again in range(job.loop + 1):
            watched = list[WatchedSampler]()  # one a channel
            made = _varied(
                pipeline,
                job,
                prepared,
                seed=job.seed + again,
                progress=progress,
                say=say,
                watched=watched,
            )
            decoded = [
                spools.enter_context(_spooled(pipeline, made.tokens, item, made.crossfade))
                for item in range(len(made.tokens))
            ]
            if again < job.loop:
                back = _as_clips(decoded[0])
                prepared = pipeline.prepare_stream(back, pipeline.codec.sample_rate)
        written = []
        for target, wet in zip(
            _names_of_pieces(job.target, len(decoded)), decoded, strict=True
        ):
            levelled = level(
                wet,
                pipeline.codec.sample_rate,
                settings=job.output,
                loudness=loudness,
                balance=made.balance,
                dry=first.channels if job.output.mix < 1 else None,
            )
            written.append(_write_audio(pipeline, target, levelled, job.output))
    if job.save_tokens is not None:
        write_tokens(
            job.save_tokens,
            pipeline.components,
            Tokens(made.tokens, made.balance, loudness, job.output, made.crossfade),
            input_codes=made.codes,
            mask=made.mask,
            masked_tokens=made.masked_tokens,
            seed=np.array(made.seed, np.uint64),
        )
        written.append(Written(job.save_tokens))
    if job.plot is not None:
        written += _plot(pipeline, job, prepared, made, watched[0])
    return written


def _varied(
    pipeline: VampPipeline,
    job: VampJob,
    prepared: Prepared,
    *,
    seed: int,
    progress: Progress,
    say: Callable[[str], None],
    watched: list[WatchedSampler],
) -> Variation:
    def beats(seconds: float) -> Beats:
        if job.beats is not None:
            return read_beats(job.beats, seconds, job.around_beats)
        heard = pipeline.track_beats(prepared, job.around_beats)
        say(_heard(heard))
        return heard

    def watch(sampler: Graph) -> Graph:
        watched.append(WatchedSampler(sampler))
        return watched[-1]

    made = pipeline.vary(
        prepared,
        seed=seed,
        mask=job.mask,
        settings=job.settings,
        coarse_only=job.coarse_only,
        noise=job.noise,
        crossfade_s=job.crossfade_s,
        progress=progress,
        beats=beats if job.beats or job.follow_beats else None,
        watch=unwatched if job.plot is None else watch,
    )
    if not made.mask.any():
        say("the mask keeps every code: nothing is made anew but what the codec loses")
    return made


def _heard(beats: Beats) -> str:
    """Say what the tracker heard, so that somebody can tell whether it is the music's."""
    said = f"{len(beats.times)} beats heard"
    if beats.downbeats is not None:
        said += f", {len(beats.downbeats)} of them the first of a bar"
    if len(beats.times) > 1:
        said += f"; {60 / np.median(np.diff(beats.times)):.0f} a minute"
    return said


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
        tokens = codes_of_file(pipeline, path, name, keep_stereo=keep_stereo, say=say)
    with output_file(target, ".npz") as written:
        write_tokens(written, pipeline.components, tokens)
    return tokens.codes.shape


def codes_of_file(
    pipeline: VampPipeline,
    path: Path,
    name: str,
    *,
    keep_stereo: bool = False,
    say: Callable[[str], None],
) -> Tokens:
    """Return the codes of an audio file, which are one piece.

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
    read = _channels_of(file, keep_stereo=keep_stereo)
    prepared = pipeline.prepare_stream(read, file.sample_rate)
    codes, loudness = pipeline.encode(prepared), _loudness(read, file.sample_rate)
    return Tokens(codes[None], prepared.balance, loudness, OutputSettings())


def decode_file(
    pipeline: VampPipeline,
    source: Path,
    target: Path,
    *,
    output_loudness: OutputLoudness | None = None,
    say: Callable[[str], None],
) -> list[Written]:
    """Write the audio of a file of codes; several pieces get numbered names.

    Both may be ``-``; standard output gets WAV.

    Args:
        output_loudness: in place of what the file says of it.
        say: told what the file lacks.
    """
    require_streams(source=source, target=target)
    if target != STANDARD:
        require_writable(target)
    with input_file(source) as (path, name):
        try:
            tokens = read_tokens(path, pipeline.components, output_loudness)
        except InputError as error:
            raise InputError(str(error).replace(str(path), name)) from error
    if target == STANDARD and len(tokens.codes) > 1:
        raise InputError(
            f"{name}: holds {len(tokens.codes)} pieces, and standard output is one file; name"
            " a file to write"
        )
    require_apart([target, *_pieces_there(target, len(tokens.codes))], [source])
    if tokens.output.mix < 1:
        say(
            f"{name}: vamp mixed the input in (mix = {tokens.output.mix:g}), which is not in"
            " the file; this is the variation alone"
        )
    written, output = [], replace(tokens.output, mix=1.0)
    names = _names_of_pieces(target, len(tokens.codes))
    for item, path in enumerate(names):
        with _spooled(pipeline, tokens.codes, item, tokens.crossfade) as decoded:
            levelled = level(
                decoded,
                pipeline.codec.sample_rate,
                settings=output,
                loudness=tokens.loudness,
                balance=tokens.balance,
            )
            written.append(_write_audio(pipeline, path, levelled, output))
    return written


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


def _channels_of(file: AudioFile, *, keep_stereo: bool) -> Callable[[], Iterator[Floats]]:
    """Return what reads a file: its channels as clips of one, or as one clip.

    Pieces are float32 [clips, channels of each, n].
    """

    def read() -> Iterator[Floats]:
        for block in file.blocks():
            yield block[:, None] if keep_stereo else block[None]

    return read


def _spooled(
    pipeline: VampPipeline, codes: Integers, item: int, crossfade: Crossfade | None
) -> AbstractContextManager[Callable[[], Iterator[Floats]]]:
    """Decode one piece of codes, int64 [pieces, channels, C, T], and keep it."""
    fade = None if crossfade is None else crossfade.of(item)
    return spooled(pipeline.decode_channels(codes[item], fade), codes.shape[1])


def _as_clips(read: Read) -> Callable[[], Iterator[Floats]]:
    """Read channels, float32 [channels, n] pieces, as clips of one channel."""
    return lambda: (piece[:, None] for piece in read())


def _loudness(read: Callable[[], Iterator[Floats]], sample_rate: int) -> Floats:
    """Return the loudness of clips as they come, mixed to mono, LUFS, float32 [clips]."""
    return measure((piece.mean(axis=1) for piece in read()), sample_rate).loudness


def _write_audio(
    pipeline: VampPipeline, target: Path, levelled: Levelled, output: OutputSettings
) -> Written:
    rate = pipeline.codec.sample_rate
    with output_file(target, ".wav") as path:
        write_audio(path, levelled.pieces(), rate)
    return Written(target, AudioFacts(rate, output, levelled))


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
    return [folder / name for name in ("codes.png", "steps.png", "spectrograms.png")]


def _plot(
    pipeline: VampPipeline,
    job: VampJob,
    prepared: Prepared,
    made: Variation,
    watched: WatchedSampler,
) -> list[Written]:
    """Draw the first variation; of stereo, the first channel."""
    assert job.plot is not None
    names, codec, title = _names_of_plots(job.plot), pipeline.codec, _title(job, made.seed)
    tokens = made.tokens[0, 0]
    anew = made.masked_tokens[0, 0] == codec.codebook_size
    plot_codes(
        names[0],
        codec=codec,
        codes=made.codes[0],
        mask=made.mask[0],
        anew=anew,
        tokens=tokens,
        title=title,
    )
    frames, vamping = tokens.shape[1], job.settings
    chunks = -(-frames // codec.frames_of(vamping.coarse_chunk_s))
    before = chunks * (vamping.feedback_steps - 1)  # the last feedback step is the result
    parts = {"coarse": watched.made[before : before + chunks]}
    if not job.coarse_only:
        parts["c2f"] = watched.made[before + chunks :]
    plot_steps(
        names[1],
        codec=codec,
        parts={name: joined_settled(part, frames) for name, part in parts.items()},
        frames=frames,
        title=title,
    )
    plot_spectrograms(
        names[2],
        codec=codec,
        before=joined(piece[0] for piece in prepared.channels()),
        after=joined(pipeline.decode_channels(made.tokens[0, :1]))[0],
        anew=anew[:, :: vamping.time_stretch_factor],
        title=title,
    )
    return [Written(name) for name in names]


def _title(job: VampJob, seed: int) -> str:
    """Say which options made a picture: a few always, others where they are not published."""
    coarse, beats = job.settings.coarse, job.follow_beats or job.beats is not None
    options = {
        "seed": seed,
        **({"beats": "heard" if job.follow_beats else job.beats} if beats else {}),
        "periodic_prompt": job.mask.periodic_prompt,
        "upper_codebook_mask": job.mask.upper_codebook_mask,
        "sampling_steps": coarse.steps,
        **other_options(job.mask, mask_settings()),
        **other_options(coarse, generation_settings(mode=coarse.mode)),
        **other_options(job.settings, vamp_settings(coarse)),
    }
    told = ", ".join(f"{name} {value}" for name, value in options.items())
    mode = "" if coarse.mode is Mode.REFERENCE else f", mode {coarse.mode.value}"
    many = job.settings.batch_size
    which = f", variation 1 of {many}" if many > 1 else ""
    return f"{job.source.name}: {told}{mode}{which}"
