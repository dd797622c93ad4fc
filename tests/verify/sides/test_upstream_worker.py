"""The worker for the published packages, run with stand-ins for them."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.pipeline_inputs import codes_for
from tests.support.recorded_cases import parameters
from tests.support.sets import GOLDEN, GoldenSet, assert_within
from tests.support.upstream_packages import PUBLISHED, TOLERANCE, changed_stub, python_with
from vampnet_onnx.configs.errors import EnvironmentLacksError
from vampnet_onnx.configs.settings import generation_settings, mask_settings, vamp_settings
from vampnet_onnx.models import Checkpoints
from vampnet_onnx.models.behaviour import interface
from vampnet_onnx.models.behaviour.generate import token_model
from vampnet_onnx.models.behaviour.mask_plan import build_mask
from vampnet_onnx.models.behaviour.noise import TorchNoise
from vampnet_onnx.models.behaviour.torch_draws import TorchDraws
from vampnet_onnx.models.checkpoints.random_checkpoint import write_random_tracker
from vampnet_onnx.pipeline.vamp import VampPipeline
from vampnet_onnx.verify.sides import upstream
from vampnet_onnx.verify.sides.upstream import Worker, open_worker

SUPPORT = Path(__file__).parents[2] / "support"
WORKER = Path(upstream.__file__).with_name("upstream_worker.py")


def test_the_worker_is_python_3_9() -> None:
    ast.parse(WORKER.read_text(), feature_version=(3, 9))


def test_the_worker_imports_the_standard_library_torch_numpy_and_the_packages_only() -> None:
    named: set[str] = set()
    for node in ast.walk(ast.parse(WORKER.read_text())):
        if isinstance(node, ast.Import):
            named |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            named.add(str(node.module).split(".")[0])
    assert named - set(sys.stdlib_module_names) == {"torch", "numpy"}


def test_it_encodes_and_decodes(worker: Worker, golden_a: GoldenSet) -> None:
    for case in golden_a.cases("encode"):
        found = worker.call("encode", {"audio": golden_a.array(f"{case}/audio")})
        for name in ("codes", "latents", "z_quantized", "z_continuous"):
            assert_within(found[name], golden_a.array(f"{case}/{name}"), TOLERANCE)
    for case in golden_a.cases("decode"):
        codes = {"codes": golden_a.array(f"{case}/codes")}
        found = worker.call("decode", codes)
        for name in ("z_quantized", "latents", "audio"):
            assert_within(found[name], golden_a.array(f"{case}/{name}"), TOLERANCE)
        audio = worker.call("interface_decode", codes)["audio"]
        expected = golden_a.array(f"{case}/audio_by_interface")
        assert_within(audio, expected, TOLERANCE)


@pytest.mark.parametrize("name", ["coarse", "c2f"])
def test_it_predicts_with_every_layers_output(
    worker: Worker, golden_a: GoldenSet, name: str
) -> None:
    case = f"{name}/1"
    by_codes = worker.call("logits", {"codes": golden_a.array(f"{case}/codes")}, model=name)
    latents = {"latents": golden_a.array(f"{case}/latents")}
    by_latents = worker.call("logits", latents, model=name)
    for found in (by_codes, by_latents):
        for quantity in ("latents", "logits", "activations"):
            expected = golden_a.array(f"{case}/{quantity}")
            assert_within(found[quantity], expected, TOLERANCE)


def test_it_generates_and_vamps_under_a_seed(worker: Worker, golden_a: GoldenSet) -> None:
    case = "generate_coarse/7/batch"
    given = {n: golden_a.array(f"{case}/{n}") for n in ("start_tokens", "mask")}
    options = {"_sampling_steps": 4}
    for _ in range(2):
        found = worker.call("generate", given, model="coarse", arguments=options, seed=7)
        np.testing.assert_array_equal(found["tokens"], golden_a.array(f"{case}/tokens"))
    case = "vamp/5"
    given = {n: golden_a.array(f"{case}/{n}") for n in ("codes", "mask")}
    options = {"_sampling_steps": 3, "time_stretch_factor": 2}
    found = worker.call("vamp", given, arguments=options, seed=5)
    for name in ("tokens", "masked_tokens"):
        np.testing.assert_array_equal(found[name], golden_a.array(f"{case}/{name}"))
    expected = golden_a.array(f"{case}/output_audio")
    assert_within(found["output_audio"], expected, TOLERANCE)


def test_it_prepares_audio(worker: Worker, golden_a: GoldenSet) -> None:
    audio = {"audio": golden_a.array("preprocess/1/audio")}
    found = worker.call("preprocess", audio, sample_rate=48000)
    for name in ("output", "input_loudness"):
        expected = golden_a.array(f"preprocess/1/{name}")
        assert_within(found[name], expected, TOLERANCE)


def test_it_draws_masks_on_from_where_the_last_one_stopped(
    worker: Worker, golden_a: GoldenSet
) -> None:
    def call(name: str, x: np.ndarray, *arguments: object, seed: int | None) -> np.ndarray:
        found = worker.call(
            "function",
            {"x": x},
            module="mask",
            name=name,
            arguments=arguments,
            keywords={},
            seed=seed,
        )
        return found["0"]

    z = golden_a.array("masks/z")
    expected = golden_a.array("seeded_masks/2/random_03")
    np.testing.assert_array_equal(call("random", z, 0.3, seed=2), expected)
    dropped = call("dropout", call("periodic_mask", z, 7, 1, seed=2), 0.25, seed=None)
    np.testing.assert_array_equal(dropped, golden_a.array("seeded_masks/2/dropout_025"))
    upper = call("codebook_mask", np.zeros_like(z), 2, seed=None)
    np.testing.assert_array_equal(upper, golden_a.array("masks/codebook_mask_2"))


def test_loading_leaves_the_seed_alone(stub_python: Path, golden_a: GoldenSet) -> None:
    z, options = golden_a.array("masks/z"), parameters(golden_a, "seeded_masks")["build_busy"]
    with open_worker(stub_python, Checkpoints(GOLDEN / "a")) as fresh:
        built = fresh.call("build_mask", {"z": z}, arguments=options, seed=1)["mask"]
    np.testing.assert_array_equal(built, golden_a.array("seeded_masks/1/build_busy"))


def test_a_set_with_a_beat_tracker_is_opened_without_it(
    stub_python: Path, golden_a: GoldenSet, tmp_path: Path
) -> None:
    for path in golden_a.folder.glob("*.pth"):
        (tmp_path / path.name).symlink_to(path)
    write_random_tracker(tmp_path / "wavebeat.pth", seed=0)
    z = golden_a.array("masks/z")
    with open_worker(stub_python, Checkpoints(tmp_path)) as found:
        assert (
            found.call("build_mask", {"z": z}, arguments={}, seed=1)["mask"].shape == z.shape
        )


def test_a_version_that_adds_up_a_list_of_steps_generates_the_same(
    tmp_path: Path, golden_a: GoldenSet
) -> None:
    packages = changed_stub(
        tmp_path,
        "modules/transformer.py",
        ("_sampling_steps=12", "_sampling_steps=(12,)"),
        ("steps=_sampling_steps", "steps=sum(_sampling_steps)"),
    )
    case = "generate_c2f/7/masked"
    given = {n: golden_a.array(f"{case}/{n}") for n in ("start_tokens", "mask")}
    options = {"_sampling_steps": 3}
    with open_worker(python_with(tmp_path, packages), Checkpoints(GOLDEN / "a")) as found:
        made = found.call("generate", given, model="c2f", arguments=options, seed=7)
    np.testing.assert_array_equal(made["tokens"], golden_a.array(f"{case}/tokens"))


def test_a_version_without_a_function_or_an_option_is_refused_by_its_name(
    tmp_path: Path,
) -> None:
    packages = changed_stub(tmp_path, "interface.py", ("def vamp(", "def vary("))
    codes = np.zeros((1, 4, 4), np.int64)
    given = {"codes": codes, "mask": np.ones_like(codes)}
    with open_worker(python_with(tmp_path, packages), Checkpoints(GOLDEN / "a")) as found:
        with pytest.raises(EnvironmentLacksError, match=r"vampnet\.interface has no 'vamp'"):
            found.call("vamp", given, arguments={}, seed=0)
        tokens, options = {"start_tokens": codes[:, :2]}, {"steps": 3}
        with pytest.raises(EnvironmentLacksError, match="vampnet has no option 'steps'"):
            found.call("generate", tokens, model="coarse", arguments=options, seed=0)


def test_a_checkpoint_that_the_installed_version_loads_in_part_is_refused(
    tmp_path: Path,
) -> None:
    forward = "    def forward(self, x, ctrls"
    more = "return {**self.ours.state_dict(), 'ctrl_encoders.rms.weight': 0}"
    state = f"    def state_dict(self):\n        {more}\n\n{forward}"
    packages = changed_stub(tmp_path, "modules/transformer.py", (forward, state))
    codes = {"codes": np.zeros((1, 2, 4), np.int64)}
    with open_worker(python_with(tmp_path, packages), Checkpoints(GOLDEN / "a")) as found:
        with pytest.raises(EnvironmentLacksError, match=r"ctrl_encoders\.rms\.weight"):
            found.call("logits", codes, model="coarse")
        with pytest.raises(EnvironmentLacksError, match="failed at 'generate': TypeError"):
            found.call("generate", codes)  # and it is still there after an error


def understood(options: dict[str, Any]) -> dict[str, Any]:
    """Return options under our names."""
    names = {
        "_sampling_steps": "steps",
        "_dropout": "dropout",
        "ncc": "n_conditioning_codebooks",
    }
    return {names.get(name, name): value for name, value in options.items()}


@pytest.mark.parametrize(
    "option, value",
    [
        ("_sampling_steps", 5),
        ("temperature", 0.6),
        ("mask_temperature", 2.5),
        ("typical_filtering", False),
        ("typical_mass", 0.5),
        ("typical_min_tokens", 3),
        ("top_p", 0.7),
        ("sample_cutoff", 0.3),
        ("cfg_guidance", 2.0),
        ("batch_size", 2),
        ("feedback_steps", 2),
        ("time_stretch_factor", 2),
    ],
)
def test_every_option_of_the_interface_gives_our_tokens(
    worker: Worker, golden_a: GoldenSet, option: str, value: Any
) -> None:
    given = {name: golden_a.array(f"vamp/3/{name}") for name in ("codes", "mask")}
    options = {"_sampling_steps": 3, option: value}
    found = worker.call("vamp", given, arguments=options, seed=11)
    whole = {"batch_size", "feedback_steps", "time_stretch_factor"}
    ours = understood({n: v for n, v in options.items() if n not in whole})
    codec, models = golden_a.models.codec, golden_a.models.transformers
    assert codec is not None
    torch.manual_seed(11)
    made = interface.vamp(
        *(torch.from_numpy(array) for array in given.values()),
        coarse=token_model("coarse", models["coarse"], codec.quantizer),
        c2f=token_model("c2f", models["c2f"], codec.quantizer),
        dims=codec.dims,
        settings=vamp_settings(
            generation_settings(**ours),
            **{n: v for n, v in options.items() if n in whole},
            coarse_chunk_s=1.0,
            c2f_chunk_s=0.4,
        ),
        noise=TorchNoise(),
    )
    np.testing.assert_array_equal(found["tokens"], made.tokens)
    np.testing.assert_array_equal(found["masked_tokens"], made.masked_tokens)


def test_a_seed_that_is_handed_on_gives_our_tokens(
    worker: Worker, golden_a: GoldenSet, pipeline_a: VampPipeline
) -> None:
    """Whatever torch was seeded with before; from files, over chunks and feedback steps."""
    codes = codes_for(pipeline_a, frames=290)
    mask = worker.call("build_mask", {"z": codes}, arguments={"_dropout": 0.2}, seed=7)["mask"]
    options = {"seed": 7, "_sampling_steps": 3, "feedback_steps": 2, "batch_size": 2}
    found = worker.call("vamp", {"codes": codes, "mask": mask}, arguments=options, seed=8)
    draws = TorchDraws(7)
    built = pipeline_a.build_mask(codes, mask_settings(dropout=0.2), seed=7, draws=draws)
    np.testing.assert_array_equal(built, mask)
    settings = vamp_settings(
        generation_settings(steps=3),
        feedback_steps=2,
        batch_size=2,
        reseed=True,
        coarse_chunk_s=1.0,
        c2f_chunk_s=0.4,
    )
    made = pipeline_a.vamp(codes, built, settings, noise=draws.of_tokens())
    np.testing.assert_array_equal(found["tokens"], made.tokens)
    np.testing.assert_array_equal(found["masked_tokens"], made.masked_tokens)


@pytest.mark.skipif(PUBLISHED not in os.environ, reason="the published packages themselves")
@pytest.mark.parametrize("name", ["seed_7", "app"])
def test_what_was_recorded_of_them_is_what_the_packages_make(
    tmp_path: Path, name: str
) -> None:
    """A seed over several chunks and feedback steps; the app's presets, options one by one."""
    made = tmp_path / "made.npz"
    script = SUPPORT / "published" / f"record_{name.partition('_')[0]}.py"
    python = os.environ[PUBLISHED]
    subprocess.run([python, str(script), str(GOLDEN / "a"), str(made)], check=True)
    recorded = np.load(SUPPORT / "recorded" / f"{name}.npz")
    with np.load(made) as found:
        assert set(found.files) == set(recorded.files)
        for key in found.files:
            if key != "torch":
                np.testing.assert_array_equal(found[key], recorded[key])


@pytest.mark.parametrize(
    "option, value",
    [
        ("rand_mask_intensity", 0.5),
        ("prefix_s", 0.05),
        ("suffix_s", 0.07),
        ("periodic_prompt", 3),
        ("periodic_prompt", 0),
        ("periodic_prompt_width", 2),
        ("_dropout", 0.3),
        ("upper_codebook_mask", 1),
        ("ncc", 1),
    ],
)
def test_every_option_of_the_mask_gives_our_mask(
    worker: Worker, golden_a: GoldenSet, option: str, value: Any
) -> None:
    z = golden_a.array("masks/z")
    found = worker.call("build_mask", {"z": z}, arguments={option: value}, seed=12)["mask"]
    assert golden_a.models.codec is not None
    torch.manual_seed(12)
    settings = mask_settings(**understood({option: value}))
    made = build_mask(torch.from_numpy(z), settings, golden_a.models.codec.dims)
    np.testing.assert_array_equal(found, made)
