"""OpenVINO as a second runtime: float32, or bf16 where asked for, or it is an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.command_line import Cli, refused
from tests.support.pipeline_inputs import codes_for
from tests.support.sets import GoldenSet
from vampnet_onnx.configs import extras
from vampnet_onnx.configs.artifacts import open_artifacts
from vampnet_onnx.configs.errors import EnvironmentLacksError, InputError
from vampnet_onnx.configs.runtime import Runtime
from vampnet_onnx.pipeline.steps.noise import PhiloxNoise
from vampnet_onnx.pipeline.vamp import VampPipeline
from vampnet_onnx.pipeline.version import openvino, session
from vampnet_onnx.verify.causes.locate import localise_error
from vampnet_onnx.verify.jobs import verify_export
from vampnet_onnx.verify.localisation.culprit import MISSING

runtime = pytest.importorskip("openvino", reason="the extra openvino is not installed")


IN_BF16 = Runtime("openvino", threads=1, bf16=True)


def deaf_to(hint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plant a defect: whatever precision is asked for, OpenVINO takes this one."""

    class Deaf(runtime.Core):  # type: ignore[misc,name-defined]
        def compile_model(self, model: str, device: str, settings: dict[str, Any]) -> Any:
            taken = {**settings, "INFERENCE_PRECISION_HINT": hint}
            return super().compile_model(model, device, taken)

    monkeypatch.setattr(runtime, "Core", Deaf)


@pytest.fixture
def bf16_here() -> None:
    if "BF16" not in runtime.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this processor computes no bf16")


@pytest.fixture
def in_bf16(bf16_here: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted defect: what OpenVINO does by itself on processors with bf16."""
    deaf_to("bf16", monkeypatch)


def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino, "require_precision", lambda *_, **__: None)


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
    unchecked(monkeypatch)
    report = verify_export(
        exported_a,
        golden_a.folder,
        components=component,
        seeds=[0],
        quick=True,
        runtime="openvino",
    )
    assert report.verdict == "FAIL"
    (cause,) = report.components[0].causes  # walked there, too
    assert cause.module and (cause.error or 0) > 1e-4
    assert cause.command.endswith(f" --runtime openvino --case {cause.case}")
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
    assert "what it counts as stays as it is" in result.json["standing"]


def test_a_walk_runs_every_part_there_and_so_does_the_bundle_it_writes(
    cli: Cli,
    exported_a: Path,
    golden_a: GoldenSet,
    tmp_path: Path,
    in_bf16: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    walk = ("localise", exported_a, "--checkpoint", golden_a.folder, "--component", "coarse")
    there, bundle = ("--runtime", "openvino"), tmp_path / "bundle"
    refusal = cli(*walk, *there)
    assert refusal.code == 3 and "operations in bf16, though" in refusal.err
    unchecked(monkeypatch)
    found = cli(*walk, *there, "--bundle", bundle)
    assert found.code == 1 and "the error comes from" in found.out
    assert "walked coarse on OpenVINO on the CPU, in float32" in found.out
    assert f"vampnet-onnx replay {bundle} --runtime openvino" in found.err
    again = cli("replay", bundle, *there)
    assert again.code == 1 and "output    the recorded one" in again.out
    sound = cli("replay", bundle)  # elsewhere the module is right
    assert sound.code == 0 and "ran on    ONNX Runtime on cpu (recorded on Open" in sound.out


@pytest.mark.parametrize("component", ["coarse", "sampler"])
def test_a_walk_finds_nothing_in_what_is_sound(
    exported_a: Path, golden_a: GoldenSet, component: str
) -> None:
    asked = Runtime("openvino", threads=1)
    found = localise_error(
        exported_a, golden_a.folder, component=component, batch=1, runtime=asked
    )
    assert not found.localisation.culprits and found.localisation.findings
    assert not [f for f in found.localisation.findings if f.verdict == MISSING]
    assert found.runtime == (asked if component == "coarse" else Runtime(threads=1))


def test_a_part_that_does_not_run_there_is_no_module_that_is_missing(
    exported_a: Path, golden_a: GoldenSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*_: object, **__: object) -> None:
        raise InputError("part: does not run: no such operator")

    monkeypatch.setattr(openvino.OpenVinoSession, "run", run)
    asked = Runtime("openvino")
    with pytest.raises(EnvironmentLacksError, match=r"cut out, does not run on OpenVINO.*CPU"):
        localise_error(exported_a, golden_a.folder, component="coarse", runtime=asked)


def test_adapters_are_refused(exported_a: Path, tmp_path: Path) -> None:
    session = openvino.OpenVinoSession(exported_a / "coarse.onnx", threads=1)
    session.use_adapter(None)
    with pytest.raises(InputError, match=r"OpenVINO switches no adapters; .* merge"):
        session.use_adapter(tmp_path / "a.onnx_adapter")


def test_without_the_extra_the_line_that_installs_it_is_told(
    cli: Cli, exported_a: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "is_installed", lambda module: module != "openvino")
    for command in ("bench", "localise", "replay"):
        others = (exported_a, exported_a) if command == "localise" else (exported_a,)
        result = cli(command, *others, "--runtime", "openvino")
        assert result.code == 3 and "pip install 'vampnet-onnx[openvino]'" in result.err
    where = ("--artifacts", exported_a, "--runtime", "openvino")
    result = cli("encode", tmp_path / "in.wav", tmp_path / "out.npz", *where)
    assert result.code == 3 and "pip install 'vampnet-onnx[openvino]'" in result.err
    refused(
        cli("encode", "in.wav", "out.npz", *where, "--provider", "cuda"), "--provider cuda"
    )


def test_in_bf16_the_transformers_are_a_form_with_gates_of_its_own(
    cli: Cli, exported_a: Path, golden_a: GoldenSet, tmp_path: Path, bf16_here: None
) -> None:
    verify = ("verify", exported_a, "--checkpoint", golden_a.folder, "--seeds", "0", "--quick")
    result = cli(
        *verify,
        *("--component", "coarse.bf16", "--component", "codec_encoder"),
        *("--component", "generation.bf16", "--runtime", "openvino", "--bf16"),
        *("--report", tmp_path / "report", "--json"),
    )
    assert result.code == 0
    notes = result.json["notes"]
    assert "coarse.bf16 on OpenVINO on the CPU, in bf16" in notes
    assert "codec_encoder on OpenVINO on the CPU, in float32" in notes
    assert any("generation.bf16 was not compared" in note for note in notes)  # random weights
    refused(cli(*verify, "--component", "coarse", "--runtime", "openvino", "--bf16"), "bf16")
    refused(cli(*verify, "--bf16"), "--bf16 goes with --runtime openvino")


def test_a_variation_in_bf16_is_nearly_that_of_float32(
    exported_a: Path, pipeline_a: VampPipeline, bf16_here: None
) -> None:
    other = VampPipeline(open_artifacts(exported_a), IN_BF16)
    codes = codes_for(pipeline_a)
    mask = np.ones_like(codes)
    made = [p.vamp(codes, mask, noise=PhiloxNoise(0)).tokens for p in (pipeline_a, other)]
    assert 0.5 < (made[0] == made[1]).mean() < 1
    assert "coarse.bf16 on OpenVINO on the CPU, in bf16" in other.where_it_runs()


@pytest.mark.parametrize("part", [False, True])
def test_float32_in_silence_is_no_bf16(
    exported_a: Path, monkeypatch: pytest.MonkeyPatch, part: bool
) -> None:
    deaf_to("f32", monkeypatch)
    with pytest.raises(EnvironmentLacksError, match=r"products in f32, though bf16 was asked"):
        openvino.OpenVinoSession(exported_a / "coarse.onnx", threads=1, bf16=True, part=part)


def test_a_network_of_which_nothing_is_in_bf16_is_refused(
    exported_a: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deaf_to("f32", monkeypatch)
    monkeypatch.setattr(openvino, "_PRODUCTS", ("of another name",))
    with pytest.raises(EnvironmentLacksError, match=r"computes nothing in bf16, though"):
        openvino.OpenVinoSession(exported_a / "coarse.onnx", threads=1, bf16=True)


def test_a_codec_in_bf16_breaks_its_gates(
    exported_a: Path, golden_a: GoldenSet, bf16_here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "runtime_for", lambda _component, asked: asked)
    report = verify_export(
        *(exported_a, golden_a.folder),
        components="codec_encoder",
        seeds=[0],
        quick=True,
        localise=False,
        runtime="openvino",
        bf16=True,
    )
    failed = {gate.name for gate in report.components[0].gates if gate.verdict == "FAIL"}
    assert {"tokens_unexplained", "relative_l2"} <= failed


def test_a_processor_without_bf16_is_told(
    cli: Cli, exported_a: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Old(runtime.Core):  # type: ignore[misc,name-defined]
        def get_property(self, *_: object) -> list[str]:
            return ["FP32", "INT8"]

    monkeypatch.setattr(runtime, "Core", Old)
    asked = ("--runtime", "openvino", "--bf16")
    for command in (("replay", exported_a), ("compare", exported_a, exported_a)):
        result = cli(*command, *asked)
        assert result.code == 3 and "computes no bf16 on this processor (FP32" in result.err


def test_bf16_and_another_form_are_refused(forms_a: Path) -> None:
    with pytest.raises(InputError, match="--bf16 makes a form of the float32 files"):
        VampPipeline(open_artifacts(forms_a), IN_BF16, variant="int8")


def test_what_is_a_form_in_bf16_is_walked_in_float32(
    exported_a: Path, golden_a: GoldenSet, bf16_here: None
) -> None:
    found = localise_error(exported_a, golden_a.folder, batch=1, runtime=IN_BF16)
    assert found.component == "coarse.bf16" and found.localisation.findings
    assert not found.localisation.culprits
    assert str(found.runtime) == "OpenVINO on the CPU, in float32"
