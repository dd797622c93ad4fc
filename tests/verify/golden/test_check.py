"""golden check: ours agree with the recorded sets, and nothing in a set is passed over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.golden_sets import small_set
from tests.support.sets import GOLDEN
from vampnet_onnx.configs.config import load_golden_rules
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.verify.golden import check as golden
from vampnet_onnx.verify.golden.check import Finding, check_set
from vampnet_onnx.verify.golden.of_models import ModelRun


def failures(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.verdict == "FAIL"]


def test_both_sets_pass_in_every_kind() -> None:
    for name, kinds in (("a", 13), ("b", 12)):  # b has no sampling cases
        findings = check_set(ModelRun(GOLDEN / name))
        assert not failures(findings)
        assert len({finding.kind for finding in findings}) == kinds
        skipped = [finding.kind for finding in findings if finding.skipped]
        assert set(skipped) <= {"onset_mask"}


def test_every_rule_belongs_to_a_kind_and_has_a_reason() -> None:
    rules = load_golden_rules()
    assert set(rules) == set(ModelRun.kinds)
    assert all(rules.values())
    assert all(len(rule.reason) > 10 for kind in rules.values() for rule in kind.values())


@pytest.mark.parametrize(
    ("key", "quantity"),
    [
        ("encode/1/codes", "codes"),
        ("decode/0/audio_by_interface", "audio_by_interface"),
        ("coarse/1/activations", "activations"),
        ("c2f/0/logits", "logits"),
        ("masks/periodic_5_3", "mask"),
        ("seeded_masks/1/build_busy", "mask"),
        ("preprocess/1/output", "output"),
        ("sampling/0/token_probs", "token_probs"),
        ("sampling/1/typical_filtered_mass_03", "typical_filtered"),
        ("generate_c2f/0/masked/tokens", "tokens"),
        ("vamp/8/masked_tokens", "masked_tokens"),
    ],
)
def test_a_corrupted_array_fails_and_is_named(tmp_path: Path, key: str, quantity: str) -> None:
    def corrupt(arrays: dict[str, np.ndarray], _header: object) -> None:
        spoiled = arrays[key].copy()
        # A later element, so that only a check of every element sees it.
        spoiled.flat[-1] = spoiled.flat[-1] + 1 if np.isfinite(spoiled.flat[-1]) else 0
        arrays[key] = spoiled

    kind = key.split("/")[0]
    keep = ("masks/z", kind) if kind == "seeded_masks" else (kind,)
    failed = failures(
        check_set(ModelRun(small_set(tmp_path / "set", keep=keep, change=corrupt)))
    )
    assert (kind, quantity, key) in [(f.kind, f.quantity, f.where) for f in failed]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_fail(tmp_path: Path, value: float) -> None:
    def spoil(arrays: dict[str, np.ndarray], _header: object) -> None:
        arrays["coarse/0/logits"].flat[3] = value

    failed = failures(
        check_set(ModelRun(small_set(tmp_path / "set", keep=("coarse/",), change=spoil)))
    )
    assert [(f.quantity, f.where) for f in failed] == [("logits", "coarse/0/logits")]


def test_unknown_kinds_arrays_and_cases_are_reported(tmp_path: Path) -> None:
    def extend(arrays: dict[str, np.ndarray], header: dict[str, Any]) -> None:
        arrays["beat_mask/0/mask"] = np.ones(3)
        arrays["decode/0/stereo"] = np.ones(3)
        arrays["masks/spiral_3"] = np.ones(3)
        header["cases"]["vamp/77"] = {"seed": 77}

    keep = ("decode/0", "masks/")
    failed = failures(
        check_set(ModelRun(small_set(tmp_path / "set", keep=keep, change=extend)))
    )
    assert {(f.kind, f.where) for f in failed} == {
        ("beat_mask", "beat_mask/0/mask"),
        ("decode", "decode/0/stereo"),
        ("masks", "masks/spiral_3"),
        ("vamp", "vamp/77"),
    }
    assert all(finding.message for finding in failed)


def test_a_missing_array_a_wrong_shape_and_a_wrong_type_are_named(tmp_path: Path) -> None:
    def spoil(arrays: dict[str, np.ndarray], _header: object) -> None:
        del arrays["decode/0/audio"]
        arrays["decode/1/latents"] = arrays["decode/1/latents"][..., :-1]
        arrays["decode/2/z_quantized"] = arrays["decode/2/z_quantized"].astype(np.int64)

    failed = failures(
        check_set(ModelRun(small_set(tmp_path / "set", keep=("decode/",), change=spoil)))
    )
    messages = {f.where: f.message for f in failed}
    assert "decode/0/audio is missing" in messages["decode/0"]
    assert messages["decode/1/latents"] == "shape [2, 30, 5], recorded [2, 30, 4]"
    assert messages["decode/2/z_quantized"] == "type float32, recorded int64"


def test_parameters_without_a_case_of_ours_do_not_pass(tmp_path: Path) -> None:
    def spoil(_arrays: object, header: dict[str, Any]) -> None:
        header["cases"]["generate_c2f/0/default"]["warp"] = 9

    keep = ("generate_c2f/0/default",)
    failed = failures(
        check_set(ModelRun(small_set(tmp_path / "set", keep=keep, change=spoil)))
    )
    assert any("'warp'" in f.message and f.where == keep[0] for f in failed)


def test_without_librosa_onset_masks_are_skipped_aloud(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(golden.importlib.util, "find_spec", lambda _name: None)
    some = small_set(tmp_path / "set", keep=("onset_mask/", "decode/0"))
    (found,) = [f for f in check_set(ModelRun(some)) if f.kind == "onset_mask"]
    assert found.verdict == "SKIP" and "librosa" in found.message
    alone = small_set(tmp_path / "alone", keep=("onset_mask/",))
    with pytest.raises(InputError, match="nothing of the set was compared: needs the package"):
        check_set(ModelRun(alone))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda folder: (folder / "reference.npz").unlink(), "reference.npz is missing"),
        (lambda folder: (folder / "reference.npz").write_bytes(b"PK\x03\x04"), "damaged"),
        (lambda folder: (folder / "reference.json").write_text("{"), "damaged"),
        (lambda folder: (folder / "reference.json").write_text("[]"), "damaged"),
        (lambda folder: (folder / "codec.pth").write_bytes(b"no"), "codec.pth"),
    ],
)
def test_a_damaged_set_is_refused(tmp_path: Path, spoil: Any, says: str) -> None:
    folder = small_set(tmp_path / "set", keep=("decode/0",))
    spoil(folder)
    with pytest.raises(InputError, match=says):
        check_set(ModelRun(folder))


def test_tokens_of_a_torch_that_draws_other_noise_fail_for_that_reason(tmp_path: Path) -> None:
    def draw_otherwise(arrays: dict[str, np.ndarray], header: dict[str, Any]) -> None:
        for key in arrays:
            if key.endswith(("/exponential_noise", "generate_coarse/0/cold/tokens")):
                arrays[key] = arrays[key] + 1
        header["torch"] = "2.4.1"

    keep = ("sampling/0", "generate_coarse/0/cold", "generate_coarse/0/top_p")
    other = small_set(tmp_path / "set", keep=keep, change=draw_otherwise)
    failed = {f.quantity: f for f in failures(check_set(ModelRun(other))) if f.rule}
    assert not failed["exponential_noise"].message
    assert "draws other noise from a seed than torch 2.4.1" in failed["tokens"].message


def test_a_set_with_nothing_in_it_does_not_pass(tmp_path: Path) -> None:
    def empty(arrays: dict[str, np.ndarray], header: dict[str, Any]) -> None:
        arrays.clear()
        header["cases"].clear()

    nothing = small_set(tmp_path / "set", keep=("decode/0",), change=empty)
    with pytest.raises(InputError, match="a set without a recorded case"):
        check_set(ModelRun(nothing))
