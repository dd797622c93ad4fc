"""The worker for the published packages, run with stand-ins for them.

The stand-ins compute with our own models, so these tests prove the plumbing: that requests,
arrays, seeds and refusals go through.  Parity with the packages is what the golden sets are
for.
"""

from __future__ import annotations

import ast
import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from tests.support.recorded_cases import cases, header, parameters
from tests.support.sets import GOLDEN, GoldenSet, assert_within
from vampnet_onnx.__main__ import app, main
from vampnet_onnx.configs.artifacts import open_artifacts
from vampnet_onnx.configs.config import load_config, load_gates
from vampnet_onnx.configs.errors import EnvironmentLacksError, InputError
from vampnet_onnx.configs.manifest import ComponentRecord
from vampnet_onnx.configs.store import write_manifest
from vampnet_onnx.export.export_set import Request, export_set
from vampnet_onnx.models import Checkpoints, open_models
from vampnet_onnx.verify.golden.check import check_set
from vampnet_onnx.verify.golden.of_models import ModelRun
from vampnet_onnx.verify.golden.record import record_set
from vampnet_onnx.verify.sides import upstream
from vampnet_onnx.verify.sides.models import Reference
from vampnet_onnx.verify.sides.recorded import RecordedReference, RecordedSet
from vampnet_onnx.verify.sides.upstream import UpstreamReference, Worker, open_worker
from vampnet_onnx.verify.subjects.case import Case
from vampnet_onnx.verify.subjects.registry import subject_of
from vampnet_onnx.verify.verification import verify_artifacts

ROOT = Path(__file__).parents[3]
STUB = ROOT / "tests" / "support" / "upstream_stub"
TOLERANCE = 5e-5  # the reference's own float32 rounding; threads differ here
WORKER = Path(upstream.__file__).with_name("upstream_worker.py")


def python_with(folder: Path, *paths: Path) -> Path:
    """Write a program that is this interpreter with other folders on its path."""
    script = folder / "python"
    path = os.pathsep.join(str(item) for item in paths)
    settings = f"OMP_NUM_THREADS=1 PYTHONPATH={shlex.quote(path)}"
    script.write_text(f'#!/bin/sh\n{settings} exec {shlex.quote(sys.executable)} "$@"\n')
    script.chmod(0o755)
    return script


@pytest.fixture(scope="module")
def stub_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return python_with(tmp_path_factory.mktemp("stub"), STUB)


@pytest.fixture(scope="module")
def worker(stub_python: Path) -> Iterator[Worker]:
    with open_worker(stub_python, GOLDEN / "a", chunk_seconds=(1.0, 0.4), threads=1) as found:
        yield found


def component(name: str, variant: str = "") -> ComponentRecord:
    models = open_models(GOLDEN / "a")
    assert models.codec is not None
    part = models.transformers.get(name, models.codec)
    return ComponentRecord.model_construct(name=name, variant=variant, dims=vars(part.dims))


# The worker file by itself.


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


# Through the worker, what the golden sets recorded.


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
    with open_worker(stub_python, GOLDEN / "a") as fresh:
        built = fresh.call("build_mask", {"z": z}, arguments=options, seed=1)["mask"]
    np.testing.assert_array_equal(built, golden_a.array("seeded_masks/1/build_busy"))


# As an oracle.


@pytest.mark.parametrize(
    ("name", "variant", "setting"),
    [
        ("codec_encoder", "", ""),
        ("codec_decoder", "", "masked"),
        ("coarse", "", ""),
        ("c2f", "latents", ""),
    ],
)
def test_it_is_the_same_oracle_as_our_models(
    worker: Worker, golden_a: GoldenSet, name: str, variant: str, setting: str
) -> None:
    record = component(name, variant)
    case = subject_of(record).one_case(record, seed=1, batch=2, frames=33)
    case = replace(case, setting=setting)
    ours, theirs = Reference(golden_a.models), UpstreamReference(worker)
    for a, b in ((ours, theirs), (ours.in_float64, theirs.in_float64)):
        expected, found = a.run(record, case), b.run(record, case)
        assert list(found.outputs) == list(expected.outputs)
        for output, array in expected.outputs.items():
            assert found.outputs[output].dtype == array.dtype
            assert_within(found.outputs[output], array, TOLERANCE)
        if expected.margins is None:
            assert found.margins is None
        else:
            assert_within(found.margins, expected.margins, TOLERANCE)
    assert "torch" in theirs.description


def test_a_lora_file_is_laid_over_the_published_model(
    stub_python: Path, tmp_path: Path, golden_a: GoldenSet
) -> None:
    state = torch.load(GOLDEN / "a" / "coarse.pth", weights_only=True)["state_dict"]
    overlay = {k: 3 * v + 0.1 for k, v in state.items() if ".lora_" in k}
    torch.save({"state_dict": overlay}, tmp_path / "lora.pth")
    lora, record = {"coarse": tmp_path / "lora.pth"}, component("coarse")
    case = subject_of(record).one_case(record, seed=1, batch=1, frames=33)
    plain = Reference(golden_a.models).run(record, case).outputs["logits"]
    expected = Reference(open_models(GOLDEN / "a", lora=lora)).run(record, case)
    with open_worker(stub_python, GOLDEN / "a", lora=lora) as found:
        logits = UpstreamReference(found).run(record, case).outputs["logits"]
    assert_within(logits, expected.outputs["logits"], TOLERANCE)
    assert np.abs(logits - plain).max() > 0.01


@pytest.mark.parametrize("name", ["generation", "sampler", "audio_processor"])
def test_what_the_packages_have_no_part_like_is_not_known(worker: Worker, name: str) -> None:
    theirs = UpstreamReference(worker)
    assert theirs.knows(component("codec_decoder")) and theirs.knows(component("c2f"))
    assert not theirs.knows(component(name))


def test_a_component_the_packages_do_not_have_is_refused(worker: Worker) -> None:
    with pytest.raises(InputError, match="mask_generator"):
        UpstreamReference(worker).run(
            component("mask_generator"), Case("mask_generator", 0, 1, 1)
        )


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("artifacts") / "v1"
    folder.mkdir()
    config = load_config(None)
    config = config.model_copy(
        update={
            "checkpoint": config.checkpoint.model_copy(
                update={"path": GOLDEN / "a", "like": None}
            ),
            "export": config.export.model_copy(
                update={
                    "components": list(subject_of("generation").needs),
                    "inputs": ["codes"],
                }
            ),
        }
    )
    request = Request.from_config(config, GOLDEN / "a")
    write_manifest(folder, export_set(request, folder, progress=lambda *_: None))
    return folder


def test_artifacts_verify_against_the_worker_and_a_recorded_set(
    worker: Worker, artifacts: Path
) -> None:
    matrix = load_config(None).verify.model_copy(
        update={"seeds": [0], "frames": [1, 5], "batches": [2], "threads": 1}
    )
    recorded = RecordedSet(GOLDEN / "a")
    for oracle, says, n_cases in (
        (lambda _models: UpstreamReference(worker), "vampnet and lac", [3, 2]),
        (lambda models: RecordedReference(recorded, models), "recorded set 'a'", [3, 4]),
    ):
        report = verify_artifacts(
            open_artifacts(artifacts),
            Checkpoints(GOLDEN / "a"),
            matrix=matrix,
            gates=load_gates(),
            toolchain={},
            oracle=oracle,
            progress=lambda *_: None,
        )
        assert report.verdict == "PASS", report.verdict_line
        assert says in report.reference
        assert [part.name for part in report.components] == ["codec_decoder", "coarse"]
        assert [len(part.cases) for part in report.components] == n_cases
        # The files of a whole generation are there, and neither oracle has one.
        left_out = [note for note in report.notes if "no part like it" in note]
        assert [note.split()[-1] for note in left_out] == ["sampler", "generation"]
    torch.set_num_threads(2)


def test_a_recorded_set_knows_margins_and_its_own_cases_only(golden_a: GoldenSet) -> None:
    oracle = RecordedReference(RecordedSet(GOLDEN / "a"), golden_a.models)
    record = component("codec_encoder")
    matrix = load_config(None).verify
    ours = Reference(golden_a.models, oracle.inputs)
    cases = oracle.cases(record, matrix)
    assert len(cases) == 5
    for case in cases:
        found, expected = oracle.run(record, case), ours.run(record, case)
        assert_within(found.margins, expected.margins, TOLERANCE)
    with pytest.raises(InputError, match="no cases of sampler"):
        oracle.cases(component("sampler"), matrix)
    with pytest.raises(InputError, match="encode/9/codes is missing"):
        oracle.run(record, replace(cases[0], seed=9))


# Recording.


def test_a_set_recorded_through_the_worker_has_the_format_and_passes(
    stub_python: Path, tmp_path: Path, golden_a: GoldenSet
) -> None:
    out = tmp_path / "sets" / "mine"
    count = record_set(GOLDEN / "a", out, python=stub_python)
    mine, first = RecordedSet(out), RecordedSet(GOLDEN / "a")
    assert count == len(mine.cases) and sorted(mine.keys) == sorted(first.keys)
    assert list(mine.header) == list(first.header) and mine.header["set"] == "mine"
    for key in mine.keys:
        a, b = mine.array(key), first.array(key)
        assert (a.dtype, a.ndim) == (b.dtype, b.ndim), key
    for kind in ("generate_coarse", "generate_c2f", "vamp"):
        for case in cases(golden_a, kind):
            assert mine.parameters[case] == first.parameters[case]
    chunk = header(golden_a, "coarse_chunk_size_s")
    assert mine.header["coarse_chunk_size_s"] == chunk
    # The stand-in detects no onsets, so only those masks may differ where librosa is there.
    torch.set_num_threads(1)
    failed = {f.kind for f in check_set(ModelRun(out)) if f.verdict == "FAIL"}
    torch.set_num_threads(2)
    assert failed <= {"onset_mask"}
    with pytest.raises(InputError, match="never overwritten"):
        record_set(GOLDEN / "a", out, python=stub_python)


def test_a_set_is_whole_or_absent(stub_python: Path, tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.mkdir()
    for name in ("codec.pth", "coarse.pth"):
        shutil.copy(GOLDEN / "a" / name, part)
    with pytest.raises(InputError, match=r"needs codec\.pth, coarse\.pth and c2f\.pth"):
        record_set(part, tmp_path / "out", python=stub_python)
    assert not (tmp_path / "out").exists()


# What is not there.


def run_main(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["vampnet-onnx", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


def test_missing_packages_give_one_message_and_exit_code_three(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    # Our own packages are on the path as ever; the published ones are not.
    bare = python_with(tmp_path)
    code = run_main(
        monkeypatch,
        "golden",
        "record",
        str(tmp_path / "out"),
        "--checkpoint",
        str(GOLDEN / "a"),
        "--upstream-python",
        str(bare),
    )
    message = capfd.readouterr().err
    assert code == 3
    assert "audiotools does not import" in message and "nox -s upstream" in message
    assert "Traceback" not in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "says"),
    [("lac", r"lac\.model\.lac does not import"), ("vampnet", "vampnet does not import")],
)
def test_the_module_that_is_missing_is_named(tmp_path: Path, name: str, says: str) -> None:
    part = tmp_path / "packages"
    shutil.copytree(STUB, part, ignore=shutil.ignore_patterns(name))
    with (
        pytest.raises(EnvironmentLacksError, match=says),
        open_worker(python_with(tmp_path, part), GOLDEN / "a"),
    ):
        pass


def test_an_interpreter_without_torch_says_so(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "torch.py").write_text("raise ImportError('No module named torch')")
    python = python_with(tmp_path, tmp_path / "empty")
    with (
        pytest.raises(EnvironmentLacksError, match="No module named torch"),
        open_worker(python, GOLDEN / "a"),
    ):
        pass


def test_no_such_interpreter_is_bad_usage(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match="no such program"),
        open_worker(tmp_path / "absent", GOLDEN / "a"),
    ):
        pass


def test_an_interpreter_goes_with_the_upstream_reference_only(tmp_path: Path) -> None:
    found = CliRunner().invoke(
        app,
        ["verify", str(tmp_path), "--checkpoint", str(GOLDEN / "a"), "--upstream-python", "x"],
    )
    assert isinstance(found.exception, InputError)


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
    with open_worker(python_with(tmp_path, packages), GOLDEN / "a") as found:
        made = found.call("generate", given, model="c2f", arguments=options, seed=7)
    np.testing.assert_array_equal(made["tokens"], golden_a.array(f"{case}/tokens"))


def test_a_version_without_a_function_or_an_option_is_refused_by_its_name(
    tmp_path: Path,
) -> None:
    packages = changed_stub(tmp_path, "interface.py", ("def vamp(", "def vary("))
    codes = np.zeros((1, 4, 4), np.int64)
    given = {"codes": codes, "mask": np.ones_like(codes)}
    with open_worker(python_with(tmp_path, packages), GOLDEN / "a") as found:
        with pytest.raises(EnvironmentLacksError, match=r"vampnet\.interface has no 'vamp'"):
            found.call("vamp", given, arguments={}, seed=0)
        tokens, options = {"start_tokens": codes[:, :2]}, {"steps": 3}
        with pytest.raises(EnvironmentLacksError, match="vampnet has no option 'steps'"):
            found.call("generate", tokens, model="coarse", arguments=options, seed=0)


def changed_stub(folder: Path, module: str, *changes: tuple[str, str]) -> Path:
    """Copy the stand-ins and replace text in a module of their ``vampnet``."""
    packages = folder / "packages"
    shutil.copytree(STUB, packages)
    path = packages / "vampnet" / module
    text = path.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return packages


def test_a_checkpoint_that_the_installed_version_loads_in_part_is_refused(
    tmp_path: Path,
) -> None:
    state = "return self.ours.state_dict()"
    more = "return {**self.ours.state_dict(), 'ctrl_encoders.rms.weight': 0}"
    packages = changed_stub(tmp_path, "modules/transformer.py", (state, more))
    codes = {"codes": np.zeros((1, 2, 4), np.int64)}
    with open_worker(python_with(tmp_path, packages), GOLDEN / "a") as found:
        with pytest.raises(EnvironmentLacksError, match=r"ctrl_encoders\.rms\.weight"):
            found.call("logits", codes, model="coarse")
        with pytest.raises(EnvironmentLacksError, match="failed at 'generate': TypeError"):
            found.call("generate", codes)  # and it is still there after an error
