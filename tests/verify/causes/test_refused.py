"""Which node a runtime stumbles over: by its own words, or by cutting the graph off."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.exports import record_of
from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.runtime import Runtime
from vampnet_onnx.pipeline.version.session import Opened, Session
from vampnet_onnx.verify.causes.refused import refused_node
from vampnet_onnx.verify.localisation.graph import GraphModules

INPUTS = {"codes": np.arange(10, dtype=np.int64).reshape(1, 2, 5)}


@pytest.fixture(scope="module")
def path(nano_artifacts: Artifacts) -> Path:
    return nano_artifacts.path(record_of(nano_artifacts, "coarse"))


def session(path: Path) -> Opened:
    return Session(path, Runtime(threads=1))


def test_a_node_that_is_named_is_the_one_and_none_that_a_longer_name_holds(path: Path) -> None:
    node = GraphModules(path).nodes[3]
    for text in (f"no kernel for ({node.name})", f"node '{node.name}'", node.name):
        assert refused_node(path, text, session, INPUTS) == node
    for text in (f"node {node.name}0", f"node a/{node.name}", f"{node.name}/b"):
        assert refused_node(path, text, session, INPUTS) is None


def test_the_node_stands_before_what_it_takes(path: Path) -> None:
    first, second = GraphModules(path).nodes[3:5]
    for node, other in ((first, second), (second, first)):
        text = f'In Node, ("{node.name}", NoSuchOp) : ("{other.name}": tensor(bool),)'
        assert refused_node(path, text, session, INPUTS) == node


def test_else_it_is_the_first_node_without_which_the_graph_runs(path: Path) -> None:
    for operator in ("MatMul", "Softmax"):

        def opened(part: Path, word: bytes = operator.encode()) -> Opened:
            if word in part.read_bytes():
                raise InputError("no")
            return session(part)

        found = refused_node(path, "no", opened, INPUTS)
        first = next(n for n in GraphModules(path).nodes if n.operator == operator)
        assert found is not None and found.name == first.name


def test_where_the_graph_runs_after_all_none_is_named(path: Path) -> None:
    assert refused_node(path, "no", session, INPUTS) is None
