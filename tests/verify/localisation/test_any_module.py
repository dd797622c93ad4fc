"""The walk as a library: networks that are not ours, sound and with a planted defect."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from torch import nn

import vampnet_onnx
from tests.support.edited import edited, replanted, scaled
from tests.support.foreign import convolutional, encoder, odd
from vampnet_onnx import InputError, export_with_paths, localise
from vampnet_onnx.verify.localisation.nonfinite import EXPORT, NEITHER

INPUTS = {
    "convolutional": torch.randn(2, 3, 9, 9, generator=torch.Generator().manual_seed(1)),
    "encoder": torch.randn(2, 7, 16, generator=torch.Generator().manual_seed(1)),
}


@pytest.fixture(scope="module")
def networks() -> dict[str, nn.Module]:
    return {"convolutional": convolutional(), "encoder": encoder()}


@pytest.fixture(scope="module")
def files(networks: dict[str, nn.Module], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each exported by us, and by torch with its optimiser, which folds batch norms."""
    folder = tmp_path_factory.mktemp("foreign")
    for name, module in networks.items():
        export_with_paths(module, INPUTS[name], folder / f"{name}.onnx")
        torch.onnx.export(
            module,
            (INPUTS[name],),
            folder / f"{name}.torch.onnx",
            dynamo=True,
            verbose=False,
            external_data=False,
            dynamic_shapes=({0: torch.export.Dim.AUTO},),
        )
    return folder


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("suffix", ["onnx", "torch.onnx"])
def test_no_module_of_a_sound_file_is_named(
    networks: dict[str, nn.Module], files: Path, name: str, suffix: str
) -> None:
    before = {key: value.clone() for key, value in networks[name].state_dict().items()}
    found = localise(networks[name], files / f"{name}.{suffix}", INPUTS[name])
    assert found.culprits == () and found.what == "" and found.birth.verdict == NEITHER
    assert len(found.findings) >= 6
    assert all(finding.error < 1e-6 for finding in found.findings)
    assert "no module introduces an error" in repr(found)
    # The module is as it was, and PyTorch's fused attention is on again.
    assert all(torch.equal(before[k], v) for k, v in networks[name].state_dict().items())
    assert torch.backends.mha.get_fastpath_enabled()


DEFECTS = [
    ("convolutional.onnx", "stem.0.weight", "stem.0", "weight scaled by 1.01"),
    ("convolutional.onnx", "block.1.running_var", "block.1", "running_var scaled by 1.01"),
    ("convolutional.torch.onnx", "block.0.weight", "block.1", "block.0.weight scaled by 1.01"),
    ("encoder.onnx", "layers.1.linear2.weight", "layers.1.linear2", "weight scaled by 1.01"),
    (
        "encoder.onnx",
        "layers.0.self_attn.in_proj_weight",
        "layers.0.self_attn",
        "in_proj_weight scaled by 1.01",
    ),
    ("encoder.torch.onnx", "layers.0.norm2.bias", "layers.0.norm2", "bias scaled by 1.01"),
]


@pytest.mark.parametrize(("file", "weight", "culprit", "what"), DEFECTS)
def test_a_planted_defect_is_named_with_what_happened(
    networks: dict[str, nn.Module],
    files: Path,
    tmp_path: Path,
    file: str,
    weight: str,
    culprit: str,
    what: str,
) -> None:
    name = file.split(".")[0]
    planted = scaled(files / file, weight, 1.01, tmp_path)
    found = localise(networks[name], planted, INPUTS[name].numpy())
    assert found.culprits == (culprit,) and found.what == what
    assert f"{culprit} ({what})" in repr(found)
    assert [row["path"] for row in found.to_rows() if row["culprit"]] == [culprit]
    assert found.cut_out is not None and found.cut_out.error > 1e-4


def test_a_defect_that_a_later_norm_takes_away_is_named(
    networks: dict[str, nn.Module], files: Path, tmp_path: Path
) -> None:
    name = "layers.0.self_attn.out_proj.bias"
    file = edited(files / "encoder.onnx", name, lambda b: b + np.float32(0.1), tmp_path)
    found = localise(networks["encoder"], file, INPUTS["encoder"])
    assert found.culprits == ("layers.0.self_attn",)
    assert found.what == "out_proj.bias shifted by 0.1"


def test_an_attribute_and_a_nan_are_told(
    networks: dict[str, nn.Module], files: Path, tmp_path: Path
) -> None:
    def other_epsilon(model: ir.Model) -> None:
        norms = [node for node in model.graph if node.op_type == "LayerNormalization"]
        norms[1].attributes["epsilon"] = ir.AttrFloat32("epsilon", 1e-2)

    file = replanted(files / "encoder.onnx", other_epsilon, tmp_path)
    found = localise(networks["encoder"], file, INPUTS["encoder"])
    assert found.culprits == ("layers.0.norm2",)
    assert found.what.endswith("attribute epsilon is 0.01, expected 1e-05")
    file = scaled(files / "encoder.onnx", "layers.0.norm2.weight", np.inf, tmp_path)
    found = localise(networks["encoder"], file, INPUTS["encoder"])
    assert found.birth.verdict == EXPORT and found.birth.node_module == "layers.0.norm2"


def test_a_module_with_tuples_names_and_calls_twice_is_walked(tmp_path: Path) -> None:
    module, x, scale = odd(), torch.randn(3, 6), torch.tensor(2.0)
    inputs = {"scale": scale, "x": x.numpy()}
    file = export_with_paths(module, inputs, tmp_path / "odd.onnx")
    found = localise(module, file, inputs)
    assert found.culprits == ()
    walked = {finding.path for finding in found.findings}
    assert {"parts.lists.0.0", "two", "two.low", "two.high"} <= walked
    planted = scaled(file, "two.high.weight", 1.01, tmp_path)
    found = localise(module, planted, inputs)
    assert found.culprits == ("two.high",) and found.what == "weight scaled by 1.01"
    # A module that is called twice cannot be told from itself; what holds it is named.
    planted = scaled(file, "twice.weight", 1.01, tmp_path)
    found = localise(module, planted, inputs)
    assert found.culprits == ("",) and "twice.weight scaled by 1.01" in found.what


class _Fixed(nn.Module):
    """Makes a float32 tensor of its own, so it does not run in float64."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x @ torch.ones(4, 4))


def test_of_what_does_not_run_in_float64_nothing_is_put_down_to_rounding(
    tmp_path: Path,
) -> None:
    module, x = nn.Sequential(_Fixed()).eval(), torch.randn(3, 4)
    file = export_with_paths(module, x, tmp_path / "fixed.onnx")
    assert localise(module, file, x).culprits == ()
    planted = scaled(file, "0.layer.weight", 1 + 1e-4, tmp_path)
    assert localise(module, planted, x).culprits == ("0.layer",)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((INPUTS["encoder"],) * 5, "inputs do not fit TransformerEncoder.forward"),
        ({"source": INPUTS["encoder"]}, "inputs do not fit TransformerEncoder.forward"),
        ((INPUTS["encoder"], INPUTS["encoder"]), "takes 1 tensors (src); the inputs hold 2"),
        (INPUTS["encoder"].double(), "takes src as float32"),
        (torch.zeros(2, 8, 16), "given float32[2, 8, 16]"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(
    networks: dict[str, nn.Module], files: Path, inputs: object, message: str
) -> None:
    with pytest.raises(InputError) as error:
        localise(networks["encoder"], files / "encoder.onnx", inputs)
    assert message in str(error.value)


def without_notes(path: Path) -> None:
    model = onnx.load(str(path))
    for node in model.graph.node:
        node.ClearField("metadata_props")
    onnx.save(model, str(path))


def damage(path: Path) -> None:
    path.write_bytes(b"no graph")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_notes, "carry no module paths"),
        (damage, "not an ONNX model that can be read"),
        (Path.unlink, "no such ONNX file"),
    ],
)
def test_a_file_that_cannot_be_walked_is_refused_with_the_way_out(
    networks: dict[str, nn.Module],
    files: Path,
    tmp_path: Path,
    change: Callable[[Path], None],
    message: str,
) -> None:
    path = tmp_path / "file.onnx"
    path.write_bytes((files / "encoder.onnx").read_bytes())
    change(path)
    with pytest.raises(InputError) as error:
        localise(networks["encoder"], path, INPUTS["encoder"])
    assert message in str(error.value)
    if change is without_notes:
        assert "export_with_paths" in str(error.value)


def test_a_module_in_training_is_refused(files: Path, tmp_path: Path) -> None:
    module = encoder().train()
    for call in (
        lambda: localise(module, files / "encoder.onnx", INPUTS["encoder"]),
        lambda: vampnet_onnx.export_with_paths(module, INPUTS["encoder"], tmp_path / "x.onnx"),
    ):
        with pytest.raises(InputError, match=r"training mode; call \.eval\(\)"):
            call()
