"""``vampnet-onnx vamp``: audio in, variations of it out."""

from __future__ import annotations

import time
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer

from vampnet_onnx.configs.settings import (
    BeatSettings,
    GenerationSettings,
    MaskSettings,
    Mode,
    VampSettings,
    beat_settings,
    generation_settings,
    mask_settings,
    vamp_settings,
)

from .options import Artifacts, Json, Threads
from .output import cost, err, print_cost, print_files, progress_bar, spinner

_MASK = "Mask: what is kept of the input"
_GENERATION = "Generation"
_OUTPUT = "Output"

Whole = int | None
Real = float | None


def _option(text: str, panel: str, **limits: Any) -> Any:
    return typer.Option(help=text, rich_help_panel=panel, **limits)


def _flag(name: str, text: str, panel: str) -> Any:
    return typer.Option(name, help=text, rich_help_panel=panel)


def vamp(
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="Audio: WAV, FLAC or OGG, mono or stereo.")
    ],
    target: Annotated[
        Path, typer.Argument(metavar="OUT", help="Audio to write: .wav, .flac or .ogg.")
    ],
    artifacts: Artifacts,
    seed: Annotated[
        int, _option("Of mask and tokens; the same on every machine.", _GENERATION)
    ] = 0,
    periodic_prompt: Annotated[
        Whole, _option("Keep every so many time steps; 0 keeps none.", _MASK)
    ] = None,
    periodic_prompt_width: Annotated[
        Whole, _option("Time steps kept around each of them.", _MASK)
    ] = None,
    prefix_s: Annotated[Real, _option("Seconds kept at the start.", _MASK)] = None,
    suffix_s: Annotated[Real, _option("Seconds kept at the end.", _MASK)] = None,
    onset_mask_width: Annotated[
        Whole, _option("Time steps kept before and from each onset; needs librosa.", _MASK)
    ] = None,
    beats: Annotated[
        Path | None,
        _option("Keep beats: a file with a time in seconds a line.", _MASK, metavar="FILE"),
    ] = None,
    before_beat_s: Annotated[Real, _option("Seconds kept before each.", _MASK)] = None,
    after_beat_s: Annotated[Real, _option("Seconds kept from each on.", _MASK)] = None,
    rand_mask_intensity: Annotated[
        Real, _option("Probability that a code is masked at all.", _MASK)
    ] = None,
    dropout: Annotated[
        Real, _option("Share of the time steps masked whatever kept them.", _MASK)
    ] = None,
    upper_codebook_mask: Annotated[
        Whole, _option("Codebooks from this one up are all masked.", _MASK)
    ] = None,
    n_conditioning_codebooks: Annotated[
        Whole, _option("Leading codebooks that are all kept.", _MASK)
    ] = None,
    steps: Annotated[Whole, _option("Sampling steps of coarse.", _GENERATION)] = None,
    temperature: Annotated[Real, _option("Of the drawn tokens.", _GENERATION)] = None,
    mask_temperature: Annotated[
        Real, _option("Noise in the choice of what is masked again.", _GENERATION)
    ] = None,
    sample_cutoff: Annotated[
        Real, _option("Share of the steps that draw; the rest take the best.", _GENERATION)
    ] = None,
    top_p: Annotated[
        Real, _option("Draw from this share of probability.", _GENERATION)
    ] = None,
    top_k: Annotated[
        Whole, _option("Draw from so many entries; needs --mode corrected.", _GENERATION)
    ] = None,
    adapter: Annotated[
        str | None, _option("Low-rank update to switch to, by name.", _GENERATION)
    ] = None,
    mode: Annotated[
        Mode, _option("Keep the published quirks, or mend them.", _GENERATION)
    ] = Mode.REFERENCE,
    feedback_steps: Annotated[
        Whole, _option("Times coarse is fed its own result.", _GENERATION)
    ] = None,
    time_stretch_factor: Annotated[
        Whole, _option("How many times longer the result is.", _GENERATION)
    ] = None,
    batch_size: Annotated[
        Whole, _option("Variations to make; files are numbered.", _GENERATION)
    ] = None,
    coarse_only: Annotated[
        bool, _flag("--coarse-only", "Keep the fine codes of the input.", _GENERATION)
    ] = False,
    keep_stereo: Annotated[
        bool, _flag("--keep-stereo", "Vary each channel, under one mask.", _OUTPUT)
    ] = False,
    allow_clipped: Annotated[
        bool, _flag("--allow-clipped", "Go on with audio that is clipped.", _OUTPUT)
    ] = False,
    save_tokens: Annotated[
        Path | None, _option("Write codes and mask, too.", _OUTPUT, metavar="FILE.npz")
    ] = None,
    plot: Annotated[
        Path | None, _option("Draw codes, mask, spectrograms.", _OUTPUT, metavar="DIR")
    ] = None,
    threads: Threads = 0,
    as_json: Json = False,
) -> None:
    """Make variations of audio, from exported components alone.

    Options left out have the values the published package gives them. Nothing falls back: a
    missing component is an error, and coarse codes alone are a request (--coarse-only).

    Examples:
      vampnet-onnx vamp in.wav out.wav --artifacts artifacts

      vampnet-onnx vamp in.wav out.flac --artifacts artifacts --periodic-prompt 13 --seed 4
    """
    given = {name: value for name, value in locals().items() if value is not None}
    from vampnet_onnx.pipeline.jobs import VampJob, vamp_file
    from vampnet_onnx.pipeline.vamp import VampPipeline

    coarse = generation_settings(**_options_of(GenerationSettings, given))
    job = VampJob(
        source=source,
        target=target,
        mask=mask_settings(**_options_of(MaskSettings, given)),
        settings=vamp_settings(coarse, **_options_of(VampSettings, given)),
        seed=seed,
        coarse_only=coarse_only,
        keep_stereo=keep_stereo,
        allow_clipped=allow_clipped,
        beats=beats,
        around_beats=beat_settings(**_options_of(BeatSettings, given)),
        save_tokens=save_tokens,
        plot=plot,
    )
    started = time.monotonic()
    with spinner(err, "checking hashes"):
        pipeline = VampPipeline.open(artifacts, threads=threads)
        pipeline.switch_adapter(adapter)
    with progress_bar(err) as bar:
        written = vamp_file(pipeline, job, progress=bar)
    print_files(written, as_json=as_json, seed=seed, **cost(started))
    if not as_json:
        print_cost(started)


def _options_of(kind: type[Any], given: dict[str, Any]) -> dict[str, Any]:
    """Return the options that are fields of settings: both have the published names."""
    return {field.name: given[field.name] for field in fields(kind) if field.name in given}
