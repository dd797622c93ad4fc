"""Every reader of ours on files in which something was changed.

A changed file reads or is refused with the errors that the command line turns into one line;
anything else fails here.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.edited import scaled
from tests.support.exports import export_to, without
from tests.support.golden_sets import small_set
from tests.support.histories import creeping
from tests.support.mutations import (
    mutated_archive,
    mutated_bytes,
    mutated_json,
    mutated_model,
)
from tests.support.once import made_once
from tests.support.report_samples import failing_report
from tests.support.sets import GoldenSet
from tests.support.versions import vouch_for_all
from vampnet_onnx.configs.artifacts import Artifacts, open_artifacts
from vampnet_onnx.configs.config import load_config, load_gates
from vampnet_onnx.configs.errors import InputError, NotFiniteError
from vampnet_onnx.configs.packaged import shipped
from vampnet_onnx.export.adapters import adapter_tensors, write_adapter
from vampnet_onnx.models import open_models
from vampnet_onnx.pipeline.files.token_files import Tokens, write_tokens
from vampnet_onnx.pipeline.jobs import decode_file
from vampnet_onnx.pipeline.steps.output import OutputSettings
from vampnet_onnx.pipeline.vamp import VampPipeline
from vampnet_onnx.reports import read_report, write_reports
from vampnet_onnx.reports.history import append_run, read_history
from vampnet_onnx.reports.trend import trend_of
from vampnet_onnx.verify.causes.bundle import replay, write_bundle
from vampnet_onnx.verify.causes.locate import localise_error
from vampnet_onnx.verify.sides.recorded import RecordedReference, RecordedSet
from vampnet_onnx.verify.versions import compare_versions


def fuzzed(examples: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Run a test with so many generators, the same ones every time."""

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        return settings(
            max_examples=examples,
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        )(given(seed=st.integers(0, 2**32 - 1))(test))

    return decorate


# What the command line turns into one line.
refusals = contextlib.suppress(InputError, NotFiniteError)


def changed_graph(random: Random, data: bytes) -> bytes:
    return (mutated_bytes if random.random() < 0.3 else mutated_model)(random, data)


@pytest.fixture(scope="module")
def tokens(pipeline_a: VampPipeline, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    codec = pipeline_a.codec
    codes = np.random.default_rng(0).integers(0, codec.codebook_size, (1, 1, 5, 9))
    path = tmp_path_factory.mktemp("tokens") / "sound.npz"
    level = np.ones(1, np.float32), np.full(1, -20, np.float32), OutputSettings()
    write_tokens(path, pipeline_a.components, Tokens(codes, *level))
    return path.read_bytes()


@fuzzed(100)
def test_files_of_codes(
    seed: int, tokens: bytes, pipeline_a: VampPipeline, tmp_path: Path
) -> None:
    random = Random(seed)
    change = mutated_archive if random.random() < 0.7 else mutated_bytes
    (tmp_path / "c.npz").write_bytes(change(random, tokens))
    with refusals:
        decode_file(pipeline_a, tmp_path / "c.npz", tmp_path / "out.wav", say=print)


@fuzzed(25)
def test_graphs_that_are_walked(seed: int, nano_artifacts: Artifacts, tmp_path: Path) -> None:
    random, sound = Random(seed), nano_artifacts.folder / "coarse.onnx"
    (tmp_path / "x.onnx").write_bytes(changed_graph(random, sound.read_bytes()))
    pair = [sound, tmp_path / "x.onnx"]
    random.shuffle(pair)
    with refusals:
        localise_error(pair[0], new=pair[1], batch=1, length=3)


@fuzzed(40)
def test_graphs_that_are_compared(seed: int, exported_store: Path, tmp_path: Path) -> None:
    random, sound = Random(seed), exported_store / "nano" / "v1"
    folder = shutil.copytree(sound, tmp_path / "v2", dirs_exist_ok=True)
    file = folder / "coarse.onnx"
    file.write_bytes(changed_graph(random, file.read_bytes()))
    pair = [open_artifacts(sound), open_artifacts(folder, unsealed=True)]
    random.shuffle(pair)
    with refusals:
        compare_versions(*pair, gates=load_gates())


@fuzzed(40)
def test_graphs_that_are_run(
    seed: int, exported_a: Path, tokens: bytes, tmp_path: Path
) -> None:
    random = Random(seed)
    folder = without(exported_a, tmp_path / f"v{seed}", "coarse", "c2f")
    file = folder / "codec_decoder.onnx"
    file.write_bytes(changed_graph(random, file.read_bytes()))
    vouch_for_all(folder)
    (tmp_path / "c.npz").write_bytes(tokens)
    with refusals:
        decode_file(
            VampPipeline.open(folder), tmp_path / "c.npz", tmp_path / "out.wav", say=print
        )


@pytest.fixture(scope="module")
def external(nano: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A graph whose weights are in a file of their own."""
    options = {"components": ("coarse",), "inputs": ("codes",), "external_data": True}
    folder = made_once(
        tmp_path_factory, "external", lambda new: export_to(new / "v1", nano, **options)
    )
    return folder / "v1" / "coarse.onnx"


@fuzzed(30)
def test_graphs_with_weights_outside(seed: int, external: Path, tmp_path: Path) -> None:
    random, model = Random(seed), onnx.ModelProto.FromString(external.read_bytes())
    outside = [t for t in model.graph.initializer if t.external_data]
    entry = random.choice(random.choice(outside).external_data)
    odd = ("", "x", "-1", "0", "99999999999", "../coarse.onnx.data", "/etc/passwd", ".")
    entry.value = random.choice(odd)
    (tmp_path / "x.onnx").write_bytes(model.SerializeToString())
    shutil.copy(external.with_name("coarse.onnx.data"), tmp_path)
    pair = [external, tmp_path / "x.onnx"]
    random.shuffle(pair)
    with refusals:
        localise_error(pair[0], new=pair[1], batch=1, length=3)


@fuzzed(20)
def test_manifests(seed: int, exported_a: Path, tokens: bytes, tmp_path: Path) -> None:
    random, text = Random(seed), (exported_a / "manifest.json").read_text("utf-8")
    folder = shutil.copytree(exported_a, tmp_path / "v1", dirs_exist_ok=True)
    (folder / "manifest.json").write_text(mutated_json(random, text), "utf-8")
    (tmp_path / "c.npz").write_bytes(tokens)
    with refusals:
        VampPipeline.open(folder).require(sample_rate=16000)
        decode_file(
            VampPipeline.open(folder), tmp_path / "c.npz", tmp_path / "out.wav", say=print
        )
    with refusals:
        localise_error(folder, new=exported_a, component="codec_decoder", batch=1, length=2)


@pytest.fixture(scope="module")
def bundle(nano_artifacts: Artifacts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, old = tmp_path_factory.mktemp("bundle"), nano_artifacts.folder / "coarse.onnx"
    new = scaled(old, "transformer.layers.0.self_attn.w_vs.weight", 1.01, folder)
    assert write_bundle(folder / "sound", localise_error(old, new=new))
    return folder / "sound"


@fuzzed(60)
def test_bundles(seed: int, bundle: Path, tmp_path: Path) -> None:
    random = Random(seed)
    folder = shutil.copytree(bundle, tmp_path / "bundle", dirs_exist_ok=True)
    file = random.choice(sorted(folder.iterdir()))
    data = file.read_bytes()
    if file.suffix == ".npz":
        file.write_bytes(mutated_archive(random, data))
    elif file.suffix == ".onnx":
        file.write_bytes(changed_graph(random, data))
    else:
        file.write_text(mutated_json(random, data.decode()), "utf-8")
    with refusals:
        replay(folder)


@fuzzed(40)
def test_reports(seed: int, tmp_path: Path) -> None:
    random, path = Random(seed), tmp_path / "report.json"
    path.write_text(mutated_json(random, failing_report().model_dump_json()), "utf-8")
    with refusals:
        write_reports(read_report(path), tmp_path / "out")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_set(tmp_path_factory.mktemp("sets") / "small", keep=("decode/", "encode/"))


@fuzzed(40)
def test_recorded_sets(
    seed: int, recorded: Path, golden_a: GoldenSet, exported_a: Path, tmp_path: Path
) -> None:
    random, models = Random(seed), golden_a.models
    folder = shutil.copytree(recorded, tmp_path / "set", dirs_exist_ok=True)
    header, arrays = folder / "reference.json", folder / "reference.npz"
    if random.random() < 0.5:
        header.write_text(mutated_json(random, header.read_text("utf-8")), "utf-8")
    else:
        change = mutated_archive if random.random() < 0.7 else mutated_bytes
        arrays.write_bytes(change(random, arrays.read_bytes()))
    record = open_artifacts(exported_a).manifest.component("codec_decoder")
    assert record is not None
    with refusals:
        reference = RecordedReference(RecordedSet(folder), models)
        for case in reference.recorded_cases(record):
            reference.inputs(record, case)
            reference.run(record, case)


_ODD = ("[]", "{}", "nan", "1e999", "9" * 20, "true", '"\\u0000"', "1979-05-27", "[" * 3000)


@fuzzed(80)
def test_configurations(seed: int, tmp_path: Path) -> None:
    random, lines = Random(seed), shipped_text("demo.toml").splitlines()
    if random.random() < 0.4:
        text = mutated_bytes(random, "\n".join(lines).encode())
    else:
        at = random.choice([i for i, line in enumerate(lines) if " = " in line])
        lines[at] = f"{lines[at].partition('=')[0]}= {random.choice(_ODD)}"
        text = "\n".join(lines).encode()
    (tmp_path / "c.toml").write_bytes(text)
    with refusals:
        load_gates(load_config(tmp_path / "c.toml").gates)


def shipped_text(name: str) -> str:
    assert shipped(name)
    return (Path(__file__).parents[1] / "configs" / name).read_text("utf-8")


@fuzzed(30)
def test_checkpoints(seed: int, nano: Path, tmp_path: Path) -> None:
    random = Random(seed)
    folder = shutil.copytree(nano, tmp_path / "nano", dirs_exist_ok=True)
    file = folder / random.choice(("coarse.pth", "codec.pth"))
    change = mutated_archive if random.random() < 0.7 else mutated_bytes
    file.write_bytes(change(random, file.read_bytes()))
    with refusals:
        open_models(folder)


@fuzzed(60)
def test_adapters(seed: int, tmp_path: Path) -> None:
    path = tmp_path / "x.onnx_adapter"
    write_adapter({"a": np.ones((3, 2), np.float32), "b": np.ones((2, 5), np.float32)}, path)
    path.write_bytes(mutated_bytes(Random(seed), path.read_bytes()))
    with refusals:
        adapter_tensors(path)


@fuzzed(60)
def test_histories(seed: int, tmp_path: Path) -> None:
    random, path = Random(seed), tmp_path / f"{seed}.jsonl"
    first, second, last = creeping(1e-6, float("nan"), 2e-5)
    lines = [run.model_dump_json().encode() for run in (first, second)]
    lines[1] = mutated_bytes(random, lines[1])
    path.write_bytes(b"\n".join(lines))
    append_run(path, last)  # whatever is in the file
    assert path.read_bytes().endswith(b"\n" + last.model_dump_json().encode() + b"\n")
    with refusals:
        rule = load_gates().headroom
        trend_of(read_history(path), rule)
