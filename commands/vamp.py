"""``vampnet-onnx vamp``: audio in, variations of it out."""

import time
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.names import Variant
from vampnet_onnx.configs.presets import preset_names, preset_options
from vampnet_onnx.configs.settings import (
    BeatSettings,
    GenerationSettings,
    MaskSettings,
    Mode,
    VampSettings,
    beat_settings,
    generation_settings,
    mask_settings,
    published_options,
    vamp_settings,
)

from .options import Artifacts, AudioIn, AudioOut, Bf16, Json, Provider, Runs, Tf32, Threads
from .output import (
    cost,
    here,
    print_cost,
    print_version,
    print_written,
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


_OLD = typer.Option(hidden=True)
_OLD_NAMES = {"steps": "sampling_steps", "n_conditioning_codebooks": "ncc"}
_ON_AS_PUBLISHED = ("mask_upbeats", "mask_downbeats", "beat_invert")
_TYPICAL = ("typical_filtering", "typical_mass", "typical_min_tokens")
_mask = _panel("Mask: what is kept of the input")
_made = _panel("Generation")
_drawn = _panel("Sampling: how codes are drawn, in what chunks")
_out = _panel("Output")


def vamp(
    source: AudioIn,
    target: AudioOut,
    artifacts: Artifacts,
    seed: Annotated[int, _made("Of mask and tokens; the app takes 0 for any.")] = 0,
    reseed: Annotated[
        bool | None,
        _made(
            "Begin the noise again in every coarse chunk and feedback step, as the app does.",
            "--reseed",
        ),
    ] = None,
    noise: Annotated[
        Noise,
        _made("Of the seed: our own, or what torch draws on a CPU, as published."),
    ] = Noise.PHILOX,
    preset: Annotated[
        str | None,
        _made(
            "All that this preset of the app sets, 36 steps and two variations with it; other"
            f" options count before it. One of: {', '.join(preset_names())}.",
            metavar="NAME",
        ),
    ] = None,
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
    follow_beats: Annotated[
        bool, _mask("Keep the beats that the beat tracker hears.", "--follow-beats")
    ] = False,
    before_beat_s: Annotated[Real, _mask("Seconds kept before each.")] = None,
    after_beat_s: Annotated[Real, _mask("Seconds kept from each on.")] = None,
    no_mask_upbeats: Annotated[
        bool | None, _mask("Beats that are no downbeats take no part.", "--no-mask-upbeats")
    ] = None,
    no_mask_downbeats: Annotated[
        bool | None, _mask("The first beat of a bar takes no part.", "--no-mask-downbeats")
    ] = None,
    beat_downsample_factor: Annotated[
        Whole, _mask("Keep every so many of the upbeats.")
    ] = None,
    downbeat_downsample_factor: Annotated[
        Whole, _mask("Keep every so many of the downbeats.")
    ] = None,
    beat_dropout: Annotated[
        Real, _mask("Probability that a time step of a beat is not kept.")
    ] = None,
    no_beat_invert: Annotated[
        bool | None, _mask("Keep what lies between the beats.", "--no-beat-invert")
    ] = None,
    rand_mask_intensity: Annotated[
        Real, _mask("Probability that a code is masked at all.")
    ] = None,
    dropout: Annotated[
        Real, _mask("Share of the time steps masked whatever kept them (app: mask dropout).")
    ] = None,
    upper_codebook_mask: Annotated[
        Whole, _mask("Codebooks from this one up are all masked (app: compression prompt).")
    ] = None,
    ncc: Annotated[
        Whole,
        _mask(
            "Leading codebooks that are kept, but for those that --upper-codebook-mask masks."
        ),
    ] = None,
    n_conditioning_codebooks: Annotated[Whole, _OLD] = None,
    sampling_steps: Annotated[Whole, _made("Of coarse; the app asks for 36.")] = None,
    steps: Annotated[Whole, _OLD] = None,
    temperature: Annotated[
        Real, _drawn("Of the drawn tokens (app: sample temperature).")
    ] = None,
    mask_temperature: Annotated[
        Real, _drawn("Noise in the choice of what is masked again.")
    ] = None,
    sample_cutoff: Annotated[
        Real, _drawn("Share of the steps that draw; the rest take the best.")
    ] = None,
    typical_filtering: Annotated[
        bool | None,
        _drawn("Of typical entries only; needs --mode corrected.", "--typical-filtering"),
    ] = None,
    no_typical_filtering: Annotated[
        bool | None,
        _drawn(
            "Of all entries, as it always is without --mode corrected.",
            "--no-typical-filtering",
        ),
    ] = None,
    typical_mass: Annotated[
        Real, _drawn("Their share of probability; needs --mode corrected.")
    ] = None,
    typical_min_tokens: Annotated[
        Whole, _drawn("How many there are at least; needs --mode corrected.")
    ] = None,
    top_p: Annotated[
        Real, _drawn("Draw from this share of probability; the app takes 0 for all.")
    ] = None,
    top_k: Annotated[
        Whole, _drawn("Draw from so many entries; needs --mode corrected.")
    ] = None,
    cfg_guidance: Annotated[
        Real, _drawn("Of guidance; as published it changes nothing but the noise.")
    ] = None,
    coarse_chunk_size_s: Annotated[
        Real, _drawn("Seconds that coarse works on at a time.")
    ] = None,
    coarse2fine_chunk_size_s: Annotated[
        Real, _drawn("Seconds that coarse-to-fine works on at a time.")
    ] = None,
    adapter: Annotated[str | None, _made("Low-rank update to switch to, by name.")] = None,
    variant: Annotated[
        Variant,
        _made("Form of the transformers; others than fp32 change the tokens."),
    ] = "fp32",
    mode: Annotated[Mode, _made("Keep the published quirks, or mend them.")] = Mode.REFERENCE,
    feedback_steps: Annotated[
        Whole,
        _made("Times coarse is fed its own result (no difference with --reseed)."),
    ] = None,
    time_stretch_factor: Annotated[
        Whole, _made("How many times longer the result is (app: stretch factor).")
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
    output_loudness: Annotated[
        str,
        _out(
            "input: each channel as loud as it came, as the app does; codec: what the codec"
            " gives; or LUFS. Never beyond a peak of 1.",
            metavar="WHICH",
        ),
    ] = "input",
    mix: Annotated[
        float, _out("Share of the variation, wet; the rest is the input, dry.")
    ] = 1.0,
    crossfade_s: Annotated[
        float,
        _out("Seconds in which coarse's chunks overlap and fade; 0 joins them, as published."),
    ] = 0.0,
    loop: Annotated[
        int,
        _out("Times the output is fed back, each time under the next seed."),
    ] = 0,
    save_tokens: Annotated[
        Path | None, _out("Write codes and mask, too.", metavar="FILE.npz")
    ] = None,
    plot: Annotated[
        Path | None, _out("Draw codes, mask, steps, spectrograms.", metavar="DIR")
    ] = None,
    threads: Threads = 0,
    provider: Provider = "cpu",
    runtime: Runs = "onnxruntime",
    tf32: Tf32 = False,
    bf16: Bf16 = False,
    as_json: Json = False,
) -> None:
    r"""Make variations of audio, from exported components alone.

    Options have the names of the published interface and, left out, its values; what its app
    calls otherwise is said. Nothing falls back: a missing component is an error, and coarse
    codes alone are a request (--coarse-only).

    Examples:
      vampnet-onnx vamp in.wav out.wav --artifacts artifacts

      vampnet-onnx vamp in.wav out.flac --artifacts artifacts \
          --periodic-prompt 13 --seed 4

      vampnet-onnx vamp in.wav out.wav --artifacts artifacts \
          --preset "medium variation" --noise torch --seed 7

      vampnet-onnx vamp in.wav out.wav --artifacts artifacts --variant int8
    """
    given = _options(locals())
    from vampnet_onnx.configs.verification import version_to_use
    from vampnet_onnx.pipeline.jobs import VampJob, vamp_file
    from vampnet_onnx.pipeline.steps.output import OutputSettings, read_loudness
    from vampnet_onnx.pipeline.vamp import VampPipeline

    coarse = generation_settings(**_options_of(GenerationSettings, given))
    of_beats = _options_of(BeatSettings, given)
    follow_beats = given["follow_beats"]
    if of_beats and beats is None and not follow_beats:
        raise InputError(
            f"{', '.join(of_beats)}: of no effect without beats; add --beats FILE or"
            " --follow-beats"
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
        follow_beats=follow_beats,
        around_beats=beat_settings(**of_beats),
        output=OutputSettings(read_loudness(output_loudness), mix),
        crossfade_s=crossfade_s,
        loop=loop,
        save_tokens=save_tokens,
        plot=plot,
        noise=_draws(noise),
    )
    started, results = time.monotonic(), told_on(target, as_json=as_json)
    artifacts = here(artifacts)
    with spinner("opening"):
        chosen = version_to_use(artifacts)
        pipeline = VampPipeline.open(
            chosen.folder,
            threads=threads,
            variant=variant,
            provider=provider,
            runtime=runtime,
            tf32=tf32,
            bf16=bf16,
        )
        pipeline.switch_adapter(adapter)
    with progress_bar() as bar:
        written = vamp_file(pipeline, job, progress=bar, say=remark)
    runs = pipeline.where_it_runs()
    runs += pipeline.how_it_generates(
        coarse_only=coarse_only, noise=job.noise, watched=plot is not None
    )
    print_version(chosen, runs)
    facts = {**version_facts(chosen, runs), **cost(started)}
    print_written(written, as_json=as_json, to=results, seed=seed, **facts)
    if not as_json:
        print_cost(started, to=results)


def _options(parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the options that count: those given, over those of a preset."""
    given = {name: value for name, value in parameters.items() if value is not None}
    for old, name in _OLD_NAMES.items():
        if old in given and name in given:
            raise InputError(f"--{_dashed(old)} is an old name of --{_dashed(name)}; give one")
        if old in given:
            given[name] = given.pop(old)
    for name in _ON_AS_PUBLISHED:
        if given.pop(f"no_{name}", False):
            given[name] = False
    if given.pop("no_typical_filtering", False):
        if "typical_filtering" in given:
            raise InputError("--typical-filtering and --no-typical-filtering: give one")
        given["typical_filtering"] = False
    if given["mode"] is Mode.REFERENCE:
        idle = [name for name in _TYPICAL if given.get(name) not in (None, False)]
        if idle:
            raise InputError(
                f"{', '.join(idle)}: no effect in mode reference, as published; add --mode"
                " corrected"
            )
    if "preset" not in given:
        return given
    preset = preset_options(given["preset"])
    if "after_beat_s" in preset and "beats" not in given:
        given["follow_beats"] = True  # as the app does
    return preset | given


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def _draws(noise: Noise) -> "DrawsOf":
    from vampnet_onnx.pipeline.steps.noise import PhiloxDraws

    if noise is Noise.PHILOX:
        return PhiloxDraws
    from vampnet_onnx.configs.extras import FOR_MODELS, require_export_tools

    require_export_tools(only=FOR_MODELS)
    from vampnet_onnx.models.behaviour.torch_draws import TorchDraws

    return TorchDraws


def _options_of(kind: type[Any], given: dict[str, Any]) -> dict[str, Any]:
    """Return the options that are fields of settings."""
    return {name: given[name] for name in published_options(kind) if name in given}
