"""pipeline/ computes on the artifacts what models/ and the published packages compute."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.errors import EnvironmentLacksError, InputError, NotFiniteError
from configs.files import sha256
from configs.settings import (
    Mode,
    beat_settings,
    generation_settings,
    mask_settings,
    vamp_settings,
)
from export.codec_facts import requantised
from models import open_models
from models.generate import generate as generate_in_torch
from models.noise import TorchNoise
from pipeline import codec as pipeline_codec
from pipeline.artifacts import open_artifacts
from pipeline.components import Codec, Components, Transformer
from pipeline.generate import generate
from pipeline.noise import Floats, PhiloxNoise
from pipeline.preparation import Prepared
from pipeline.prompts import onset_frames, read_beats
from pipeline.streaming import joined, pieces, windows
from pipeline.vamp import VampPipeline
from tests.conftest import EXPORTED_RATES, GoldenSet, assert_within
from tests.reference_cases import cases, golden_model, header, parameters

SILENCE = np.float32(1e-6)  # so that silent audio has a peak to be relative to
AUDIO_TOLERANCE = 2e-4  # of the peak: the published float32 decode is 7e-5 from float64


class FromTorch:
    """The published packages' noise, for the pipeline."""

    def __init__(self, seed: int) -> None:
        self.name, self.source = f"torch's seed {seed}", TorchNoise(seed)

    def exponential(self, shape: tuple[int, ...]) -> Floats:
        return self.source.exponential(shape).numpy()

    def uniform(self, shape: tuple[int, ...]) -> Floats:
        return self.source.uniform(shape).numpy()


@pytest.fixture(scope="module")
def pipeline(exported: Path) -> VampPipeline:
    return VampPipeline.open(exported)


@pytest.fixture(scope="module")
def pipeline_a(exported_a: Path) -> VampPipeline:
    return VampPipeline.open(exported_a)


def noise_like(*shape: int, seed: int = 0, scale: float = 0.1) -> Floats:
    draw = np.random.default_rng(seed)
    return (draw.standard_normal(shape) * scale).astype(np.float32)


def codes_for(pipeline: VampPipeline, frames: int = 40, batch: int = 1) -> np.ndarray:
    codec = pipeline.codec
    shape = (batch, codec.n_codebooks, frames)
    return np.random.default_rng(0).integers(0, codec.codebook_size, shape)


# ---- the same numbers as the published packages


@pytest.mark.parametrize("name", ["coarse", "c2f"])
def test_tokens_are_the_published_ones_given_torchs_noise(
    golden: GoldenSet, pipeline: VampPipeline, name: str
) -> None:
    model = pipeline.components.transformer(name)
    sampler = pipeline.components.session("sampler")
    found = cases(golden, f"generate_{name}")
    assert len(found) == {"coarse": 20, "c2f": 4}[name]
    for case in found:
        choices = parameters(golden, case)
        seed, masked = choices.pop("seed"), choices.pop("mask", "recorded")
        mask = None
        if masked == "recorded" and f"{case}/mask" in golden._arrays:
            mask = golden.array(f"{case}/mask")
        tokens = generate(
            model, sampler, golden.array(f"{case}/start_tokens"), mask,
            settings=generation_settings(**choices), noise=FromTorch(seed),
        )  # fmt: skip
        np.testing.assert_array_equal(tokens, golden.array(f"{case}/tokens"), case)


def test_variations_are_the_published_ones_down_to_the_audio(
    golden: GoldenSet, pipeline: VampPipeline
) -> None:
    found = cases(golden, "vamp")
    assert len(found) == 7
    for case in found:
        choices = parameters(golden, case)
        seed, _rate = choices.pop("seed"), choices.pop("sample_rate")
        names = ("batch_size", "feedback_steps", "time_stretch_factor")
        of_vamp = {name: choices.pop(name) for name in names if name in choices}
        made = pipeline.vamp(
            golden.array(f"{case}/codes"), golden.array(f"{case}/mask"),
            vamp_settings(
                generation_settings(**choices),
                coarse_chunk_s=header(golden, "coarse_chunk_size_s"),
                c2f_chunk_s=header(golden, "c2f_chunk_size_s"), **of_vamp,
            ),
            noise=FromTorch(seed),
        )  # fmt: skip
        np.testing.assert_array_equal(made.tokens, golden.array(f"{case}/tokens"), case)
        masked = golden.array(f"{case}/masked_tokens")
        np.testing.assert_array_equal(made.masked_tokens, masked, case)
        audio = golden.array(f"{case}/output_audio")
        assert_within(pipeline.decode(made.tokens), audio, AUDIO_TOLERANCE)


def test_audio_is_prepared_and_encoded_as_published(
    golden: GoldenSet, pipeline: VampPipeline
) -> None:
    rates = {pipeline.codec.sample_rate, *EXPORTED_RATES}
    for case in golden.cases("preprocess"):
        audio, rate = golden.array(f"{case}/audio"), int(golden.array(f"{case}/sample_rate"))
        assert rate in rates
        expected = golden.array(f"{case}/output")
        for made in (
            pipeline.prepare(audio, rate),
            pipeline.prepare_stream(lambda a=audio: pieces(a, 999), rate),
        ):
            assert_within(made.audio + SILENCE, expected + SILENCE, 1e-4)
    for case in golden.cases("encode"):
        audio = golden.array(f"{case}/audio")
        whole = np.pad(
            audio, ((0, 0), (0, 0), (0, -audio.shape[-1] % pipeline.codec.hop_length))
        )
        np.testing.assert_array_equal(pipeline.encode(whole), golden.array(f"{case}/codes"))


def test_masked_codes_decode_as_published(golden: GoldenSet, pipeline: VampPipeline) -> None:
    for case in golden.cases("decode_masked"):
        audio = pipeline.decode(golden.array(f"{case}/codes"))
        assert_within(audio, golden.array(f"{case}/audio_by_interface"), AUDIO_TOLERANCE)


@pytest.mark.parametrize(
    "choices",
    [{"top_k": 5}, {"top_p": 0.7, "temperature": 0.6}, {"typical_min_tokens": 3},
     {"cfg_guidance": 2.0}, {"sample_cutoff": 0.4}, {"temperature": 0.0}],
)  # fmt: skip
def test_the_corrected_mode_is_that_of_the_models(
    golden_a: GoldenSet, pipeline_a: VampPipeline, choices: dict[str, Any]
) -> None:
    chosen = generation_settings(
        **{"steps": 5, "mode": Mode.CORRECTED,
           "typical_filtering": "typical_min_tokens" in choices, **choices}
    )  # fmt: skip
    model = golden_model(golden_a, "coarse")
    codes = np.full((2, model.n_codebooks, 30), model.mask_token)
    codes[0, :, ::4] = 3  # items with different counts of masked codes
    found = generate(
        pipeline_a.components.transformer("coarse"), pipeline_a.components.session("sampler"),
        codes, None, settings=chosen, noise=FromTorch(5),
    )  # fmt: skip
    expected = generate_in_torch(
        model, torch.from_numpy(codes), None, settings=chosen, noise=TorchNoise(5)
    )
    np.testing.assert_array_equal(found, expected)


# ---- streaming


@settings(max_examples=60, deadline=None)
@given(
    length=st.integers(1, 60), size=st.integers(1, 20), context=st.integers(0, 12),
    block=st.integers(1, 70),
)  # fmt: skip
def test_windows_cover_a_stream_once(length: int, size: int, context: int, block: int) -> None:
    whole = np.arange(2 * length).reshape(2, length)
    found, position = [], 0
    for window in windows(pieces(whole, block), size=size, context=context):
        counted = window.data[:, window.start : window.stop]
        first = position - window.start
        np.testing.assert_array_equal(
            window.data, whole[:, first : first + window.data.shape[1]]
        )
        assert window.start == min(position, context)
        behind = length - position - counted.shape[1]
        assert window.data.shape[1] - window.stop == min(behind, context)
        position += counted.shape[1]
        found.append(counted)
    assert all(part.shape[1] == size for part in found[:-1])
    np.testing.assert_array_equal(np.concatenate(found, axis=1), whole)


def test_windows_encode_and_decode_as_the_whole_does(pipeline: VampPipeline) -> None:
    parts, codec = pipeline.components, pipeline.codec
    audio = noise_like(2, 1, 90 * codec.hop_length)
    codes = parts.session("codec_encoder").run({"audio": audio})["codes"]
    decoded = parts.session("codec_decoder").run({"codes": codes})["audio"]
    for frames in (1, 7, 40):
        window_s = (frames - 0.5) * codec.hop_length / codec.sample_rate
        found = joined(
            pipeline_codec.encode_stream(parts, pieces(audio, 1000), window_s=window_s)
        )
        np.testing.assert_array_equal(found, codes)
        back = joined(pipeline_codec.decode_stream(parts, pieces(codes, 3), window_s=window_s))
        # Rounding: the decoder of set b turns another order of sums into 1e-4.
        assert_within(back, decoded, AUDIO_TOLERANCE)


@pytest.mark.parametrize("rate", [8000, 22050])
@pytest.mark.parametrize("seconds", [0.03, 0.7, 21.3])
def test_audio_is_prepared_in_windows_as_in_one(
    pipeline_a: VampPipeline, rate: int, seconds: float
) -> None:
    audio = noise_like(2, 2, int(seconds * rate))
    audio[0] *= np.linspace(0, 1, audio.shape[-1], dtype=np.float32)  # gates matter
    audio[1, :, audio.shape[-1] // 2] = 0.999  # the peak has to be limited
    audio[1] *= 0.02
    whole = pipeline_a.prepare(audio, rate)
    parts = pipeline_a.prepare_stream(lambda: pieces(audio, 50_000), rate)
    np.testing.assert_allclose(parts.loudness, whole.loudness, rtol=0, atol=1e-5)
    np.testing.assert_allclose(parts.audio, whole.audio, rtol=0, atol=1e-6)


def test_a_stream_is_held_a_window_at_a_time(pipeline_a: VampPipeline) -> None:
    """The longest input any graph sees does not grow with the audio."""
    seen: dict[str, int] = {}
    parts = pipeline_a.components
    originals = {
        name: parts.session(name).run for name in ("audio_processor", "codec_encoder")
    }
    longest = []
    for seconds in (60, 180):
        seen.clear()
        for name, run in originals.items():

            def watched(inputs: Any, name: str = name, run: Any = run, **kw: Any) -> Any:
                seen[name] = max(seen.get(name, 0), inputs["audio"].shape[-1])
                return run(inputs, **kw)

            parts.session(name).run = watched  # type: ignore[method-assign]
        audio = noise_like(1, 1, seconds * 8000)
        codes = pipeline_a.encode_stream(
            pipeline_a.prepare_stream(lambda a=audio: pieces(a, 8000), 8000)
        )
        assert codes.shape[-1] == seconds * 8000 // 64
        longest.append(dict(seen))
    for name, run in originals.items():
        parts.session(name).run = run  # type: ignore[method-assign]
    assert longest[0] == longest[1]


# ---- masks, prompts, noise, stereo


def test_the_published_mask_keeps_every_seventh_step(pipeline_a: VampPipeline) -> None:
    mask = pipeline_a.build_mask(codes_for(pipeline_a), seed=3)
    assert mask.dtype == np.int64
    assert (mask[:, 3:] == 1).all()
    kept = np.flatnonzero(mask[0, 0] == 0)
    assert len(kept) in (5, 6, 7)
    assert set(np.diff(kept)) <= {5, 7}  # 40 steps rolled round: 35 to 40 are 5 apart
    np.testing.assert_array_equal(mask[0, 1], mask[0, 0])


def test_a_seed_is_a_mask(pipeline_a: VampPipeline) -> None:
    codes = codes_for(pipeline_a)
    chosen = mask_settings(rand_mask_intensity=0.5, dropout=0.2)
    first, again, other = (
        pipeline_a.build_mask(codes, chosen, seed=seed) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_prefix_is_kept_and_one_beyond_the_clip_is_refused(pipeline_a: VampPipeline) -> None:
    codes = codes_for(pipeline_a)  # 40 frames of 8 ms
    chosen = mask_settings(prefix_s=0.08, periodic_prompt=0, upper_codebook_mask=99)
    mask = pipeline_a.build_mask(codes, chosen, seed=0)
    np.testing.assert_array_equal(mask[0, 0], np.arange(40) >= 10)
    for choices in ({"prefix_s": 0.33}, {"suffix_s": 1}, {"prefix_s": 0.2, "suffix_s": 0.2}):
        with pytest.raises(InputError, match=r"longer than the clip, which lasts 0\.32 s"):
            pipeline_a.build_mask(codes, mask_settings(**choices), seed=0)


def test_beats_are_read_from_a_file_and_kept(pipeline_a: VampPipeline, tmp_path: Path) -> None:
    file = tmp_path / "beats.txt"
    file.write_text("# seconds\n0.08\n\n0.16, 2\n")
    beats = read_beats(file, pipeline_a.codec, 40)
    assert beats == [10, 20]
    mask = pipeline_a.build_mask(
        codes_for(pipeline_a), mask_settings(periodic_prompt=0, upper_codebook_mask=99),
        seed=0, beats=beats,
        around_beats=beat_settings(before_beat_s=0.008, after_beat_s=0.02),
    )  # fmt: skip
    assert np.flatnonzero(mask[0, 0] == 0).tolist() == [9, 10, 11, 12, 19, 20, 21, 22]


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "holds no beats"), ("0.1\nsoon\n", ":2: 'soon'"), ("-1", "outside the clip"),
     ("0.5", "outside the clip, which lasts 0.32 s"), ("nan", "outside")],
)  # fmt: skip
def test_beats_that_are_none_are_refused(
    pipeline_a: VampPipeline, tmp_path: Path, text: str, says: str
) -> None:
    (tmp_path / "beats.txt").write_text(text)
    with pytest.raises(InputError, match=says):
        read_beats(tmp_path / "beats.txt", pipeline_a.codec, 40)


def test_onsets_are_what_librosa_says(
    golden_a: GoldenSet, pipeline_a: VampPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "librosa", None)
    with pytest.raises(EnvironmentLacksError, match="librosa"):
        onset_frames(noise_like(1000), pipeline_a.codec)
    with pytest.raises(InputError, match="needs the onsets"):
        pipeline_a.build_mask(codes_for(pipeline_a), mask_settings(onset_mask_width=2), seed=0)


def test_a_seed_is_a_variation(pipeline_a: VampPipeline) -> None:
    codes = codes_for(pipeline_a)
    mask = np.ones_like(codes)
    first, again, other = (
        pipeline_a.vamp(codes, mask, noise=PhiloxNoise(seed)).tokens for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_coarse_alone_is_a_request_and_keeps_the_fine_codes(pipeline_a: VampPipeline) -> None:
    codes = codes_for(pipeline_a)
    made = pipeline_a.vamp(codes, np.ones_like(codes), noise=PhiloxNoise(0), coarse_only=True)
    n = pipeline_a.components.transformer("coarse").n_codebooks
    np.testing.assert_array_equal(made.tokens[:, n:], codes[:, n:])
    assert not np.array_equal(made.tokens[:, :n], codes[:, :n])


def test_progress_counts_every_sampling_step(pipeline_a: VampPipeline) -> None:
    codes, told = codes_for(pipeline_a, frames=300), []
    chosen = vamp_settings(generation_settings(steps=3), coarse_chunk_s=1.0, c2f_chunk_s=1.0,
                           feedback_steps=2)  # fmt: skip
    pipeline_a.vamp(codes, np.ones_like(codes), chosen, noise=PhiloxNoise(0),
                    progress=lambda *args: told.append(args))  # fmt: skip
    coarse = [("coarse", done, 18) for done in range(1, 19)]  # 3 steps, 3 chunks, 2 rounds
    assert told == coarse + [("c2f", done, 6) for done in range(1, 7)]


def test_equal_channels_stay_equal_and_their_balance_is_kept(pipeline_a: VampPipeline) -> None:
    left = noise_like(6400)
    audio, made = pipeline_a.process_audio(
        np.stack([left, 0.5 * left]), 8000, seed=1, keep_stereo=True
    )
    assert audio.shape == (1, 2, 6400)
    assert made.tokens.shape[:2] == (1, 2) and made.mask.shape[0] == 1
    np.testing.assert_array_equal(made.tokens[0, 0], made.tokens[0, 1])
    np.testing.assert_allclose(audio[0, 1], 0.5 * audio[0, 0], rtol=1e-4, atol=1e-6)
    mixed, _ = pipeline_a.process_audio(np.stack([left, left]), 8000, seed=1)
    np.testing.assert_allclose(mixed[0, 0], audio[0, 0], rtol=0, atol=1e-4)


# ---- what does not fit


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"codes": np.zeros((1, 2, 40), np.int64)}, r"\[batch, 5, steps\]"),
        ({"codes": np.zeros((2, 5, 40), np.int64)}, "batch_size = 1"),
        ({"codes": np.zeros((5, 40), np.int64)}, "batch_size = 1"),
        ({"codes": np.zeros((1, 5, 0), np.int64)}, r"not \[1, 5, 0\]"),
        ({"codes": np.full((1, 5, 40), 9999)}, "from 9999 to 9999"),
        ({"codes": np.full((1, 5, 40), -1)}, "from -1"),
        ({"codes": np.zeros((1, 5, 40))}, "float64"),
        ({"mask": np.full((1, 5, 40), 2)}, "only 0 .* has 2"),
        ({"mask": np.ones((1, 5, 39), np.int64)}, "the mask is"),
    ],
)
def test_codes_and_masks_that_do_not_fit_are_refused(
    pipeline_a: VampPipeline, change: dict[str, np.ndarray], says: str
) -> None:
    codes = codes_for(pipeline_a)
    given_ = {"codes": codes, "mask": np.ones_like(codes), **change}
    with pytest.raises(InputError, match=says):
        pipeline_a.vamp(**given_, noise=PhiloxNoise(0))


@pytest.mark.parametrize(
    ("audio", "says"),
    [(np.zeros((1, 1, 0), np.float32), "empty"), (np.zeros((1, 4)), "must be float"),
     (np.full((1, 1, 9), np.nan, np.float32), "NaN"),
     (np.zeros((1, 1, 9), np.int16), "int16")],
)  # fmt: skip
def test_audio_that_is_none_is_refused(
    pipeline_a: VampPipeline, audio: np.ndarray, says: str
) -> None:
    with pytest.raises(InputError, match=says):
        pipeline_a.prepare(audio, 8000)


def test_a_rate_without_an_audio_processor_says_what_to_do(pipeline_a: VampPipeline) -> None:
    with pytest.raises(InputError, match=r"no audio_processor.from_11025; export one for"):
        pipeline_a.prepare(np.zeros((1, 1, 900), np.float32), 11025)


def test_logits_that_are_not_finite_stop_with_step_component_and_seed(
    pipeline_a: VampPipeline,
) -> None:
    model = pipeline_a.components.transformer("coarse")
    calls = 0

    class Broken(Transformer):
        def logits(self, codes: np.ndarray) -> np.ndarray:
            nonlocal calls
            calls += 1
            found = model.logits(codes)
            if calls == 3:
                found[0, 0, 0] = np.nan
            return found

    broken = Broken(**{name: getattr(model, name) for name in vars(model)})
    codes = np.full((1, model.n_codebooks, 9), model.mask_token)
    with pytest.raises(NotFiniteError, match=r"^coarse: step 3 of 4, seed 7: logits"):
        generate(broken, pipeline_a.components.session("sampler"), codes, None,
                 settings=generation_settings(steps=4), noise=PhiloxNoise(7))  # fmt: skip


def test_a_temperature_that_makes_no_numbers_stops(pipeline_a: VampPipeline) -> None:
    chosen = vamp_settings(generation_settings(temperature=1e-42))
    codes = codes_for(pipeline_a)
    with pytest.raises(NotFiniteError, match=r"coarse: step 1 of 12 in chunk 1 of 1, seed 0"):
        pipeline_a.vamp(codes, np.ones_like(codes), chosen, noise=PhiloxNoise(0))


# ---- artifacts that do not fit each other


def without(folder: Path, target: Path, *names: str) -> Path:
    """Copy a version without some components."""
    shutil.copytree(folder, target)
    manifest = json.loads((target / "manifest.json").read_text())
    manifest["components"] = [c for c in manifest["components"] if c["name"] not in names]
    (target / "manifest.json").write_text(json.dumps(manifest))
    return target


def test_a_missing_component_is_an_error_never_a_fallback(
    exported_a: Path, tmp_path: Path
) -> None:
    short = VampPipeline.open(without(exported_a, tmp_path / "v1", "c2f"))
    codes = codes_for(short)
    with pytest.raises(InputError, match=r"holds no c2f; export it .*--coarse-only"):
        short.vamp(codes, np.ones_like(codes), noise=PhiloxNoise(0))
    with pytest.raises(InputError, match="holds no c2f"):
        short.require()
    short.require(coarse_only=True)
    short.vamp(codes, np.ones_like(codes), noise=PhiloxNoise(0), coarse_only=True)


def test_a_file_of_another_model_is_refused_even_if_the_manifest_vouches_for_it(
    exported_a: Path, tmp_path: Path
) -> None:
    mixed = without(exported_a, tmp_path / "v1")
    data = (mixed / "coarse.onnx").read_bytes()
    foreign = data.replace(b"golden-a", b"golden-z")
    assert foreign != data
    (mixed / "coarse.onnx").write_bytes(foreign)
    with pytest.raises(InputError, match="not what the manifest vouches for"):
        VampPipeline.open(mixed)
    manifest = json.loads((mixed / "manifest.json").read_text())
    record = next(c for c in manifest["components"] if c["name"] == "coarse")
    record["file"]["sha256"] = sha256(mixed / "coarse.onnx")
    (mixed / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"'golden-z'.* of two models are mixed"):
        VampPipeline.open(mixed).require()


@pytest.mark.parametrize(
    ("name", "dims", "says"),
    [("coarse", {"vocab_size": 17}, "17 entries"),
     ("coarse", {"n_codebooks": 9}, "9 codebooks"),
     ("c2f", {"n_codebooks": 4}, "4 codebooks"), ("sampler", {"codebook_size": 5}, "one set"),
     ("codec_decoder", {"sample_rate": 5}, "one set")],
)  # fmt: skip
def test_parts_of_different_sets_are_refused(
    exported_a: Path, name: str, dims: dict[str, int], says: str
) -> None:
    opened = open_artifacts(exported_a)
    parts = tuple(
        c.model_copy(update={"dims": {**c.dims, **dims}}) if c.name == name else c
        for c in opened.manifest.components
    )
    changed = opened.manifest.model_copy(update={"components": parts})
    with pytest.raises(InputError, match=says):
        Components(replace(opened, manifest=changed))


# ---- decoding the way the published interface does


def test_rows_that_point_the_same_way_are_decoded_as_the_first(
    golden_a: GoldenSet, pipeline_a: VampPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = open_models(golden_a.folder, only=()).codec
    assert codec is not None
    assert requantised(codec) == pipeline_a.components.fact("codec_decoder", "requantised")
    book = codec.quantizer.book(1).codebook.weight
    with torch.no_grad():
        book[7] = 2 * book[3]
    assert requantised(codec) == [[1, 7, 3]]
    facts = {"context_frames": 14, "requantised": [[1, 7, 3]]}
    monkeypatch.setattr(Components, "fact", lambda _self, _id, name: facts[name])
    codes = codes_for(pipeline_a)
    codes[:, 1] = 7
    replaced = codes.copy()
    replaced[:, 1] = 3
    np.testing.assert_array_equal(pipeline_a.decode(codes), pipeline_a.decode(replaced))
    codes[:, 0] = 7
    assert not np.array_equal(pipeline_a.decode(codes), pipeline_a.decode(replaced))


def test_a_codec_gives_its_frames_by_the_published_rule() -> None:
    codec = Codec(sample_rate=44100, hop_length=768, n_codebooks=14, codebook_size=1024)
    assert [codec.frames_of(s) for s in (0.0, 1e-9, 3.0, 10.0)] == [0, 1, 173, 575]


def test_the_balance_of_equally_loud_items_is_one() -> None:
    assert Prepared(list, np.array([-20.0, -20.0], np.float32)).balance.tolist() == [1, 1]
