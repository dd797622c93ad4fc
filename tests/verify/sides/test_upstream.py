"""The worker for the published packages, run with stand-ins for them.

The stand-ins compute with our own models, so these tests prove the plumbing: that requests,
arrays, seeds and refusals go through.  Parity with the packages is what the golden sets are
for.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.support.checkpoint_files import copy_of, saved
from tests.support.records import component
from tests.support.sets import GOLDEN, GoldenSet, assert_within
from tests.support.upstream_packages import STUB, TOLERANCE, python_with
from vampnet_onnx.configs.errors import EnvironmentLacksError, InputError
from vampnet_onnx.models import Checkpoints, open_models
from vampnet_onnx.verify.sides.models import Reference
from vampnet_onnx.verify.sides.upstream import UpstreamReference, Worker, open_worker
from vampnet_onnx.verify.subjects.case import Case
from vampnet_onnx.verify.subjects.registry import subject_of

# As an oracle.


@pytest.mark.parametrize(
    ("name", "variant", "setting"),
    [
        ("codec_encoder", "", ""),
        ("codec_decoder", "", "masked"),
        ("coarse", "", ""),
        ("c2f", "latents", ""),
    ],
)
def test_it_is_the_same_oracle_as_our_models(
    worker: Worker, golden_a: GoldenSet, name: str, variant: str, setting: str
) -> None:
    record = component(name, variant)
    case = subject_of(record).one_case(record, seed=1, batch=2, frames=33)
    case = replace(case, setting=setting)
    ours, theirs = Reference(golden_a.models), UpstreamReference(worker)
    for a, b in ((ours, theirs), (ours.in_float64, theirs.in_float64)):
        expected, found = a.run(record, case), b.run(record, case)
        assert list(found.outputs) == list(expected.outputs)
        for output, array in expected.outputs.items():
            assert found.outputs[output].dtype == array.dtype
            assert_within(found.outputs[output], array, TOLERANCE)
        if expected.margins is None:
            assert found.margins is None
        else:
            assert_within(found.margins, expected.margins, TOLERANCE)
    assert "torch" in theirs.description


def test_a_lora_file_is_laid_over_the_published_model(
    stub_python: Path, tmp_path: Path, golden_a: GoldenSet
) -> None:
    state = torch.load(GOLDEN / "a" / "coarse.pth", weights_only=True)["state_dict"]
    overlay = {k: 3 * v + 0.1 for k, v in state.items() if ".lora_" in k}
    torch.save({"state_dict": overlay}, tmp_path / "lora.pth")
    lora, record = {"coarse": tmp_path / "lora.pth"}, component("coarse")
    case = subject_of(record).one_case(record, seed=1, batch=1, frames=33)
    plain = Reference(golden_a.models).run(record, case).outputs["logits"]
    expected = Reference(open_models(GOLDEN / "a", lora=lora)).run(record, case)
    with open_worker(stub_python, Checkpoints(GOLDEN / "a", lora)) as found:
        logits = UpstreamReference(found).run(record, case).outputs["logits"]
    assert_within(logits, expected.outputs["logits"], TOLERANCE)
    assert np.abs(logits - plain).max() > 0.01


@pytest.mark.parametrize("name", ["generation", "sampler", "audio_processor"])
def test_what_the_packages_have_no_part_like_is_not_known(worker: Worker, name: str) -> None:
    theirs = UpstreamReference(worker)
    assert theirs.knows(component("codec_decoder")) and theirs.knows(component("c2f"))
    assert not theirs.knows(component(name))


def test_a_component_the_packages_do_not_have_is_refused(worker: Worker) -> None:
    with pytest.raises(InputError, match="mask_generator"):
        UpstreamReference(worker).run(
            component("mask_generator"), Case("mask_generator", 0, 1, 1)
        )


# What is not there.


@pytest.mark.parametrize(
    ("name", "says"),
    [("lac", r"lac\.model\.lac does not import"), ("vampnet", "vampnet does not import")],
)
def test_the_module_that_is_missing_is_named(tmp_path: Path, name: str, says: str) -> None:
    part = tmp_path / "packages"
    shutil.copytree(STUB, part, ignore=shutil.ignore_patterns(name))
    with (
        pytest.raises(EnvironmentLacksError, match=says),
        open_worker(python_with(tmp_path, part), Checkpoints(GOLDEN / "a")),
    ):
        pass


def test_an_interpreter_without_torch_says_so(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "torch.py").write_text("raise ImportError('No module named torch')")
    python = python_with(tmp_path, tmp_path / "empty")
    with (
        pytest.raises(EnvironmentLacksError, match="No module named torch"),
        open_worker(python, Checkpoints(GOLDEN / "a")),
    ):
        pass


def test_an_interpreter_in_the_working_folder_is_that_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``./python`` is no name to look up among the programs of the machine."""
    python_with(tmp_path, STUB)
    monkeypatch.chdir(tmp_path)
    with open_worker("./python", Checkpoints(GOLDEN / "a")) as found:
        assert "published packages" in found.description


def test_no_such_interpreter_is_bad_usage(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match="no such program"),
        open_worker(tmp_path / "absent", Checkpoints(GOLDEN / "a")),
    ):
        pass


@pytest.mark.parametrize("kind", ["prefixed", "safetensors", "unsaid"])
def test_files_that_the_packages_do_not_open_reach_them_as_they_do(
    stub_python: Path, tmp_path: Path, kind: str
) -> None:
    """A compiled model's keys would pass in silence, and `flash_attn` would be asked for."""
    folder = copy_of(GOLDEN / "a", tmp_path / "set")
    path = folder / "coarse.pth"
    content = torch.load(path, weights_only=True)
    state, kwargs = content["state_dict"], content["metadata"]["kwargs"]
    lora = {f"module.{key}": value * 2 for key, value in state.items() if ".lora_" in key}
    overlay = {"coarse": saved(lora, tmp_path / "lora.pth")}
    if kind == "safetensors":
        save_file(state, folder / "coarse.safetensors", {"kwargs": json.dumps(kwargs)})
        path.unlink()
    else:
        if kind == "prefixed":
            content["state_dict"] = {f"_orig_mod.{k}": value for k, value in state.items()}
        del kwargs["flash_attn"]
        saved(content, path)
    codes = {"codes": np.arange(24).reshape(1, 2, 12)}
    with open_worker(stub_python, Checkpoints(folder, overlay)) as found:
        logits = found.call("logits", codes, model="coarse")["logits"]
    plain = {key.removeprefix("module."): value for key, value in lora.items()}
    given = {"coarse": saved(plain, tmp_path / "plain.pth")}
    with open_worker(stub_python, Checkpoints(GOLDEN / "a", given)) as found:
        expected = found.call("logits", codes, model="coarse")["logits"]
    np.testing.assert_array_equal(logits, expected)
