"""A generator is the pipeline's own loop in one graph, with its transformer's weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests.support.command_line import Cli, refused
from tests.support.exports import export_to, record_of, session_of
from vampnet_onnx.configs.artifacts import Artifacts, open_artifacts
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.generator import generator_defaults
from vampnet_onnx.configs.manifest import METADATA_PREFIX
from vampnet_onnx.pipeline.version.session import open_session

SHARED = {"coarse.generator": "coarse", "c2f.generator": "c2f"}


def test_a_generator_has_its_transformers_weights_and_no_data_of_its_own(
    generator_artifacts: Artifacts,
) -> None:
    for name, owner in SHARED.items():
        record, of = (record_of(generator_artifacts, n) for n in (name, owner))
        assert record.data == of.data is not None
        assert record.size == record.file.size < 1 << 20
        graph = onnx.load(generator_artifacts.path(record), load_external_data=False).graph
        outside = [t for t in graph.initializer if t.external_data]
        assert {e.value for t in outside for e in t.external_data if e.key == "location"} == {
            of.data.name
        }
        held = onnx.load(generator_artifacts.path(of), load_external_data=False).graph
        assert len(outside) == sum(bool(t.external_data) for t in held.initializer) > 5
    there = {path.name for path in generator_artifacts.folder.glob("*.data")}
    assert there == {"coarse.onnx.data", "c2f.onnx.data"}


def test_what_nobody_chooses_is_in_the_manifest_and_in_the_file(
    generator_artifacts: Artifacts,
) -> None:
    for name, owner in SHARED.items():
        record = record_of(generator_artifacts, name)
        assert record.defaults == generator_defaults(owner)
        given = {item.name for item in record.inputs}
        assert given - record.defaults.keys() == {"codes", "mask", "current", "seed"}
        file = open_session(generator_artifacts, record)
        assert json.loads(file.metadata[f"{METADATA_PREFIX}defaults"]) == record.defaults
    assert record.defaults["steps"] == 2  # what vamping asks of c2f


@pytest.mark.parametrize("component", ["coarse", "coarse.latents"])
def test_other_components_have_no_defaults(nano_artifacts: Artifacts, component: str) -> None:
    assert record_of(nano_artifacts, component).defaults == {}


@pytest.mark.parametrize(
    "changed",
    [
        {"inputs": ("latents",)},
        {"variants": ("int8",)},
        {"components": ("sampler",)},
    ],
)
def test_a_generator_needs_a_transformer_by_codes_in_float32(
    nano: Path, tmp_path: Path, changed: dict[str, Any]
) -> None:
    with pytest.raises(InputError, match="takes codes, in float32"):
        export_to(tmp_path / "v1", nano, generator=True, **changed)


def test_weights_that_changed_are_refused_before_the_generator_runs(
    generator_artifacts: Artifacts, tmp_path: Path
) -> None:
    folder = tmp_path / "v1"
    shutil.copytree(generator_artifacts.folder, folder)
    data = folder / "coarse.onnx.data"
    content = bytearray(data.read_bytes())
    content[1000] ^= 1
    data.write_bytes(content)
    with pytest.raises(InputError, match=r"coarse\.onnx\.data: its content is not"):
        open_artifacts(folder)


def test_logits_that_are_not_finite_end_the_loop_and_name_the_step(
    generator_artifacts: Artifacts,
) -> None:
    record = record_of(generator_artifacts, "coarse.generator")
    run = session_of(generator_artifacts, "coarse.generator")
    books = record.dim("n_codebooks")
    values = record.defaults | {"seed": 5, "steps": 4, "temperature": 1e-45}
    kinds = {item.name: item.dtype for item in record.inputs}
    inputs = {name: np.array(value, kinds[name]) for name, value in values.items()}
    codes = np.zeros((1, books, 7), np.int64)
    inputs |= {"codes": codes, "mask": np.ones_like(codes), "current": codes}
    names = [item.name for item in run.get_outputs()]
    made = dict(zip(names, run.run(None, inputs), strict=True))
    assert made["bad_logits"] == -1 and made["bad_confidence"] == 0
    assert len(made["sampled"]) == 1


def test_the_command_line_makes_generators_and_says_what_shares_what(
    cli: Cli, nano: Path, tmp_path: Path
) -> None:
    made = cli(
        *("export", "--checkpoint", nano, "--artifacts", tmp_path, "--component", "c2f"),
        *("--generator", "--json"),
    )
    assert set(json.loads(made.out)["files"]) == {"c2f", "c2f.generator"}
    refused(
        cli(
            *("export", "--checkpoint", nano, "--artifacts", tmp_path, "--component", "c2f"),
            *("--generator", "--input", "latents"),
        ),
        "takes codes",
        "--generator",
    )
