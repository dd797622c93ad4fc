"""A release opens its checkpoints once, and audits what comes of a kept graph."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import onnx
import pytest

from tests.support.checkpoint_files import count_readings, lora_of, saved
from vampnet_onnx.configs.config import config_from
from vampnet_onnx.export.components.registry import structure_of
from vampnet_onnx.export.graph_cache import GraphCache
from vampnet_onnx.export.graphs import Graphs
from vampnet_onnx.export.trace import GraphRequest, graph_of
from vampnet_onnx.models import Checkpoints
from vampnet_onnx.verify import release
from vampnet_onnx.verify.causes import fresh
from vampnet_onnx.verify.release import release_set
from vampnet_onnx.verify.verification import graphs_afresh


def test_a_release_hashes_a_file_once_and_looks_at_its_weights_once(
    nano: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lora = saved(lora_of(nano), tmp_path / "style.pth")
    config = config_from(
        {
            "model": "mine",
            "checkpoint": {"path": nano, "lora": {"coarse": lora}},
            "export": {"rates": []},
            "verify": {"seeds": [0], "frames": [3], "batches": [1]},
        },
        source="my.toml",
    )
    calls = count_readings(monkeypatch)
    found = release_set(
        config,
        artifacts=tmp_path / "artifacts",
        report=tmp_path / "report",
        progress=lambda _name, _done, _total: None,
    )
    names = ["codec.pth", "coarse.pth", "c2f.pth", "style.pth"]
    assert {source.name for source in found.report.sources} == set(names)
    hashed = {name: calls["sha256"][name] for name in names}
    assert hashed == calls["check_weights"] == dict.fromkeys(names, 1)
    # Dimensions, then the codec once and for all, and a transformer for the export, by itself
    # and in whole generations; its LoRA file by itself first instead.
    opened = calls["unpickle"]
    assert opened["codec.pth"] == 2
    assert max(opened.values()) <= 4


def test_what_comes_of_a_kept_graph_is_audited_against_one_made_now(
    nano: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who could write a sound entry of a graph that is not what would be made now."""
    monkeypatch.setattr(fresh, "_MADE", {})
    checkpoints = Checkpoints(nano)
    structure = structure_of("coarse", "", checkpoints.codec_dims, checkpoints.dims)
    assert structure is not None
    asked = GraphRequest(structure, 20)
    sound = graph_of(asked)
    model = onnx.ModelProto.FromString(sound.model)
    added = next(node for node in model.graph.node if node.op_type == "Add")
    added.input[:] = reversed(added.input)  # which changes no number
    monkeypatch.setenv("VAMPNET_ONNX_CACHE", str(tmp_path / "graphs"))
    other = dataclasses.replace(sound, model=model.SerializeToString())
    config = config_from(
        {
            "model": "mine",
            "checkpoint": {"path": nano},
            "export": {"components": ["coarse"]},
            "verify": {"seeds": [0], "frames": [3], "batches": [1]},
        },
        source="my.toml",
    )
    begun, found = list[list[GraphRequest]](), {}

    def graphs(requests: list[GraphRequest], jobs: int | None) -> Graphs:
        afresh = graphs_afresh(requests, jobs)
        begun.append(afresh.made_now)
        return afresh

    monkeypatch.setattr(release, "graphs_afresh", graphs)
    for name, graph in (("sound", sound), ("other", other)):
        GraphCache(tmp_path / "graphs").keep(asked, graph)
        outcome = release_set(
            config,
            artifacts=tmp_path / name,
            report=tmp_path / f"report-{name}",
            progress=lambda _name, _done, _total: None,
        )
        (component,) = outcome.report.components
        (found_by,) = [gate for gate in component.gates if gate.name == "audit"]
        found[name] = found_by.verdict
    assert found == {"sound": "PASS", "other": "FAIL"}
    assert begun == [[asked], []]  # beside the export, and once a process
