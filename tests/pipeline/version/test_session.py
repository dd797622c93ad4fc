"""A component is loaded while its hash is taken, and runs once that has held."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import wait
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.support.exports import record_of, without
from tests.support.pipeline_inputs import codes_for, noise_like
from tests.support.unlisted import with_unlisted_data
from vampnet_onnx.configs import artifacts as artifacts_module
from vampnet_onnx.configs.artifacts import open_artifacts, open_unhashed
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.files import sha256
from vampnet_onnx.pipeline.steps.noise import PhiloxNoise
from vampnet_onnx.pipeline.vamp import VampPipeline
from vampnet_onnx.pipeline.version import components as components_module
from vampnet_onnx.pipeline.version import session as session_module
from vampnet_onnx.pipeline.version.session import Session, open_session

AUDIO = noise_like(1, 3200)
DAMAGED = r"\.onnx: its content is not what the manifest vouches for"
Hashing = Callable[[Callable[[Path], None]], None]


@pytest.fixture
def before_hash(monkeypatch: pytest.MonkeyPatch) -> Hashing:
    """Do something with every file that is about to be hashed."""

    def watch(told: Callable[[Path], None]) -> None:
        def watched(path: Path) -> str:
            told(path)
            return sha256(path)

        monkeypatch.setattr(artifacts_module, "sha256", watched)

    return watch


def with_other_weights(version: Path, target: Path, component: str) -> Path:
    """Copy a version and change a weight of a component: it loads, and runs."""
    path = without(version, target) / f"{component}.onnx"
    size, model = path.stat().st_size, onnx.load(str(path))
    weight = max(model.graph.initializer, key=lambda item: len(item.raw_data))
    weight.raw_data = (numpy_helper.to_array(weight) * np.float32(2)).tobytes()
    path.write_bytes(model.SerializeToString())
    assert path.stat().st_size == size
    return target


def test_nothing_runs_before_its_hash_has_held(
    exported_a: Path, before_hash: Hashing, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = list[tuple[str, str]]()
    run = Session.run

    def watched(self: Session, *arguments: Any, **options: Any) -> Any:
        done.append(("run", self.path.name))
        return run(self, *arguments, **options)

    before_hash(lambda path: done.append(("hash", path.name)))
    monkeypatch.setattr(Session, "run", watched)
    VampPipeline.open(exported_a).process_audio(AUDIO, 8000, seed=0)
    ran = {name for what, name in done if what == "run"}
    assert {"coarse.onnx", "c2f.onnx", "codec_encoder.onnx", "codec_decoder.onnx"} <= ran
    for name in ran:
        assert done.index(("hash", name)) < done.index(("run", name))
        assert done.count(("hash", name)) == 1
    # What is not used is not hashed, and what is used last is when the rest is there.
    hashed = [name for what, name in done if what == "hash"]
    assert set(hashed) == ran and hashed[-1] == "c2f.onnx"


@pytest.mark.parametrize("component", ["codec_encoder", "coarse", "c2f", "codec_decoder"])
def test_what_has_a_wrong_hash_never_runs(
    exported_a: Path, tmp_path: Path, component: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Session.run

    def watched(self: Session, *arguments: Any, **options: Any) -> Any:
        assert self.path.name != f"{component}.onnx"
        return run(self, *arguments, **options)

    monkeypatch.setattr(Session, "run", watched)
    folder = with_other_weights(exported_a, tmp_path / "v1", component)
    Session(folder / f"{component}.onnx")  # which nothing but the hash can tell
    pipeline = VampPipeline.open(folder)
    for _ in range(2):
        with pytest.raises(InputError, match=component + DAMAGED):
            pipeline.process_audio(AUDIO, 8000, seed=0)
    with pytest.raises(InputError, match=component + DAMAGED):
        pipeline.require()


@pytest.mark.parametrize("opened", [open_artifacts, open_unhashed])
def test_a_file_that_changes_while_it_is_opened_is_refused(
    exported_a: Path, tmp_path: Path, opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = opened(without(exported_a, tmp_path / "v1"))
    record = record_of(found, "coarse")
    path = found.path(record)

    def changing(*arguments: Any, **options: Any) -> Session:
        session = Session(*arguments, **options)
        path.write_bytes(path.read_bytes())
        return session

    monkeypatch.setattr(session_module, "Session", changing)
    with pytest.raises(InputError, match=r"coarse\.onnx: was changed while it was read"):
        open_session(found, record)


def test_coarse_runs_while_c2f_loads(
    pipeline_a: VampPipeline, exported_a: Path, before_hash: Hashing
) -> None:
    stepped = Event()

    def told(path: Path) -> None:
        if path.name == "c2f.onnx":
            assert stepped.wait(60)

    before_hash(told)
    _, made = VampPipeline.open(exported_a).process_audio(
        AUDIO, 8000, seed=0, progress=lambda *_: stepped.set()
    )
    _, expected = pipeline_a.process_audio(AUDIO, 8000, seed=0)
    np.testing.assert_array_equal(made.tokens, expected.tokens)


def test_c2f_that_turns_out_to_be_damaged_stops_coarse(
    exported_a: Path, tmp_path: Path, before_hash: Hashing
) -> None:
    pipeline = VampPipeline.open(with_other_weights(exported_a, tmp_path / "v1", "c2f"))
    stepped, steps = Event(), list[int]()

    def told(path: Path) -> None:
        if path.name == "c2f.onnx":
            assert stepped.wait(60)

    def progress(_name: str, done: int, _total: int) -> None:
        steps.append(done)
        if done == 2:
            stepped.set()
            wait(pipeline.components._open.values(), 60)

    before_hash(told)
    codes = codes_for(pipeline)
    with pytest.raises(InputError, match="c2f" + DAMAGED):
        pipeline.vamp(codes, np.ones_like(codes), noise=PhiloxNoise(0), progress=progress)
    assert steps == [1, 2]


def test_an_error_drops_what_waits_to_be_opened(
    exported_a: Path, tmp_path: Path, before_hash: Hashing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(components_module, "cores", lambda: 1)
    pipeline = VampPipeline.open(with_other_weights(exported_a, tmp_path / "v1", "coarse"))
    refused, hashed = Event(), list[str]()

    def told(path: Path) -> None:
        hashed.append(path.name)
        assert path.name == "coarse.onnx" or refused.wait(60)

    before_hash(told)
    with pytest.raises(InputError, match="coarse" + DAMAGED):
        pipeline.require()
    waiting = list(pipeline.components._open.values())
    refused.set()
    wait(waiting, 60)
    assert hashed in (["coarse.onnx"], ["coarse.onnx", "codec_encoder.onnx"])


def test_weights_in_a_file_that_the_manifest_does_not_list_are_refused(
    exported_a: Path, tmp_path: Path
) -> None:
    def opened(component: str) -> VampPipeline:
        return VampPipeline.open(
            with_unlisted_data(exported_a, tmp_path / component / "v1", component)
        )

    unlisted = r"from 'elsewhere\.data', but manifest\.json lists no file as its data"
    pipeline = opened("codec_encoder")
    artifacts = pipeline.components.artifacts
    with pytest.raises(InputError, match=r"codec_encoder\.onnx: takes .* " + unlisted):
        pipeline.encode(pipeline.prepare(AUDIO[None], 8000))
    with pytest.raises(InputError, match=unlisted):
        open_session(artifacts, record_of(artifacts, "codec_encoder"))  # as bench does
    pipeline = opened("codec_decoder")
    with pytest.raises(InputError, match=r"codec_decoder\.onnx: takes .* " + unlisted):
        pipeline.decode(codes_for(pipeline))
    for component in ("coarse", "c2f"):
        with pytest.raises(InputError, match=unlisted):
            opened(component).process_audio(AUDIO, 8000, seed=0)
