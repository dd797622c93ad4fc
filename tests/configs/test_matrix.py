"""The plan of the execution matrix: every declaration and limit has its reason."""

from __future__ import annotations

import pytest

from tests.support.exports import record_of
from vampnet_onnx.configs import matrix
from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.config import load_gates
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.matrix import Declared, OwnLimit, load_matrix
from vampnet_onnx.configs.packaged import shipped


def test_consecutive_cases_have_one_shape_and_other_values() -> None:
    section = load_matrix().section(threads=0)
    assert len(section.seeds) >= 2
    assert load_matrix().section(seeds=[5], threads=1).seeds == [5]
    with pytest.raises(InputError, match=r"seeds\.0 = -1"):
        load_matrix().section(seeds=[-1], threads=0)


def test_a_cell_is_declared_by_component_variant_or_both(
    nano_artifacts: Artifacts,
) -> None:
    latents = record_of(nano_artifacts, "coarse.latents")
    coarse = record_of(nano_artifacts, "coarse")
    for name, of_latents, of_codes in (
        ("latents", True, False),
        ("coarse", True, True),
        ("coarse.latents", True, False),
        ("c2f", False, False),
    ):
        declared = Declared(runtime="x", component=name, error="e", reason="r")
        assert declared.is_of("x", "1.2", latents) is of_latents
        assert declared.is_of("x", "1.2", coarse) is of_codes
        assert not declared.is_of("y", "1.2", latents)


def test_a_cell_may_be_declared_of_some_versions(nano_artifacts: Artifacts) -> None:
    coarse = record_of(nano_artifacts, "coarse")
    known = {"runtime": "x", "component": "coarse", "error": "e", "reason": "r"}
    declared = Declared(**known, versions="<1.31")
    assert declared.is_of("x", "1.30.0", coarse) and not declared.is_of("x", "1.31.1", coarse)


def test_a_runtime_has_its_own_limit_with_its_own_reason() -> None:
    own = OwnLimit(
        runtime="x", component="codec_decoder", metric="max_abs", limit=1.0, reason="loud"
    )
    plan = load_matrix().model_copy(update={"limits": [own]})
    shared = load_gates().kinds["codec_decoder"]["max_abs"]
    changed = plan.gates_of("x", load_gates()).kinds["codec_decoder"]["max_abs"]
    assert (changed.limit, changed.reason) == (1.0, "loud")
    assert plan.gates_of("y", load_gates()).kinds["codec_decoder"]["max_abs"] == shared


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"unsupported": [{"runtime": "x", "component": "c", "error": "e"}]}, "reason"),
        (
            {
                "unsupported": [
                    {
                        "runtime": "x",
                        "component": "c",
                        "versions": "1.31",
                        "error": "e",
                        "reason": "r",
                    }
                ]
            },
            "versions",
        ),
        (
            {"unsupported": [{"runtime": "x", "component": "c", "error": "(", "reason": "r"}]},
            "error",
        ),
        (
            {
                "limits": [
                    {
                        "runtime": "x",
                        "component": "codec_decoder",
                        "metric": "snr",
                        "limit": 1.0,
                        "reason": "r",
                    }
                ]
            },
            "codec_decoder.snr: no such gate",
        ),
    ],
    ids=["no-reason", "no-versions", "no-pattern", "no-gate"],
)
def test_a_plan_that_cannot_be_is_refused(
    change: dict[str, object], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = {**shipped("runtimes.toml"), **change}
    monkeypatch.setattr(
        matrix, "shipped", lambda name: plan if name == "runtimes.toml" else shipped(name)
    )
    with pytest.raises(InputError, match=says):
        load_matrix()
