"""pipeline/ computes on the artifacts what models/ and the published packages compute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.pipeline_inputs import codes_for, noise_like
from tests.support.recorded_cases import golden_model
from tests.support.sets import EXPORTED_RATES, GoldenSet, assert_within
from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.settings import Mode, generation_settings
from vampnet_onnx.export.components.codec_decoder import requantised
from vampnet_onnx.models import open_models
from vampnet_onnx.models.behaviour.generate import generate as generate_in_torch
from vampnet_onnx.models.behaviour.noise import TorchNoise
from vampnet_onnx.pipeline.steps import codec as pipeline_codec
from vampnet_onnx.pipeline.steps.generate import generate
from vampnet_onnx.pipeline.steps.preparation import Prepared
from vampnet_onnx.pipeline.steps.streaming import joined, pieces, windows
from vampnet_onnx.pipeline.vamp import VampPipeline
from vampnet_onnx.pipeline.version.components import Codec, Components
from vampnet_onnx.verify.golden.check import check_set
from vampnet_onnx.verify.golden.of_files import FromTorch, PipelineRun
from vampnet_onnx.verify.sides.recorded import RecordedSet

SILENCE = np.float32(1e-6)  # so that silent audio has a peak to be relative to
AUDIO_TOLERANCE = 2e-4  # of the peak: the published float32 decode is 7e-5 from float64


@pytest.fixture(scope="module")
def pipeline(exported: Path) -> VampPipeline:
    return VampPipeline.open(exported)


# ---- the same numbers as the published packages


def test_exported_files_give_every_recorded_token_and_the_audio(
    golden: GoldenSet, golden_artifacts: Artifacts
) -> None:
    run = PipelineRun(RecordedSet(golden.folder), golden_artifacts)
    found = check_set(run)
    assert [f for f in found if f.verdict == "FAIL"] == []
    cases = {(f.kind, f.quantity): f.cases for f in found if f.verdict == "PASS"}
    assert cases["generate_coarse", "tokens"] == 20
    assert cases["generate_c2f", "tokens"] == 4
    assert cases["vamp", "tokens"] == cases["vamp", "output_audio"] == 7
    assert {kind for kind, _ in cases} == set(run.kinds)


def test_artifacts_of_other_checkpoints_are_not_held_to_a_set(
    golden: GoldenSet, nano_artifacts: Artifacts
) -> None:
    with pytest.raises(InputError, match=r"was not made from .*c2f\.pth"):
        PipelineRun(RecordedSet(golden.folder), nano_artifacts)


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


@pytest.mark.parametrize(
    "choices",
    [
        {"top_k": 5},
        {"top_p": 0.7, "temperature": 0.6},
        {"typical_min_tokens": 3},
        {"cfg_guidance": 2.0},
        {"sample_cutoff": 0.4},
        {"temperature": 0.0},
    ],
)
def test_the_corrected_mode_is_that_of_the_models(
    golden_a: GoldenSet, pipeline_a: VampPipeline, choices: dict[str, Any]
) -> None:
    chosen = generation_settings(
        **{
            "steps": 5,
            "mode": Mode.CORRECTED,
            "typical_filtering": "typical_min_tokens" in choices,
            **choices,
        }
    )
    model = golden_model(golden_a, "coarse")
    codes = np.full((2, model.n_codebooks, 30), model.mask_token)
    codes[0, :, ::4] = 3  # items with different counts of masked codes
    found = generate(
        pipeline_a.components.transformer("coarse"),
        pipeline_a.components.session("sampler"),
        codes,
        None,
        settings=chosen,
        noise=FromTorch(5),
    )
    expected = generate_in_torch(
        model, torch.from_numpy(codes), None, settings=chosen, noise=TorchNoise(5)
    )
    np.testing.assert_array_equal(found, expected)


# ---- streaming


@settings(max_examples=60, deadline=None)
@given(
    length=st.integers(1, 60),
    size=st.integers(1, 20),
    context=st.integers(0, 12),
    block=st.integers(1, 70),
)
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
