"""OpenVINO as a second runtime: float32, or it is an error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.command_line import Cli, refused
from tests.support.pipeline_inputs import codes_for
from tests.support.sets import GoldenSet
from vampnet_onnx.configs import extras
from vampnet_onnx.configs.errors import EnvironmentLacksError, InputError
from vampnet_onnx.pipeline.steps.noise import PhiloxNoise
from vampnet_onnx.pipeline.vamp import VampPipeline
from vampnet_onnx.pipeline.version import openvino
from vampnet_onnx.verify.jobs import verify_export

runtime = pytest.importorskip("openvino", reason="the extra openvino is not installed")


def has_bf16() -> bool:
    found: list[str] = runtime.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return "BF16" in found


@pytest.fixture
def in_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted defect: what OpenVINO does by itself on processors with bf16."""
    if not has_bf16():
        pytest.skip("this processor computes no bf16")
    monkeypatch.setattr(openvino, "_PRECISION", "bf16")


def test_the_same_seed_gives_the_same_tokens(
    exported_a: Path, pipeline_a: VampPipeline
) -> None:
    other = VampPipeline.open(exported_a, runtime="openvino", threads=1)
    codes = codes_for(pipeline_a)
    mask = np.ones_like(codes)
    made = [p.vamp(codes, mask, noise=PhiloxNoise(0)).tokens for p in (pipeline_a, other)]
    np.testing.assert_array_equal(*made)
    audio = [p.decode(made[0]) for p in (pipeline_a, other)]
    np.testing.assert_allclose(*audio, atol=2e-4)
    assert "coarse on OpenVINO on the CPU, in float32" in other.where_it_runs()
    assert pipeline_a.where_it_runs() == []


def test_operations_in_bf16_are_refused(exported_a: Path, in_bf16: None) -> None:
    with pytest.raises(EnvironmentLacksError, match=r"coarse.onnx: .* operations in bf16"):
        openvino.OpenVinoSession(exported_a / "coarse.onnx", threads=1)


@pytest.mark.parametrize(
    ("component", "gate"),
    [("codec_encoder", "tokens_unexplained"), ("coarse", "relative_l2")],
)
def test_bf16_breaks_the_gates(
    exported_a: Path,
    golden_a: GoldenSet,
    in_bf16: None,
    component: str,
    gate: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(openvino, "require_float32", lambda _compiled, _who: None)
    report = verify_export(
        exported_a,
        golden_a.folder,
        components=component,
        seeds=[0],
        quick=True,
        runtime="openvino",
    )
    assert report.verdict == "FAIL"
    (cause,) = report.components[0].causes
    assert cause.what.endswith(
        "ONNX Runtime's CPU; it fails on OpenVINO on the CPU, in float32"
    )
    assert gate in {g.name for g in report.components[0].gates if g.verdict == "FAIL"}


def test_verify_runs_the_same_cases_there_and_says_so(
    cli: Cli, exported_a: Path, golden_a: GoldenSet, tmp_path: Path
) -> None:
    result = cli(
        *("verify", exported_a, "--checkpoint", golden_a.folder, "--seeds", "0", "--quick"),
        *("--component", "coarse", "--component", "sampler", "--runtime", "openvino"),
        *("--report", tmp_path / "report", "--json"),
    )
    assert result.code == 0
    assert "coarse on OpenVINO on the CPU, in float32" in result.json["notes"]
    assert any(note.startswith("sampler on the CPU, for") for note in result.json["notes"])
    assert "counts as what it did" in result.json["standing"]


def test_adapters_are_refused(exported_a: Path, tmp_path: Path) -> None:
    session = openvino.OpenVinoSession(exported_a / "coarse.onnx", threads=1)
    session.use_adapter(None)
    with pytest.raises(InputError, match=r"OpenVINO switches no adapters; .* merge"):
        session.use_adapter(tmp_path / "a.onnx_adapter")


def test_without_the_extra_the_line_that_installs_it_is_told(
    cli: Cli, exported_a: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "is_installed", lambda module: module != "openvino")
    where = ("--artifacts", exported_a, "--runtime", "openvino")
    result = cli("encode", tmp_path / "in.wav", tmp_path / "out.npz", *where)
    assert result.code == 3 and "pip install 'vampnet-onnx[openvino]'" in result.err
    refused(
        cli("encode", "in.wav", "out.npz", *where, "--provider", "cuda"), "--provider cuda"
    )
