"""A beat tracker's checkpoint is opened strictly, and nothing in it is run."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.models import Checkpoints
from vampnet_onnx.models.checkpoints.random_checkpoint import write_random_tracker
from vampnet_onnx.models.checkpoints.tracker import load_tracker, read_tracker

Content = dict[str, Any]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_random_tracker(tmp_path / "wavebeat.pth", seed=4)
    return tmp_path / "wavebeat.pth"


def changed(file: Path, change: Callable[[Content], object]) -> Path:
    content: Content = torch.load(file, weights_only=True)
    change(content)
    torch.save(content, file)
    return file


def test_a_random_one_is_read_back_and_says_what_it_is(file: Path) -> None:
    opened = read_tracker(file)
    model = load_tracker(opened)
    assert opened.label == "random" and model.dims.audio_sample_rate == 22050
    state = model.state_dict()
    assert state.keys() == opened.state.keys()
    assert all(torch.equal(state[key], value) for key, value in opened.state.items())


def test_counts_of_batches_are_no_weights(file: Path) -> None:
    key = "blocks.0.norm1.num_batches_tracked"
    changed(file, lambda content: content["state_dict"].update({key: torch.tensor(7)}))
    assert key not in load_tracker(read_tracker(file)).state_dict()


def test_a_frameworks_classes_are_read_as_data(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their names are in the pickle, and nothing of theirs is imported."""
    module = types.ModuleType("pytorch_lightning.utilities.parsing")
    attributes = type("AttributeDict", (dict,), {"__module__": module.__name__})
    stopping = type("EarlyStopping", (), {"__module__": module.__name__})
    module.AttributeDict, module.EarlyStopping = attributes, stopping  # type: ignore[attr-defined]
    for name in ("pytorch_lightning", "pytorch_lightning.utilities", module.__name__):
        monkeypatch.setitem(sys.modules, name, module)

    def change(content: Content) -> None:
        content["hyper_parameters"] = attributes(content["hyper_parameters"])
        content["callbacks"] = {stopping: {"wait": 3}}

    changed(file, change)
    for name in ("pytorch_lightning", "pytorch_lightning.utilities", module.__name__):
        monkeypatch.delitem(sys.modules, name)
    opened = read_tracker(file)
    assert opened.kwargs["audio_sample_rate"] == 22050
    assert not any(name.startswith("pytorch_lightning") for name in sys.modules)


class _Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("run",)


def test_what_wants_to_run_code_is_refused_by_name(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed(file, lambda content: content.update(extra=_Code()))
    with pytest.raises(InputError, match=r"wavebeat\.pth: the file wants to run code.*print"):
        read_tracker(file)
    assert capsys.readouterr().out == ""


def hyper(name: str, value: object) -> Callable[[Content], object]:
    return lambda content: content["hyper_parameters"].update({name: value})


def weight(key: str, *shape: int) -> Callable[[Content], object]:
    return lambda content: content["state_dict"].update({key: torch.zeros(shape)})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (hyper("audio_sample_rate", None), "hyper_parameters.audio_sample_rate = None"),
        (hyper("target_sample_rate", 86), "target_sample_rate = 86, but 5 blocks make 689"),
        (hyper("stack_size", 0), "hyper_parameters.stack_size = 0"),
        (lambda c: c["state_dict"].pop("output.weight"), "missing keys: 1 (output.weight)"),
        (weight("blocks.9.conv1.weight", 1), "blocks.0 to blocks.N"),
        (weight("blocks.1.conv1.weight", 6, 3, 4), "have [4, 5] taps"),
        (weight("blocks.1.conv1.weight", 6, 2, 5), "blocks.1.conv1.weight is (6, 2, 5)"),
        (weight("blocks.1.act1.weight", 2), "blocks.1.act1.weight is (2,)"),
        (weight("blocks.1.res_norm.weight", 3), "blocks.1.res_norm.weight is (3,)"),
        (hyper("causal", True), "hyper_parameters.causal = True; understood is False"),
        (hyper("stride", 4), "hyper_parameters.stride = 4; understood is 2"),
        (
            hyper("norm_type", "LayerNorm"),
            "norm_type = 'LayerNorm'; understood is 'BatchNorm'",
        ),
        (weight("blocks.1.norm2.weight", 6), "unexpected keys: 1 (blocks.1.norm2.weight)"),
    ],
    ids=lambda value: value.split(" ")[0] if isinstance(value, str) else "",
)
def test_what_does_not_fit_is_named(
    file: Path, change: Callable[[Content], object], says: str
) -> None:
    with pytest.raises(InputError) as refused:
        load_tracker(read_tracker(changed(file, change)))
    assert says in str(refused.value) and str(file) in str(refused.value)


def test_a_folder_has_one_or_not(nano: Path, tmp_path: Path, file: Path) -> None:
    for path in nano.glob("*.pth"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    opened = Checkpoints(tmp_path)
    assert opened.present == ["codec", "coarse", "c2f", "wavebeat"]
    assert opened.models_for(()).tracker is None
    found = opened.models_for(("wavebeat",))
    assert found.tracker is not None and found.sources[-1].role == "wavebeat"
    assert Checkpoints(nano).models_for(("wavebeat",)).tracker is None
    file.write_bytes(b"no checkpoint")
    with pytest.raises(InputError, match=r"wavebeat\.pth: truncated"):
        Checkpoints(tmp_path)
