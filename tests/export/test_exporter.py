"""Files exported from the golden sets give what the published packages computed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.support.exports import compute, exported, record_of, saved
from tests.support.sets import GoldenSet, assert_within
from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.config import config_from, load_gates
from vampnet_onnx.export.runtime import OPSETS, loads
from vampnet_onnx.models import open_models
from vampnet_onnx.verify.gates.component import check_component
from vampnet_onnx.verify.sides.models import Reference
from vampnet_onnx.verify.sides.oracle import Sides

LATENTS_TOLERANCE = 5e-5
LOGITS_TOLERANCE = 5e-6
AUDIO_TOLERANCE = 2e-4


def test_the_encoder_file_gives_the_published_codes_and_latents(
    golden: GoldenSet, golden_artifacts: Artifacts
) -> None:
    path = golden_artifacts.path(record_of(golden_artifacts, "codec_encoder"))
    for case in golden.cases("encode"):
        found = compute(path, audio=golden.array(f"{case}/audio"))
        np.testing.assert_array_equal(found["codes"], golden.array(f"{case}/codes"))
        assert_within(found["latents"], golden.array(f"{case}/latents"), LATENTS_TOLERANCE)


def test_the_decoder_file_gives_the_published_audio(
    golden: GoldenSet, golden_artifacts: Artifacts
) -> None:
    path = golden_artifacts.path(record_of(golden_artifacts, "codec_decoder"))
    for case in golden.cases("decode"):
        found = compute(path, codes=golden.array(f"{case}/codes"))
        assert_within(found["audio"], golden.array(f"{case}/audio"), AUDIO_TOLERANCE)
        by_interface = golden.array(f"{case}/audio_by_interface")
        assert_within(found["audio"], by_interface, AUDIO_TOLERANCE)


def test_the_decoder_file_reads_mask_tokens_as_the_published_interface_does(
    golden: GoldenSet, golden_artifacts: Artifacts
) -> None:
    path = golden_artifacts.path(record_of(golden_artifacts, "codec_decoder"))
    for case in golden.cases("decode_masked"):
        codes = golden.array(f"{case}/codes")
        assert (codes == golden.models.codec.dims.codebook_size).any()
        found = compute(path, codes=codes)
        assert_within(
            found["audio"], golden.array(f"{case}/audio_by_interface"), AUDIO_TOLERANCE
        )


@pytest.mark.parametrize("name", ["coarse", "c2f"])
def test_the_transformer_files_give_the_published_logits(
    golden: GoldenSet, golden_artifacts: Artifacts, name: str
) -> None:
    records = [r for r in golden_artifacts.manifest.components if r.name == name]
    assert records
    for record in records:
        entry = record.inputs[0].name
        for case in golden.cases(name):
            inputs = {entry: golden.array(f"{case}/{entry}")}
            logits = compute(golden_artifacts.path(record), **inputs)["logits"]
            expected = golden.array(f"{case}/logits")
            assert_within(logits, expected, LOGITS_TOLERANCE)
            np.testing.assert_array_equal(logits.argmax(axis=1), expected.argmax(axis=1))


@pytest.mark.parametrize("name", ["codec_encoder", "codec_decoder", "coarse"])
@pytest.mark.parametrize(
    "opset", [o for o in OPSETS if o != 20 and loads(o)]
)  # 20 is all others'
def test_every_selectable_opset_gives_a_file_within_all_gates(
    nano: Path, nano_artifacts: Artifacts, tmp_path: Path, opset: int, name: str
) -> None:
    models = open_models(nano)
    path = saved(exported(models, name, opset=opset), tmp_path)
    model = onnx.load(str(path))
    assert model.opset_import[0].version == opset
    assert model.ir_version == {18: 8, 19: 9, 20: 9, 21: 10, 22: 10, 23: 11}[opset]
    onnx.checker.check_model(str(path), full_check=True)
    matrix = {"seeds": [0], "frames": [1, 13, 21], "batches": [1, 3]}
    config = config_from(
        {"model": "x", "checkpoint": {"path": "x"}, "verify": matrix}, source="test"
    )
    sides = Sides(
        record_of(nano_artifacts, name),
        Reference(models),
        lambda inputs: compute(path, **inputs),
    )
    result = check_component(sides, matrix=config.verify, gates=load_gates())
    assert result.verdict == "PASS", [g for g in result.gates if g.verdict != "PASS"]
