"""The demo set that comes along: what its card says of it holds."""

from __future__ import annotations

import json
import tomllib
from dataclasses import asdict
from fnmatch import fnmatch
from pathlib import Path

import pytest

from training.music import piece
from training.quality import measure
from training.recipe import load_recipe
from training.styles import STYLES
from vampnet_onnx.configs.packaged import CLIP, packaged_set
from vampnet_onnx.models import Checkpoints, lora_owner, open_models
from vampnet_onnx.pipeline.files.audio_files import open_audio

ROOT = Path(__file__).parents[2]
DEMO = packaged_set("demo")
CARD = (DEMO / "README.md").read_text("utf-8")
QUALITY = json.loads((DEMO / "quality.json").read_text("utf-8"))
RECOGNITION = json.loads((DEMO / "recognition.json").read_text("utf-8"))
LORAS = sorted((DEMO / "lora").glob("*.pth"))


def test_the_set_is_whole_trained_and_small() -> None:
    assert Checkpoints(DEMO).present == ["codec", "coarse", "c2f", "wavebeat"]
    assert {source.label for source in open_models(DEMO).sources} == {""}
    sizes = [(DEMO / f"{name}.pth").stat().st_size for name in Checkpoints(DEMO).present]
    assert sum(sizes) < 12e6 and sizes[-1] < 0.3e6


def test_the_measured_quality_is_what_was_asked_for() -> None:
    assert min(QUALITY["codec"]["codebook_usage"]) >= 0.5
    assert set(QUALITY["transformers"]) == set(QUALITY["lora"]) == {"coarse", "c2f"}
    assert all(found["reduction"] >= 0.25 for found in QUALITY["transformers"].values())
    for found in QUALITY["lora"].values():
        assert found["cross_entropy_after"] < found["cross_entropy_before"]
    assert set(QUALITY["wavebeat"]) == set(STYLES)
    assert all(found["beats"] >= 0.85 for found in QUALITY["wavebeat"].values())
    for clip in RECOGNITION.values():
        assert set(clip) == {"trained", "untrained"} and clip["trained"]
        for figure, value in clip["trained"].items():
            assert value > clip["untrained"][figure]
    own = RECOGNITION[CLIP]
    assert own["trained"]["vamp"] > own["untrained"]["vamp"] + 0.3


def test_the_committed_weights_have_the_measured_quality() -> None:
    """On a few of the pieces, so up to what pieces differ by."""
    found = asdict(measure(DEMO, load_recipe(), clips=12))
    codec, recorded = found["codec"], QUALITY["codec"]
    assert codec["mel_distance"] == pytest.approx(recorded["mel_distance"], rel=0.2)
    assert codec["si_sdr_db"] == pytest.approx(recorded["si_sdr_db"], abs=2)
    assert min(codec["codebook_usage"]) >= 0.5
    assert set(found["transformers"]) == set(found["lora"]) == {"coarse", "c2f"}
    for name, quality in found["transformers"].items():
        recorded = QUALITY["transformers"][name]
        assert quality["cross_entropy"] == pytest.approx(recorded["cross_entropy"], rel=0.15)
    for quality in found["lora"].values():
        assert quality["cross_entropy_after"] < quality["cross_entropy_before"]
    assert set(found["wavebeat"]) == set(STYLES)
    for style, quality in found["wavebeat"].items():
        for kind, value in quality.items():
            assert value == pytest.approx(QUALITY["wavebeat"][style][kind], abs=0.15)


def test_the_card_states_the_measured_figures() -> None:
    codec = QUALITY["codec"]
    stated = [f"{codec['mel_distance']:.3f}", f"{codec['si_sdr_db']:.1f} dB"]
    stated += [f"{100 * min(codec['codebook_usage']):.0f} %"]
    for found in QUALITY["transformers"].values():
        stated += [f"{found['cross_entropy']:.2f}", f"{found['unigram_entropy']:.2f}"]
        stated += [f"{100 * found['reduction']:.0f} %"]
    for found in QUALITY["lora"].values():
        stated += [f"{v:.2f}" for v in found.values()]
    for found in QUALITY["wavebeat"].values():
        stated += [f"| {found['beats']:.2f} | {found['downbeats']:.2f} |"]
    for clip in RECOGNITION.values():
        stated += [f"{v:.2f}" for found in clip.values() for v in found.values()]
    assert [figure for figure in stated if figure not in CARD] == []


@pytest.mark.parametrize("path", LORAS, ids=lambda path: path.stem)
def test_a_lora_file_is_known_by_its_transformer(path: Path) -> None:
    assert path.stem.endswith(lora_owner(DEMO, path))


def test_the_clip_is_the_piece_of_the_recipe() -> None:
    file = open_audio(DEMO / CLIP)
    clip = load_recipe().clip
    made = piece(STYLES[clip.style], clip.seed, seconds=file.seconds, rate=file.sample_rate)
    assert file.read()[0] == pytest.approx(made, abs=1e-6)


def test_every_file_of_the_set_is_shipped_in_the_wheel() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["vampnet_onnx.checkpoints"]
    files = [p.relative_to(DEMO.parent).as_posix() for p in DEMO.rglob("*") if p.is_file()]
    left = [
        f
        for f in files
        if not any(fnmatch(f, p) and f.count("/") == p.count("/") for p in patterns)
    ]
    assert left == [] and len(files) >= 10
