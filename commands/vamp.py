"""``vampnet-onnx vamp``: audio in, variations of it out."""

import time
from collections.abc import Callable
from dataclasses import fields
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.names import Variant
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

from .options import Artifacts, AudioIn, AudioOut, Json, Provider, Runs, Tf32, Threads
from .output import (
    cost,
    print_cost,
    print_files,
    print_version,
    progress_bar,
    remark,
    spinner,
    told_on,
    version_facts,
)

if TYPE_CHECKING:
    from vampnet_onnx.pipeline.steps.noise import DrawsOf

Whole = int | None
Real = float | None


class Noise(Enum):
    """Where the random numbers of a seed come from."""

    PHILOX = "philox"
    TORCH = "torch"


def _panel(title: str) -> Callable[..., Any]:
    def option(text: str, *names: str, **more: Any) -> Any:
        return typer.Option(*names, help=text, rich_help_panel=title, **more)

    return option


_mask = _panel("Mask: what is kept of the input")
_made = _panel("Generation")
_out = _panel("Output")


def vamp(
    source: AudioIn,
    target: AudioOut,
    artifacts: Artifacts,
    seed: Annotated[int, _made("Of mask and tokens; the app takes 0 for any.")] = 0,
    reseed: Annotated[
        bool,
        _made(
            "Begin the noise again in every coarse chunk and feedback step, as the app does.",
            "--reseed",
        ),
    ] = False,
    noise: Annotated[
        Noise,
        _made("Of the seed: our own, or what torch draws on a CPU, as published."),
    ] = Noise.PHILOX,
    periodic_prompt: Annotated[
        Whole, _mask("Keep every so many time steps; 0 keeps none.")
    ] = None,
    periodic_prompt_width: Annotated[
        Whole, _mask("Time steps kept around each of them.")
    ] = None,
    prefix_s: Annotated[Real, _mask("Seconds kept at the start.")] = None,
    suffix_s: Annotated[Real, _mask("Seconds kept at the end.")] = None,
    onset_mask_width: Annotated[
        Whole, _mask("Time steps kept before and from each onset; needs librosa.")
    ] = None,
    beats: Annotated[
        Path | None,
        _mask(
            "Keep beats: a file with a time in seconds a line (and a number in the bar).",
            metavar="FILE",
        ),
    ] = None,
    before_beat_s: Annotated[Real, _mask("Seconds kept before each.")] = None,
    after_beat_s: Annotated[Real, _mask("Seconds kept from each on.")] = None,
    mask_upbeats: Annotated[bool | None, _mask("Keep beats that are no downbeats.")] = None,
    mask_downbeats: Annotated[bool | None, _mask("Keep the first beat of each bar.")] = None,
    beat_downsample_factor: Annotated[
        Whole, _mask("Keep every so many of the upbeats.")
    ] = None,
    downbeat_downsample_factor: Annotated[
        Whole, _mask("Keep every so many of the downbeats.")
    ] = None,
    beat_dropout: Annotated[
        Real, _mask("Probability that a time step of a beat is not kept.")
    ] = None,
    beat_invert: Annotated[
        bool | None, _mask("Keep the beats, or with --no what lies between them.")
    ] = None,
    rand_mask_intensity: Annotated[
        Real, _mask("Probability that a code is masked at all.")
    ] = None,
    dropout: Annotated[
        Real, _mask("Share of the time steps masked whatever kept them.")
    ] = None,
    upper_codebook_mask: Annotated[
        Whole, _mask("Codebooks from this one up are all masked.")
    ] = None,
    n_conditioning_codebooks: Annotated[
        Whole, _mask("Leading codebooks that are all kept.")
    ] = None,
    steps: Annotated[Whole, _made("Sampling steps of coarse.")] = None,
    temperature: Annotated[Real, _made("Of the drawn tokens.")] = None,
    mask_temperature: Annotated[
        Real, _made("Noise in the choice of what is masked again.")
    ] = None,
    sample_cutoff: Annotated[
        Real, _made("Share of the steps that draw; the rest take the best.")
    ] = None,
    top_p: Annotated[Real, _made("Draw from this share of probability.")] = None,
    top_k: Annotated[
        Whole, _made("Draw from so many entries; needs --mode corrected.")
    ] = None,
    adapter: Annotated[str | None, _made("Low-rank update to switch to, by name.")] = None,
    variant: Annotated[
        Variant,
        _made("Form of the transformers; others than fp32 change the tokens."),
    ] = "fp32",
    mode: Annotated[Mode, _made("Keep the published quirks, or mend them.")] = Mode.REFERENCE,
    feedback_steps: Annotated[Whole, _made("Times coarse is fed its own result.")] = None,
    time_stretch_factor: Annotated[
        Whole, _made("How many times longer the result is.")
    ] = None,
    batch_size: Annotated[Whole, _made("Variations to make; files are numbered.")] = None,
    coarse_only: Annotated[
        bool, _made("Keep the fine codes of the input.", "--coarse-only")
    ] = False,
    keep_stereo: Annotated[
        bool, _out("Vary each channel, under one mask.", "--keep-stereo")
    ] = False,
    allow_clipped: Annotated[
        bool, _out("Go on with audio that is clipped.", "--allow-clipped")
    ] = False,
    save_tokens: Annotated[
        Path | None, _out("Write codes and mask, too.", metavar="FILE.npz")
    ] = None,
    plot: Annotated[
        Path | None, _out("Draw codes, mask, spectrograms.", metavar="DIR")
    ] = None,
    threads: Threads = 0,
    provider: Provider = "cpu",
    runtime: Runs = "onnxruntime",
    tf32: Tf32 = False,
    as_json: Json = False,
) -> None:
    r"""Make variations of audio, from exported components alone.

    Options left out have the values the published package gives them. Nothing falls back: a
    missing component is an error, and coarse codes alone are a request (--coarse-only).

    Examples:
      vampnet-onnx vamp in.wav out.wav --artifacts artifacts

      vampnet-onnx vamp in.wav out.flac --artifacts artifacts \
          --periodic-prompt 13 --seed 4

      vampnet-onnx vamp in.wav out.wav --artifacts artifacts --variant int8
    """
    given = {name: value for name, value in locals().items() if value is not None}
    from vampnet_onnx.configs.verification import version_to_use
    from vampnet_onnx.pipeline.jobs import VampJob, vamp_file
    from vampnet_onnx.pipeline.vamp import VampPipeline

    coarse = generation_settings(**_options_of(GenerationSettings, given))
    of_beats = _options_of(BeatSettings, given)
    if of_beats and beats is None:
        raise InputError(
            f"{', '.join(of_beats)}: of no effect without beats; add --beats FILE"
        )
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
        around_beats=beat_settings(**of_beats),
        save_tokens=save_tokens,
        plot=plot,
        noise=_draws(noise),
    )
    started, results = time.monotonic(), told_on(target, as_json=as_json)
    with spinner("opening"):
        chosen = version_to_use(artifacts)
        pipeline = VampPipeline.open(
            chosen.folder,
            threads=threads,
            variant=variant,
            provider=provider,
            runtime=runtime,
            tf32=tf32,
        )
        pipeline.switch_adapter(adapter)
    with progress_bar() as bar:
        written = vamp_file(pipeline, job, progress=bar, say=remark)
    print_version(chosen, runs := pipeline.where_it_runs())
    facts = {**version_facts(chosen, runs), **cost(started)}
    print_files(written, as_json=as_json, to=results, seed=seed, **facts)
    if not as_json:
        print_cost(started, to=results)


def _draws(noise: Noise) -> "DrawsOf":
    from vampnet_onnx.pipeline.steps.noise import PhiloxDraws

    if noise is Noise.PHILOX:
        return PhiloxDraws
    from vampnet_onnx.configs.extras import FOR_MODELS, require_export_tools

    require_export_tools(only=FOR_MODELS)
    from vampnet_onnx.models.behaviour.torch_draws import TorchDraws

    return TorchDraws


def _options_of(kind: type[Any], given: dict[str, Any]) -> dict[str, Any]:
    """Return the options that are fields of settings: both have the published names."""
    return {field.name: given[field.name] for field in fields(kind) if field.name in given}
