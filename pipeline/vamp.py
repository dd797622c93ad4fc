"""Audio in, variations of it out, on the artifacts alone.

    audio -> prepare -> encode -> codes -> build_mask -> vamp -> tokens -> decode -> audio

`VampPipeline` is what a program uses; each of its methods is one of these steps and runs one
component, and `process_audio` is all of them.

Memory: files are read, prepared, encoded, decoded and written in windows of a few seconds,
and generation works on the published chunks, so what grows with the length is the codes alone
(8 bytes a code; 6 kB a second in the released codec).  Decoded audio, which is measured before
it is written, waits in a temporary file.  Onset detection, beat tracking and spectrograms hold
the whole audio, 4 bytes a sample, and `process_audio` and `prepare` what they are given.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from vampnet_onnx.configs.artifacts import Artifacts, open_unhashed
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.manifest import ComponentRecord
from vampnet_onnx.configs.names import BFLOAT16, FLOAT32, FORMS, TRANSFORMERS
from vampnet_onnx.configs.runtime import ProviderName, Runtime, RuntimeName
from vampnet_onnx.configs.settings import (
    BeatSettings,
    GenerationSettings,
    MaskSettings,
    VampSettings,
    beat_settings,
    generation_settings,
    mask_settings,
    vamp_settings,
)
from vampnet_onnx.configs.verification import read_verification, version_to_use

from .steps.beats import BEAT_TRACKER, track_beats
from .steps.codec import decode_stream, encode_stream, window_threads
from .steps.crossfade import (
    Crossfade,
    crossfaded,
    laid_out,
    overlaps_of,
    require_crossfade,
)
from .steps.loudness import measure
from .steps.masks import Beats, build_mask
from .steps.noise import (
    Draws,
    DrawsOf,
    Floats,
    Integers,
    NoiseSource,
    PhiloxDraws,
    PhiloxNoise,
)
from .steps.output import OutputLoudness, OutputSettings, level
from .steps.preparation import Prepared, as_clip, prepare, prepare_stream, processor_for
from .steps.prompts import onset_frames
from .steps.settled import unwatched
from .steps.streaming import joined
from .steps.variation import Progress, Vamped, coarse_to_fine, silent, vamp
from .version.components import Codec, Components, Generator, Transformer, generator_id
from .version.session import Graph, Opened

# Beside what generates, which is opened first: the largest first.
_NEEDED = ("codec_encoder", "codec_decoder", "mask_generator")


def _networks(coarse_only: bool) -> tuple[str, ...]:
    return TRANSFORMERS[:1] if coarse_only else TRANSFORMERS


def _instead_of_generators(own_noise: bool, watched: bool) -> str:
    """Say why no generator can run, whatever the artifacts; empty if one can."""
    if not own_noise:
        return "its noise is not that of the seed"
    return "the sampler is watched for pictures of its steps" if watched else ""


@dataclass(frozen=True)
class Variation:
    """What was made of a clip, channel by channel: one channel unless stereo was kept.

    Attributes:
        codes: of the clip, int64 [channels, C, T].
        mask: that was used for every channel, int64 [1, C, T].
        tokens: codes of the variations, int64 [B, channels, C, T * time_stretch_factor].
        masked_tokens: what generation started from, like `tokens`; see `Vamped`.
        balance: factor of each channel's audio, float32 [channels], see `Prepared`.
        crossfade: what the codes are faded into where chunks overlap, if that was asked for.
    """

    codes: Integers
    mask: Integers
    tokens: Integers
    masked_tokens: Integers
    balance: Floats
    seed: int
    codec: Codec
    crossfade: Crossfade | None = None

    def __repr__(self) -> str:
        batch, channels, books, frames = self.tokens.shape
        return (
            f"<Variation: {batch} of {channels} channels, {books} codebooks, {frames} frames"
            f" ({self.codec.seconds_of(frames):.2f} s), {self.mask.mean():.0%} masked,"
            f" seed {self.seed}>"
        )

    def to_rows(self) -> list[dict[str, Any]]:
        """Return a flat row for each variation and channel, as a data frame takes them.

        ``masked`` is the share of the clip's codes that the mask gave up, ``changed`` the
        share of them that the variation has other codes for.
        """
        batch, channels, books, frames = self.tokens.shape
        stretched = self.tokens[..., :: frames // self.codes.shape[-1]]
        changed = (stretched != self.codes).mean(axis=(2, 3))
        return [
            {
                "variation": variation,
                "channel": channel,
                "seed": self.seed,
                "codebooks": books,
                "frames": frames,
                "seconds": self.codec.seconds_of(frames),
                "masked": float(self.mask.mean()),
                "changed": float(changed[variation, channel]),
                "balance": float(self.balance[channel]),
            }
            for variation in range(batch)
            for channel in range(channels)
        ]


class VampPipeline:
    """Runs the components of one artifact version."""

    def __init__(
        self,
        artifacts: Artifacts,
        runtime: Runtime | None = None,
        *,
        variant: str = FLOAT32,
        opened_by: Callable[[ComponentRecord], Opened] | None = None,
    ) -> None:
        """Check that the components fit each other; they are loaded when first needed.

        Args:
            artifacts: of `open_artifacts`, or of `open_unhashed`: a file that was not hashed
                yet is while it is loaded.
            runtime: ONNX Runtime on the CPU if left out.
            variant: form of the transformers, ``fp32``, ``int8``, ``w8``, ``w4`` or ``fp16``.
            opened_by: opens components in the place of the runtime, as verification does.

        Raises:
            InputError: the components are of different sets, or not there in that variant.
            EnvironmentLacksError: the runtime is not installed.
        """
        if variant not in (FLOAT32, *FORMS):
            known = ", ".join((FLOAT32, *FORMS))
            raise InputError(f"variant {variant!r}: there is none; known are {known}")
        if variant != FLOAT32 and runtime is not None and runtime.bf16:
            raise InputError(
                f"--bf16 makes a form of the float32 files, and --variant {variant} asks for"
                " another one; leave one of them out"
            )
        form = "" if variant == FLOAT32 else variant
        if runtime is not None and runtime.bf16:
            artifacts, form = artifacts.run_on(runtime), BFLOAT16
        self.components = Components(artifacts, runtime, form=form, opened_by=opened_by)
        self.codec = self.components.codec

    @classmethod
    def open(
        cls,
        path: Path | str,
        *,
        threads: int = 0,
        variant: str = FLOAT32,
        provider: ProviderName = "cpu",
        runtime: RuntimeName = "onnxruntime",
        tf32: bool = False,
        bf16: bool = False,
    ) -> Self:
        """Open a version's folder, or of a model or a store the newest verified version.

        Where none is verified it is the newest; its `repr` says which it was.  One that is
        named ``hub:USER/REPO[@REVISION]`` is fetched into the user's cache.  The content of a
        component's files is checked when the component is first needed, while it loads, and
        before it runs; `require` loads all that audio to audio needs.

        Args:
            threads: for one operator on the CPU; 0 leaves the choice to the runtime.
            provider: of ONNX Runtime, that runs the networks wholly or not at all.
            runtime: what runs the networks.
            tf32: let a GPU round the factors of float32 products to 10 bits.
            bf16: let OpenVINO compute the transformers in bf16.

        Raises:
            InputError: nothing there, a damaged manifest, a file missing or of a wrong size,
                components of different sets, or none in the variant.
            EnvironmentLacksError: provider or runtime are not installed.
        """
        chosen = Runtime(runtime, provider, threads, tf32, bf16)
        opened = open_unhashed(version_to_use(Path(path)).folder)
        return cls(opened, chosen, variant=variant)

    def __repr__(self) -> str:
        artifacts, codec = self.components.artifacts, self.codec
        verified = "verified" if read_verification(artifacts.folder) else "not verified"
        return (
            f"<VampPipeline of {artifacts.manifest.model} {artifacts.version}"
            f" ({verified}): {codec.sample_rate} Hz, {codec.n_codebooks}"
            f" codebooks of {codec.codebook_size} codes>"
        )

    def switch_adapter(self, name: str | None) -> None:
        """Switch to a low-rank update of the transformers, by its name, or back to none.

        Raises:
            InputError: there is none of this name.
        """
        self.components.switch_adapter(name)

    def require(self, *, coarse_only: bool = False, sample_rate: int | None = None) -> None:
        """Load everything that audio to audio needs, so that a lack shows before the work.

        Args:
            sample_rate: of the audio, Hz; None is the codec's own.

        Raises:
            InputError: a component is missing, changed or of another model.
        """
        (coarse, *fine), sampler = self._generating(_networks(coarse_only), "")
        self._load((coarse, *self._needed(sample_rate), *sampler, *fine))

    def begin(
        self,
        seconds: float,
        *,
        channels: int = 1,
        stretch: int = 1,
        coarse_only: bool = False,
        sample_rate: int | None = None,
        follow_beats: bool = False,
        noise: DrawsOf = PhiloxDraws,
        watched: bool = False,
    ) -> None:
        """Load what audio to audio needs, as `require` does, and ``c2f`` beside the work.

        Args:
            seconds: of the audio, and with its channels what the codec's sessions are for.
            channels: that it is encoded in.
            stretch: how many times longer what is decoded is.
            noise: that `vary` will get.
            watched: what `vary` gets watches the sampler.

        What is wrong with ``c2f`` and does not show here stops the generation.
        """
        tracker = (BEAT_TRACKER,) if follow_beats else ()
        parts, frames = self.components, self.codec.frames_of(seconds)
        threads = {
            name: window_threads(parts, name, length, batch=channels)
            for name, length in (
                ("codec_encoder", frames),
                ("codec_decoder", frames * stretch),
            )
        }
        instead = _instead_of_generators(noise is PhiloxDraws, watched)
        (coarse, *fine), sampler = self._generating(_networks(coarse_only), instead)
        needed = (coarse, *self._needed(sample_rate), *sampler, *tracker)
        self._load(needed, behind=tuple(fine), threads=threads)

    def how_it_generates(
        self,
        *,
        coarse_only: bool = False,
        noise: DrawsOf = PhiloxDraws,
        watched: bool = False,
    ) -> list[str]:
        """Say of every generator among the artifacts whether it runs, and if not, why not.

        Arguments are those of `begin`.
        """
        parts = self.components
        instead = _instead_of_generators(noise is PhiloxDraws, watched)
        return [
            f"{name}: generated by {generator_id(name)}"
            if self._by_generator(name, instead)
            else f"{name}: generated without {generator_id(name)}:"
            f" {parts.instead_of_generator(name) or instead}"
            for name in _networks(coarse_only)
            if parts.has_generator(name)
        ]

    def _by_generator(self, name: str, instead: str) -> bool:
        parts = self.components
        return parts.has_generator(name) and not (instead or parts.instead_of_generator(name))

    def _generating(
        self, names: Sequence[str], instead: str
    ) -> tuple[list[str], tuple[str, ...]]:
        """Return what generates for these networks, and the sampler if that is needed."""
        by_graph = {name: self._by_generator(name, instead) for name in names}
        found = [generator_id(name) if by_graph[name] else name for name in names]
        return found, () if all(by_graph.values()) else ("sampler",)

    def _network(self, name: str, instead: str) -> Transformer | Generator:
        if self._by_generator(name, instead):
            return self.components.generator(name)
        return self.components.transformer(name)

    def _needed(self, sample_rate: int | None) -> tuple[str, ...]:
        return (*_NEEDED, processor_for(self.codec, sample_rate or self.codec.sample_rate))

    def _load(
        self,
        names: tuple[str, ...],
        *,
        behind: tuple[str, ...] = (),
        threads: Mapping[str, int] = {},
    ) -> None:
        """Load components, and then begin to load those that are needed later."""
        parts = self.components
        first, later = [[parts.identifier(n) for n in group] for group in (names, behind)]
        for identifier in later:
            parts.record(identifier)
        parts.load(*first, threads=threads)
        for identifier in first:
            parts.session(identifier, threads=threads.get(identifier))
        parts.load(*later)

    def where_it_runs(self) -> list[str]:
        """Say of every component that is open where it runs; nothing of the usual runtime."""
        return self.components.where_they_run()

    def prepare(self, audio: ArrayLike, sample_rate: int) -> Prepared:
        """Prepare audio for the codec; see `pipeline.steps.preparation.prepare`."""
        return prepare(self.components, audio, sample_rate)

    def prepare_stream(
        self, read: Callable[[], Iterable[Floats]], sample_rate: int
    ) -> Prepared:
        """Prepare audio of any length; see `pipeline.steps.preparation.prepare_stream`."""
        return prepare_stream(self.components, read, sample_rate)

    def encode(self, prepared: Prepared) -> Integers:
        """Encode prepared audio, a window at a time; returns int64 [B, codebooks, frames]."""
        return joined(encode_stream(self.components, prepared.pieces()))

    def build_mask(
        self,
        codes: Integers,
        settings: MaskSettings | None = None,
        *,
        seed: int,
        onsets: Sequence[int] | None = None,
        beats: Beats | None = None,
        draws: Draws | None = None,
    ) -> Integers:
        """Build a mask for codes (int64 [B, codebooks, T]); see `pipeline.steps.masks`.

        Options left out are the published ones.

        Args:
            draws: gives the random numbers, in place of the seed's own.
        """
        return build_mask(
            self.components,
            codes,
            settings or mask_settings(),
            draws=draws or PhiloxDraws(seed),
            onsets=onsets,
            beats=beats,
        )

    def vamp(
        self,
        codes: Integers,
        mask: Integers,
        settings: VampSettings | None = None,
        *,
        noise: NoiseSource,
        coarse_only: bool = False,
        progress: Progress = silent,
        watch: Callable[[Graph], Graph] = unwatched,
    ) -> Vamped:
        """Make variations of codes; see `pipeline.steps.variation.vamp`.

        Args:
            codes: int64 [1 or B, codebooks, T], as the mask.
            settings: the published ones if left out.
            coarse_only: keep the fine codes of the input.  Without it a missing ``c2f`` is an
                error: nothing falls back.
            progress: told component, steps done and steps in all.
            watch: gives what stands for the sampler, such as a `WatchedSampler`.
        """
        parts = self.components
        instead = _instead_of_generators(type(noise) is PhiloxNoise, watch is not unwatched)
        (first, *fine), sampler = self._generating(_networks(coarse_only), instead)
        self._load((first, *sampler), behind=tuple(fine))

        def told(name: str, done: int, total: int) -> None:
            parts.require_sound()  # of c2f, rather than when coarse is done
            progress(name, done, total)

        return vamp(
            codes,
            mask,
            coarse=self._network("coarse", instead),
            c2f=None if coarse_only else self._network("c2f", instead),
            sampler=watch(parts.session("sampler")) if sampler else None,
            codec=self.codec,
            settings=settings or vamp_settings(),
            noise=noise,
            progress=told,
        )

    def coarse_to_fine(
        self,
        codes: Integers,
        mask: Integers | None = None,
        settings: GenerationSettings | None = None,
        *,
        noise: NoiseSource,
        chunk_s: float | None = None,
        progress: Progress = silent,
    ) -> Vamped:
        """Generate fine codes by themselves; see `pipeline.steps.variation.coarse_to_fine`.

        Args:
            codes: int64 [B, codebooks, T]; without a mask, the coarse ones are enough.
            mask: int64 [B, codebooks, T]; None makes all fine codes.
            settings: the published ones of a generation if left out, which are 12 steps;
                within `vamp` it is 2.
            chunk_s: seconds to work on at a time; the published 3 if left out.
        """
        instead = _instead_of_generators(type(noise) is PhiloxNoise, watched=False)
        needed, sampler = self._generating(("c2f",), instead)
        self._load((*needed, *sampler))
        return coarse_to_fine(
            codes,
            mask,
            c2f=self._network("c2f", instead),
            sampler=self.components.session("sampler") if sampler else None,
            codec=self.codec,
            settings=settings or generation_settings(),
            chunk_s=vamp_settings().c2f_chunk_s if chunk_s is None else chunk_s,
            noise=noise,
            progress=progress,
        )

    def track_beats(self, prepared: Prepared, settings: BeatSettings | None = None) -> Beats:
        """Find the beats of prepared audio, whose items are the channels of one clip.

        See `pipeline.steps.beats`; settings left out are the published ones.
        """
        heard = prepared.audio.mean(axis=(0, 1))
        return track_beats(self.components, heard, settings or beat_settings())

    def snap_to_beats(self, audio: ArrayLike, sample_rate: int) -> Floats:
        """Cut audio to what lies between its first beat and its last.

        Args:
            audio: floats in [-1, 1], [channels, samples] or [samples]; see `as_clip`.

        Returns:
            float32 [channels, fewer samples].

        Raises:
            InputError: there is no beat tracker, or it hears fewer than two beats.
        """
        clip = as_clip(audio)
        times = self.track_beats(self.prepare(clip[None], sample_rate)).times
        if len(times) < 2:
            raise InputError(f"the beat tracker hears {len(times)} beats; snapping takes two")
        return clip[:, int(times[0] * sample_rate) : int(times[-1] * sample_rate)]

    def decode(self, codes: Integers) -> Floats:
        """Decode codes, a window at a time, as the published ``Interface.decode`` does.

        Args:
            codes: int64 [B, 1 to all codebooks, T]; the mask token reads as code 0.

        Returns:
            float32 [B, 1, T * hop].
        """
        return joined(decode_stream(self.components, [codes]))

    def decode_channels(
        self, codes: Integers, crossfade: Crossfade | None = None
    ) -> Iterator[Floats]:
        """Decode the channels of a piece of audio, a window at a time.

        Codes are int64 [channels, codebooks, T], and so are those of a crossfade; yields
        float32 [channels, n] pieces, at the level that the codec gives; see
        `pipeline.steps.output`.
        """
        if crossfade is not None:
            sides = (self.decode_channels(given) for given in (codes, crossfade.later))
            yield from crossfaded(
                *sides, overlaps=crossfade.overlaps, hop=self.codec.hop_length
            )
            return
        for audio in decode_stream(self.components, [codes]):
            yield audio[:, 0]

    def vary(
        self,
        prepared: Prepared,
        *,
        seed: int,
        mask: MaskSettings | None = None,
        settings: VampSettings | None = None,
        coarse_only: bool = False,
        beats: Callable[[float], Beats] | None = None,
        noise: DrawsOf = PhiloxDraws,
        crossfade_s: float = 0.0,
        progress: Progress = silent,
        watch: Callable[[Graph], Graph] = unwatched,
    ) -> Variation:
        """Make variations of prepared audio; its items are the channels of one clip.

        All channels get the same mask and, each on its own, the same noise, so that equal
        channels stay equal.

        Args:
            prepared: float32 [channels, 1, samples] with the loudness of each.
            beats: gives the beats of a clip that lasts so many seconds.
            noise: gives the random numbers of a seed; `vampnet_onnx.TorchDraws` gives those
                of the published package on a CPU.
            crossfade_s: seconds in which chunks of coarse overlap; see
                `pipeline.steps.crossfade`.
            watch: see `vamp`; called once a channel.
        """
        mask, draws = mask or mask_settings(), noise(seed)
        onsets = None
        if mask.onset_mask_width > 0:
            onsets = onset_frames(prepared.audio.mean(axis=(0, 1)), self.codec)
        codes = self.encode(prepared)
        built = self.build_mask(
            codes[:1],
            mask,
            seed=seed,
            onsets=onsets,
            beats=beats and beats(self.codec.seconds_of(codes.shape[-1])),
            draws=draws,
        )
        settings, frames = settings or vamp_settings(), codes.shape[-1]
        overlaps = overlaps_of(crossfade_s, settings, self.codec)
        chunks = [slice(0, frames)] if overlaps is None else overlaps.chunks(frames)

        def varied(channel: Integers) -> list[Vamped]:
            noise_of_tokens = draws.of_tokens()
            return [
                self.vamp(
                    channel[None, :, chunk],
                    built[..., chunk],
                    settings,
                    noise=noise_of_tokens,
                    coarse_only=coarse_only,
                    progress=progress,
                    watch=watch,
                )
                for chunk in chunks
            ]

        made = [varied(channel) for channel in codes]
        if overlaps is None:
            tokens = later = np.stack([part.tokens for (part,) in made], axis=1)
            masked = np.stack([part.masked_tokens for (part,) in made], axis=1)
        else:
            laid = [laid_out([part.tokens for part in parts], chunks) for parts in made]
            tokens, later = (np.stack(side, axis=1) for side in zip(*laid, strict=True))
            before = [[part.masked_tokens for part in parts] for parts in made]
            masked = np.stack([laid_out(parts, chunks)[0] for parts in before], axis=1)
        return Variation(
            codes=codes,
            mask=built,
            tokens=tokens,
            masked_tokens=masked,
            balance=prepared.balance,
            seed=seed,
            codec=self.codec,
            crossfade=None if overlaps is None else Crossfade(later, overlaps),
        )

    def process_audio(
        self,
        audio: ArrayLike,
        sample_rate: int,
        *,
        seed: int,
        keep_stereo: bool = False,
        mask: MaskSettings | None = None,
        settings: VampSettings | None = None,
        coarse_only: bool = False,
        noise: DrawsOf = PhiloxDraws,
        follow_beats: BeatSettings | None = None,
        output_loudness: OutputLoudness = "input",
        mix: float = 1.0,
        crossfade_s: float = 0.0,
        progress: Progress = silent,
    ) -> tuple[Floats, Variation]:
        """Make variations of audio, from samples to samples.

        Args:
            audio: floats in [-1, 1], [channels, samples] or [samples]; see `as_clip`.
            sample_rate: its rate in Hz.
            keep_stereo: make variations of each channel, not of their mean as published.
            mask: options of the mask, the published ones if left out.
            noise: see `vary`.
            follow_beats: lay the beats that the tracker hears over it.
            output_loudness: ``input``, each channel as loud as it came, or less where a peak
                would exceed 1; ``codec``, what the codec gives; or LUFS.
            mix: how much of the output is the variation; the rest is the input.
            crossfade_s: see `vary`.
            progress: told component, steps done and steps in all.

        Returns:
            Audio at the codec's rate, float32 [B, channels, samples], and what it was made of.

        Raises:
            InputError: audio, options or artifacts do not fit.
            NotFiniteError: a model computes NaN or infinity.
        """
        output = OutputSettings(output_loudness, mix)
        output.require_fit(settings or vamp_settings())
        require_crossfade(crossfade_s, settings or vamp_settings())
        clip = as_clip(audio)
        self.begin(
            clip.shape[-1] / sample_rate,
            channels=len(clip) if keep_stereo else 1,
            stretch=(settings or vamp_settings()).time_stretch_factor,
            coarse_only=coarse_only,
            sample_rate=sample_rate,
            follow_beats=follow_beats is not None,
            noise=noise,
        )
        given = clip[:, None] if keep_stereo else clip[None]
        prepared = self.prepare(given, sample_rate)
        loudness = measure([given.mean(axis=1)], sample_rate).loudness

        def beats(_seconds: float) -> Beats:
            return self.track_beats(prepared, follow_beats)

        made = self.vary(
            prepared,
            seed=seed,
            mask=mask,
            settings=settings,
            coarse_only=coarse_only,
            noise=noise,
            beats=None if follow_beats is None else beats,
            crossfade_s=crossfade_s,
            progress=progress,
        )

        def heard(item: int) -> Floats:
            fade = None if made.crossfade is None else made.crossfade.of(item)
            decoded = joined(self.decode_channels(made.tokens[item], fade))
            levelled = level(
                lambda: [decoded],
                self.codec.sample_rate,
                settings=output,
                loudness=loudness,
                balance=made.balance,
                dry=prepared.channels if mix < 1 else None,
            )
            return joined(levelled.pieces())

        return np.stack([heard(item) for item in range(len(made.tokens))]), made
