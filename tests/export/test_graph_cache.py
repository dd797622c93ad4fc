"""Graphs that are kept: what is damaged, foreign or of another source is never used."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from vampnet_onnx.configs.manifest import PassRecord
from vampnet_onnx.export import graph_cache
from vampnet_onnx.export.components.component import Structure
from vampnet_onnx.export.components.registry import structure_of
from vampnet_onnx.export.graph_cache import GraphCache
from vampnet_onnx.export.trace import GraphRequest, OpenGraph
from vampnet_onnx.models import Checkpoints, CodecDims
from vampnet_onnx.models.checkpoints.random_checkpoint import sizes
from vampnet_onnx.verify.causes.fresh import fresh_graph

DIMS = CodecDims.from_kwargs(sizes()["demo"]["codec"], "sizes.toml")
ASKED = GraphRequest(Structure("codec_encoder", "", DIMS), 20)
OTHER = GraphRequest(Structure("codec_decoder", "", DIMS), 20)
PASSES = (PassRecord(name="Simplify", changed=3, details="é"),)
GRAPH = OpenGraph(bytes(range(256)) * 4, ("a.weight", "b.bias"), PASSES)


@pytest.fixture(autouse=True)
def any_bytes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take `GRAPH` for a graph, but where a test has a real one."""
    if "real" not in request.fixturenames:
        monkeypatch.setattr(graph_cache, "require_sound", lambda *_: None)


@pytest.fixture
def notes() -> list[str]:
    return []


@pytest.fixture
def cache(tmp_path: Path, notes: list[str]) -> GraphCache:
    return GraphCache(tmp_path / "graphs", notes.append)


def entry(tmp_path: Path) -> Path:
    (found,) = (tmp_path / "graphs").iterdir()
    return found


def test_a_kept_graph_is_the_one_that_was_given(cache: GraphCache, notes: list[str]) -> None:
    assert cache.get(ASKED) is None
    cache.keep(ASKED, GRAPH)
    assert cache.get(ASKED) == GRAPH and cache.get(OTHER) is None
    assert cache.get(GraphRequest(ASKED.structure, 21)) is None
    assert notes == []


def test_which_graphs_are_used_is_noted(
    cache: GraphCache, tmp_path: Path, notes: list[str]
) -> None:
    cache.note_used([])
    assert notes == []
    cache.note_used([OTHER, GraphRequest(OTHER.structure, 21)])
    assert notes == [f"graphs kept by earlier runs in {tmp_path / 'graphs'}: codec_decoder"]


@pytest.mark.parametrize("at", [0, 5, 25, 60, 90, 200, -1500, -1100, -1])
def test_a_damaged_entry_is_not_used_and_made_again(
    cache: GraphCache, tmp_path: Path, notes: list[str], at: int
) -> None:
    cache.keep(ASKED, GRAPH)
    path = entry(tmp_path)
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    assert cache.get(ASKED) is None
    assert notes == [f"{path}: damaged; the graph is made again"]
    cache.keep(ASKED, GRAPH)
    assert cache.get(ASKED) == GRAPH


@pytest.mark.parametrize("left", [0, 10, 80, 300, -1])
def test_a_cut_entry_is_not_used(
    cache: GraphCache, tmp_path: Path, notes: list[str], left: int
) -> None:
    cache.keep(ASKED, GRAPH)
    path = entry(tmp_path)
    path.write_bytes(path.read_bytes()[:left])
    assert cache.get(ASKED) is None and "damaged" in notes[0]


def test_an_entry_under_anothers_name_is_not_used(
    cache: GraphCache, tmp_path: Path, notes: list[str]
) -> None:
    cache.keep(OTHER, GRAPH)
    other = entry(tmp_path)
    cache.keep(ASKED, GRAPH)
    for path in (tmp_path / "graphs").iterdir():
        path.write_bytes(other.read_bytes())
    assert cache.get(ASKED) is None and "of another graph" in notes[0]
    assert cache.get(OTHER) == GRAPH


@pytest.mark.parametrize("what", ["source_hash", "toolchain", "machine"])
def test_another_source_or_tool_or_machine_has_graphs_of_its_own(
    cache: GraphCache, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    cache.keep(ASKED, GRAPH)
    with monkeypatch.context() as patch:
        if what == "machine":
            patch.setattr(graph_cache.platform, "machine", lambda: "riscv")
        else:
            value = "0" * 64 if what == "source_hash" else {"torch": "1.0"}
            patch.setattr(graph_cache, what, lambda: value)
        assert cache.get(ASKED) is None
    assert cache.get(ASKED) == GRAPH


def test_a_folder_that_cannot_be_written_stops_nothing(
    tmp_path: Path, notes: list[str]
) -> None:
    (tmp_path / "graphs").write_text("a file")
    cache = GraphCache(tmp_path / "graphs", notes.append)
    assert cache.get(ASKED) is None
    cache.keep(ASKED, GRAPH)
    assert any("codec_encoder is not kept" in note for note in notes)


def test_the_graphs_not_used_for_longest_go(tmp_path: Path) -> None:
    cache = GraphCache(tmp_path / "graphs", most_bytes=5000)
    asked = [GraphRequest(ASKED.structure, opset) for opset in range(18, 24)]
    for age, request in enumerate(asked):
        cache.keep(request, GRAPH)
        newest = max((tmp_path / "graphs").iterdir(), key=lambda path: path.stat().st_mtime_ns)
        os.utime(newest, (1000 + age, 1000 + age))
        assert cache.get(asked[0]) == GRAPH  # and so used just now
    found = [cache.get(request) is not None for request in asked]
    assert found[0] and found[-1] and not all(found)
    assert sum(path.stat().st_size for path in (tmp_path / "graphs").iterdir()) <= 5000


def test_runs_at_once_do_not_hinder_each_other(tmp_path: Path, notes: list[str]) -> None:
    def use(_: int) -> bool:
        cache = GraphCache(tmp_path / "graphs", notes.append, most_bytes=4000)
        cache.keep(ASKED, GRAPH)
        cache.keep(OTHER, GRAPH)
        return cache.get(ASKED) in (GRAPH, None)

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(use, range(40)))
    assert notes == []


@pytest.mark.parametrize("header", [b"[]", b"{}", b"no JSON"])
def test_an_entry_whose_digest_is_right_but_says_nothing_is_not_used(
    cache: GraphCache, tmp_path: Path, notes: list[str], header: bytes
) -> None:
    cache.keep(ASKED, GRAPH)
    body = header + b"\n" + GRAPH.model
    digest = hashlib.sha256(body).hexdigest().encode()
    entry(tmp_path).write_bytes(graph_cache._FORMAT + digest + b"\n" + body)
    assert cache.get(ASKED) is None and "damaged; the graph is made again" in notes[0]


Edit = Callable[[onnx.ModelProto], object]


@pytest.fixture
def real(nano: Path) -> tuple[GraphRequest, OpenGraph]:
    """A graph of a network, as this run of the tests made it."""
    checkpoints = Checkpoints(nano)
    structure = structure_of("coarse", "", checkpoints.codec_dims, checkpoints.dims)
    assert structure is not None
    asked = GraphRequest(structure, 20)
    return asked, fresh_graph(asked)


def _first(model: onnx.ModelProto, kind: str) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.op_type == kind)


def _constant(model: onnx.ModelProto) -> onnx.TensorProto:
    floats = (c for c in model.graph.initializer if c.data_type == onnx.TensorProto.FLOAT)
    return next(floats)


FORGED: dict[str, Edit] = {
    "empty": lambda model: model.Clear(),
    "no graph": lambda model: model.ClearField("graph"),
    "no node": lambda model: model.graph.ClearField("node"),
    "a node less": lambda model: model.graph.node.remove(_first(model, "Softmax")),
    "a node that is none": lambda model: setattr(_first(model, "Softmax"), "op_type", "Soft"),
    "no module path": lambda model: _first(model, "Softmax").ClearField("metadata_props"),
    "no output": lambda model: model.graph.ClearField("output"),
    "an output of another name": lambda model: setattr(model.graph.output[0], "name", "codes"),
    "a weight of another dtype": lambda model: setattr(
        model.graph.input[-1].type.tensor_type, "elem_type", onnx.TensorProto.DOUBLE
    ),
    "an input of another dtype": lambda model: setattr(
        model.graph.input[0].type.tensor_type, "elem_type", onnx.TensorProto.INT32
    ),
    "a constant of another dtype": lambda model: setattr(
        _constant(model), "data_type", onnx.TensorProto.INT32
    ),
    "a constant less": lambda model: model.graph.initializer.remove(_constant(model)),
    "a constant of NaN": lambda model: _constant(model).CopyFrom(
        onnx.numpy_helper.from_array(np.float32(np.nan), _constant(model).name)
    ),
    "another opset": lambda model: setattr(model.opset_import[0], "version", 19),
}


@pytest.mark.parametrize("how", FORGED)
def test_an_entry_that_is_no_such_graph_is_not_used_though_its_digest_is_right(
    real: tuple[GraphRequest, OpenGraph], cache: GraphCache, notes: list[str], how: str
) -> None:
    asked, graph = real
    model = onnx.ModelProto.FromString(graph.model)
    FORGED[how](model)
    _is_refused(cache, asked, replace(graph, model=model.SerializeToString()), notes)
    cache.keep(asked, graph)
    assert cache.get(asked) == graph


@pytest.mark.parametrize(
    "change",
    [
        {"model": b"no protobuf"},
        {"weights": ()},
        {"weights": ("classifier.nothing",)},
        {"passes": PASSES},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_stands_beside_the_graph_is_looked_at_too(
    real: tuple[GraphRequest, OpenGraph],
    cache: GraphCache,
    notes: list[str],
    change: dict[str, Any],
) -> None:
    asked, graph = real
    _is_refused(cache, asked, replace(graph, **change), notes)


def _is_refused(
    cache: GraphCache, asked: GraphRequest, graph: OpenGraph, notes: list[str]
) -> None:
    cache.keep(asked, graph)
    assert cache.get(asked) is None
    (note,) = notes
    assert "holds no graph of coarse (" in note and note.endswith("; it is made again")
    assert "\n" not in note
