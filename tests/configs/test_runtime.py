"""What runs artifacts, as one thing."""

from __future__ import annotations

import pytest

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.runtime import Runtime


def test_the_usual_runtime_is_onnx_runtime_on_the_cpu_whatever_its_threads() -> None:
    assert Runtime(threads=3).is_usual
    assert not Runtime(provider="cuda").is_usual and not Runtime("openvino").is_usual


@pytest.mark.parametrize("asked", [{"name": "nonsense"}, {"provider": "nonsense"}])
def test_an_unknown_name_is_refused_with_the_known_ones(asked: dict[str, str]) -> None:
    with pytest.raises(InputError, match=r"'nonsense': there is none; known are (onnx|cpu)"):
        Runtime(**asked)  # type: ignore[arg-type]


def test_a_provider_of_another_runtime_is_refused() -> None:
    with pytest.raises(InputError, match="--provider cuda is one of ONNX Runtime"):
        Runtime("openvino", "cuda")


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_tf32_is_of_a_gpu(runtime: str) -> None:
    with pytest.raises(InputError, match="--tf32 goes with --provider cuda"):
        Runtime(runtime, tf32=True)  # type: ignore[arg-type]


def test_bf16_is_of_openvino() -> None:
    with pytest.raises(InputError, match=r"--bf16 goes with --runtime openvino; .* fp16"):
        Runtime(bf16=True)
    asked = Runtime("openvino", bf16=True)
    assert asked.words() == ["--runtime", "openvino", "--bf16"]
    assert str(asked) == "OpenVINO on the CPU, in bf16"


def test_a_command_is_asked_for_the_same_again() -> None:
    assert Runtime(threads=2).words() == []
    assert Runtime("openvino").words() == ["--runtime", "openvino"]
    asked = Runtime(provider="cuda", tf32=True)
    assert asked.words() == ["--provider", "cuda", "--tf32"]
    assert str(asked) == "ONNX Runtime on cuda, TF32 allowed"
