"""pipeline/ refuses what does not fit, and says what to do."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.support.exports import without
from tests.support.pipeline_inputs import codes_for
from vampnet_onnx.configs.artifacts import open_artifacts
from vampnet_onnx.configs.errors import InputError, NotFiniteError
from vampnet_onnx.configs.files import sha256
from vampnet_onnx.configs.settings import generation_settings, vamp_settings
from vampnet_onnx.pipeline.steps.generate import generate
from vampnet_onnx.pipeline.steps.noise import PhiloxNoise
from vampnet_onnx.pipeline.vamp import VampPipeline
from vampnet_onnx.pipeline.version.components import Components, Transformer


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
    [
        (np.zeros((1, 1, 0), np.float32), "empty"),
        (np.zeros((1, 4)), "must be float"),
        (np.full((1, 1, 9), np.nan, np.float32), "NaN"),
        (np.zeros((1, 1, 9), np.int16), "int16"),
    ],
)
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
        generate(
            broken,
            pipeline_a.components.session("sampler"),
            codes,
            None,
            settings=generation_settings(steps=4),
            noise=PhiloxNoise(7),
        )


def test_a_temperature_that_makes_no_numbers_stops(pipeline_a: VampPipeline) -> None:
    chosen = vamp_settings(generation_settings(temperature=1e-42))
    codes = codes_for(pipeline_a)
    with pytest.raises(NotFiniteError, match=r"coarse: step 1 of 12 in chunk 1 of 1, seed 0"):
        pipeline_a.vamp(codes, np.ones_like(codes), chosen, noise=PhiloxNoise(0))


# ---- artifacts that do not fit each other


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
    [
        ("coarse", {"vocab_size": 17}, "17 entries"),
        ("coarse", {"n_codebooks": 9}, "9 codebooks"),
        ("c2f", {"n_codebooks": 4}, "4 codebooks"),
        ("sampler", {"codebook_size": 5}, "one set"),
        ("codec_decoder", {"sample_rate": 5}, "one set"),
    ],
)
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
