"""The model card: the hub's metadata, and lines for what the files can do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.report_samples import passing_report
from tests.support.verified import part_of
from tests.support.versions import staged_version
from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.manifest import AdapterRecord, Manifest
from vampnet_onnx.configs.store import read_manifest
from vampnet_onnx.reports import Report
from vampnet_onnx.reports.card import Licence, Place, render_card

MIT = Licence("mit")
PLACE = Place("hub:me/music", "https://hub/me/music/resolve/main")


def report_of(manifest: Manifest) -> Report:
    parts = [part_of(record) for record in manifest.components]
    parts.append(parts[0].model_copy(update={"name": "generation", "variant": ""}))
    return passing_report().model_copy(update={"components": parts})


def card_of(manifest: Manifest, licence: Licence = MIT) -> str:
    return render_card(manifest, report_of(manifest), licence, PLACE)


def metadata(card: str) -> Any:
    _, front, _ = card.split("---\n", 2)
    return yaml.safe_load(front)


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return read_manifest(staged_version(tmp_path / "v1"))


def test_the_metadata_is_what_a_hub_reads(manifest: Manifest) -> None:
    found = metadata(card_of(manifest))
    assert found["license"] == "mit" and "license_name" not in found
    assert found["library_name"] == "vampnet-onnx"
    assert found["pipeline_tag"] == "audio-to-audio" and "onnx" in found["tags"]
    other = Licence("other", "GPL-3.0-only", "https://spdx.org/licenses/GPL-3.0-only.html")
    found = metadata(card_of(manifest, other))
    assert found["license"] == "other" and found["license_name"] == "gpl-3.0-only"
    assert found["license_link"] == other.link


def test_every_component_has_its_size_and_its_gates(manifest: Manifest) -> None:
    card = card_of(manifest)
    assert "| coarse | `coarse.onnx` | 0.00 |" in card
    assert "| generation | several at work |" in card
    assert "**Random weights.**" in card
    assert "| 0.00 | ✅ PASS | 4 of 4 | logits_relative_l2 | 12x to spare |" in card


def test_what_the_files_cannot_do_is_not_offered(
    manifest: Manifest, generator_artifacts: Artifacts
) -> None:
    card = card_of(manifest)
    assert "vampnet-onnx vamp" not in card and 'open_artifacts("hub:me/music")' in card
    assert "```js" not in card and "export --generator" in card
    # Without the codec, generators alone play nothing.
    assert "```js" not in card_of(generator_artifacts.manifest)


def test_forms_and_a_browser_have_their_lines(
    forms_a: Path, generator_artifacts: Artifacts
) -> None:
    forms = read_manifest(forms_a)
    card = card_of(forms)
    assert "`--variant fp16`, `int8`" in card
    assert {"int8", "fp16"} <= {*metadata(card)["tags"]}
    assert "--artifacts hub:me/music" in card and 'VampPipeline.open("hub:me/music")' in card
    parts = {r.id: r for r in (*forms.components, *generator_artifacts.manifest.components)}
    whole = forms.model_copy(update={"components": tuple(parts.values())})
    assert 'open("https://hub/me/music/resolve/main", ort)' in card_of(whole)
    assert "vampnet-onnx serve hub:me/music" in card_of(whole)


def test_names_are_text_and_no_markup(manifest: Manifest) -> None:
    (record,) = manifest.components
    adapter = AdapterRecord(
        name="a`b", component="coarse", file=record.file, source=manifest.sources[0]
    )
    hostile = manifest.model_copy(
        update={"model": "<script>*x*\n---", "adapters": (adapter, adapter)}
    )
    card = card_of(hostile)
    assert "# &lt;script&gt;\\*x\\* ---" in card and "<script>" not in card
    assert "Adapters (`--adapter NAME`): ``a`b``." in card
    assert metadata(card)["license"] == "mit"
