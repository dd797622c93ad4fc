"""Modules run one by one: on which inputs, and what none of them reaches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import Tensor, nn

from tests.support.edited import edited
from vampnet_onnx import export_with_paths
from vampnet_onnx.verify.localisation.graph import GraphModules
from vampnet_onnx.verify.localisation.probe import EVERY_ROW, SCALED, Allowance, probe

ALLOWANCE = Allowance(factor=4, floor=2e-6, scale=2**-10)
WIDTH = 24


class Ramp(nn.Module):
    """Gives as many rows as it is asked for, of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(9, WIDTH))

    def forward(self, rows: int) -> Tensor:
        return self.weight[:rows] * 2


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.ramp = Ramp()
        self.norm = nn.LayerNorm(WIDTH)
        self.linear = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.affine = nn.Linear(3 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.affine(self.linear(self.norm(x + self.ramp(3))))
        return found


@pytest.fixture(scope="module")
def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Network().eval()


@pytest.fixture(scope="module")
def file(network: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("probe") / "network.onnx"
    export_with_paths(network, GIVEN, file)
    return file


GIVEN = torch.randn(2, 3, WIDTH, generator=torch.Generator().manual_seed(1))


def inputs(graph: GraphModules) -> dict[str, np.ndarray]:
    return dict(zip(graph.input_names, [GIVEN.numpy()], strict=True))


def test_what_is_linear_is_not_looked_at_twice(network: nn.Module, file: Path) -> None:
    graph = GraphModules(file)
    found = probe(network, graph, inputs(graph), ALLOWANCE)
    assert {(item.path, item.how) for item in found if item.path} >= {
        ("norm", ""),
        ("norm", SCALED),
        ("linear", ""),
        ("affine", ""),
        ("affine", SCALED),
    }
    assert ("linear", SCALED) not in {(item.path, item.how) for item in found}
    assert all(item.error < 1 for item in found)


def test_a_bias_is_seen_where_inputs_are_small(
    network: nn.Module, file: Path, tmp_path: Path
) -> None:
    path = edited(file, "affine.bias", lambda x: x * np.float32(1.001), tmp_path)
    graph = GraphModules(path)
    found = {
        i.how: i.error
        for i in probe(network, graph, inputs(graph), ALLOWANCE)
        if i.path == "affine"
    }
    assert found[SCALED] > found[""] and found[SCALED] > 1


def test_what_a_file_cannot_be_given_is_no_green(network: nn.Module, file: Path) -> None:
    """The exporter took the number of rows for a constant."""
    graph = GraphModules(file)
    found = probe(network, graph, inputs(graph), ALLOWANCE, {"ramp": (5,)})
    assert [i.error for i in found if i.how == EVERY_ROW] == [float("inf")]


def test_a_part_gives_what_the_whole_gives(file: Path) -> None:
    """Weights that are lent to it are those of the file."""
    graph = GraphModules(file)
    (name,), (output,) = graph.input_names, graph.borders[""].outputs
    session = ort.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    (whole,) = session.run([output], {name: GIVEN.numpy()})
    np.testing.assert_allclose(
        graph.run(inputs(graph), [output])[output], whole, rtol=1e-5, atol=1e-6
    )
    assert "linear" in " ".join(i for i in graph.model.graph.initializers)  # still the file's
