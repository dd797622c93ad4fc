"""The ES module: what can be said of it without npm. ``nox -s web`` runs it on artifacts."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vampnet_onnx.configs.packaged import shipped
from vampnet_onnx.configs.settings import mask_settings
from vampnet_onnx.pipeline.steps.loudness import measure
from vampnet_onnx.pipeline.steps.noise import PhiloxDraws

WEB = Path(__file__).parents[2] / "web"
NODE = shutil.which("node")


def told(script: str, given: object) -> Any:
    """Return what a script prints as JSON, given `given`; SKIPPED without Node."""
    if NODE is None:
        pytest.skip("node is not installed: apt-get install nodejs")
    code = f"const given = {json.dumps(given)};\n{script}"
    done = subprocess.run(
        [NODE, "--input-type=module", "--eval", code],
        cwd=WEB,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_its_defaults_are_the_published_ones() -> None:
    text = (WEB / "src" / "defaults.js").read_text("utf-8")
    published = shipped("vamp_defaults.toml")
    found = json.loads(text.partition("DEFAULTS = ")[2].removesuffix(";\n"))
    assert found == {name: published[name] for name in ("mask", "vamp")}


def test_its_version_is_ours_and_its_lock_names_no_host_of_packages() -> None:
    project = tomllib.loads((WEB.parent / "pyproject.toml").read_text("utf-8"))["project"]
    assert (
        json.loads((WEB / "package.json").read_text("utf-8"))["version"] == project["version"]
    )
    lock = json.loads((WEB / "package-lock.json").read_text("utf-8"))
    assert len(lock["packages"]) > 5
    assert not [name for name, item in lock["packages"].items() if "resolved" in item]
    # A package that the lock vouches for by its hash alone may come from anywhere.
    assert all("integrity" in item for name, item in lock["packages"].items() if name)


@pytest.mark.parametrize("seed", [0, 7, 1 << 32, (1 << 64) - 1])
def test_a_mask_gets_the_numbers_of_its_seed(seed: int) -> None:
    shape, options = (1, 3, 41), mask_settings(periodic_prompt=13, dropout=0.3)
    uniform, roll, dropped = PhiloxDraws(seed).of_mask(shape, options)
    found = told(
        'import { MaskNoise } from "./src/philox.js";\n'
        "const noise = new MaskNoise(BigInt(given.seed));\n"
        "const made = [noise.uniform(123), noise.integers(13, 1), noise.integers(41, 12)];\n"
        "console.log(JSON.stringify(made.map((numbers) => [...numbers])));",
        {"seed": str(seed)},
    )
    assert found == [uniform.reshape(-1).tolist(), [roll], dropped.tolist()]


@pytest.mark.parametrize(("rate", "samples"), [(8000, 1000), (44100, 90001)])
def test_loudness_is_what_python_measures(rate: int, samples: int) -> None:
    found = told(
        'import { loudnessOf } from "./src/loudness.js";\n'
        "const { rate, samples } = given;\n"
        "const fade = (at) => Math.sin(0.05 * at) * (1 - at / samples);\n"
        "const audio = Float32Array.from({ length: samples }, (_, at) => fade(at));\n"
        "console.log(loudnessOf(audio, rate));",
        {"samples": samples, "rate": rate},
    )
    at = np.arange(samples)
    audio = (np.sin(0.05 * at) * (1 - at / samples)).astype(np.float32)
    (wanted,) = measure([audio[None]], rate).loudness
    assert found == pytest.approx(float(wanted), abs=1e-4)


def test_nothing_but_the_runtime_is_needed() -> None:
    """Every other import is of a file of ours, or of Node's own where there are folders."""
    found = set[str]()
    for path in (WEB / "src").glob("*.js"):
        found |= set(re.findall(r'(?:from|import\()\s*"([^"]+)"', path.read_text("utf-8")))
    outside = {name for name in found if not name.startswith("./")}
    allowed = {"node:fs/promises", "node:path", "node:url", "onnxruntime-common"}
    assert outside - {"onnxruntime-web", "vampnet-onnx"} <= allowed
