"""A bench from what was asked for to rows, on the smallest set there is."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from tests.support.exports import only
from vampnet_onnx.configs.artifacts import Artifacts, open_artifacts
from vampnet_onnx.configs.errors import EnvironmentLacksError, InputError
from vampnet_onnx.configs.interrupts import Interrupted
from vampnet_onnx.configs.runtime import Runtime
from vampnet_onnx.pipeline.version.providers import providers_here
from vampnet_onnx.reports.timings import Bench, Contender, Row
from vampnet_onnx.verify.bench import run as module
from vampnet_onnx.verify.bench.components import BATCHES, LENGTHS, Point, points, things
from vampnet_onnx.verify.bench.run import INTERRUPTED, PARTS, Asked, bench
from vampnet_onnx.verify.bench.worker import SGEMM_PRODUCTS, SGEMM_SIDE


def measured(
    asked: Asked,
    folder: Path,
    said: list[str] | None = None,
    told: list[str] | None = None,
) -> Bench:
    folder.mkdir()
    return bench(
        asked,
        folder,
        command="bench",
        progress=lambda name, *_: (told if told is not None else []).append(name),
        say=(said if said is not None else []).append,
    )


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A twentieth and a tenth of a second, and one batch."""
    monkeypatch.setattr("vampnet_onnx.verify.bench.components.LENGTHS", (0.05, 0.1))
    monkeypatch.setattr("vampnet_onnx.verify.bench.components.BATCHES", (2,))


@pytest.mark.usefixtures("short")
def test_networks_and_steps_are_timed_against_pytorch_and_another_version(
    generation_artifacts: Artifacts, nano: Path, tmp_path: Path
) -> None:
    asked = Asked(
        generation_artifacts,
        checkpoint=nano,
        beside=sys.executable,
        only=("coarse", "encode"),
        cores=(1,),
        rounds=3,
    )
    told = list[str]()
    found = measured(asked, tmp_path / "bench", told=told)
    assert "1 of 6: coarse: onnx loads" in told and "1 of 6: coarse 0.05 s, 1 core" in told
    last = [name for name in told if name.endswith(": encode 0.05 s x 2, 1 core")]
    assert last and all(re.match(r"6 of 6, about \d+ s left", name) for name in last)
    assert [one.name for one in found.contestants] == ["onnx", "torch", "beside"]
    assert found.contestants[0].source == found.contestants[2].source != ""
    assert found.stopped == "" and found.random_weights
    assert [(r.what, r.audio_s, r.batch, r.frames) for r in found.rows] == [
        (name, *point)
        for name in ("coarse", "encode")
        for point in ((0.05, 1, 100), (0.1, 1, 200), (0.05, 2, 100))
    ]
    for row in found.rows:
        assert row.flops and row.sgemm_flops
        onnx, torch, beside = row.timings
        assert onnx.ratio is None and torch.ratio is not None and beside.ratio is not None
        for timing in row.timings:
            assert len(timing.rounds) == 3 and min(timing.rounds) > 0
            took = timing.seconds.median
            assert timing.of_sgemm == pytest.approx(row.flops / took / row.sgemm_flops)
            assert row.audio_s is not None
            assert timing.audio_seconds_a_second == pytest.approx(
                row.audio_s * row.batch / took
            )
    assert not [path for path in (tmp_path / "bench").rglob("*") if path.suffix == ".npz"]


@pytest.mark.usefixtures("short")
def test_forms_and_openvino_take_turns_at_one_thing(forms_a: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="the extra openvino is not installed")
    asked = Asked(
        open_artifacts(forms_a),
        variants=("fp32", "int8"),
        against=("openvino",),
        only=("coarse", "decode"),
        cores=(1,),
        rounds=1,
    )
    found = measured(asked, tmp_path / "bench")
    assert [one.name for one in found.contestants] == ["onnx", "int8", "openvino"]
    assert [one.threads for one in found.contestants] == [1, 1, 1]
    by_name = {r.what: [t.contestant for t in r.timings] for r in found.rows}
    assert by_name == {
        "coarse": ["onnx", "int8", "openvino"],
        "decode": ["onnx", "openvino"],  # of which there is no other form
    }


@pytest.mark.usefixtures("short")
def test_our_side_runs_on_the_runtime_that_was_asked_for(
    forms_a: Path, tmp_path: Path
) -> None:
    there = pytest.importorskip("openvino", reason="the extra openvino is not installed")
    bf16 = "BF16" in there.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    asked = Asked(
        open_artifacts(forms_a),
        parts=("components", "vamp"),
        only=("coarse",),
        cores=(1,),
        rounds=1,
        against=("openvino-bf16",) if bf16 else (),
        on=Runtime("openvino"),
    )
    found = measured(asked, tmp_path / "bench")
    one, *others = found.contestants
    assert one.name == "openvino" and "openvino" in one.what and "float32" in one.what
    assert [other.name for other in others] == (["openvino-bf16"] if bf16 else [])
    assert all("transformers in bf16" in other.what for other in others)
    assert {row.part for row in found.rows} == {"components", "vamp"}
    names = {contestant.name for contestant in found.contestants}
    assert {t.contestant for row in found.rows for t in row.timings} == names


def test_a_side_that_lacks_the_provider_takes_no_part(
    forms_a: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It looks for itself: another environment may lack what this one has."""
    monkeypatch.setattr(module, "require_runtime", lambda _runtime: None)
    on = Runtime(provider="coreml")
    if "coreml" in providers_here():
        pytest.skip("the provider is here")
    asked = Asked(open_artifacts(forms_a), only=("coarse",), cores=(1,), on=on)
    with pytest.raises(
        EnvironmentLacksError, match=r"onnx .* cannot take part: --provider coreml: .*install"
    ):
        measured(asked, tmp_path / "bench")


def test_a_provider_is_every_one_of_our_sides_and_nobody_elses(
    forms_a: Path, nano: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "require_runtime", lambda _runtime: None)
    asked = Asked(
        open_artifacts(forms_a),
        checkpoint=nano,
        variants=("fp32", "int8"),
        beside=sys.executable,
        on=Runtime(provider="cuda", tf32=True),
    )
    cuda = {"provider": "cuda", "tf32": True}
    assert [(side.name, side.runtime, side.on) for side in asked.sides] == [
        ("onnx", "onnx", cuda),
        ("int8", "onnx", cuda),
        ("torch", "torch", {}),
        ("beside", "onnx", cuda),
    ]


def test_what_a_runtime_has_no_part_in_is_refused_by_name(
    forms_a: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "require_runtime", lambda _runtime: None)
    on = Runtime("openvino")
    with pytest.raises(InputError, match=r"--runtime openvino: an export runs nothing there"):
        Asked(None, like="nano", parts=PARTS, on=on)
    with pytest.raises(InputError, match="our side runs on it; leave one of them out"):
        Asked(open_artifacts(forms_a), against=("openvino",), on=on)
    on = Runtime("openvino", bf16=True)
    with pytest.raises(InputError, match=r"--bf16 our side runs on it; leave one of them"):
        Asked(open_artifacts(forms_a), against=("openvino-bf16",), on=on)
    with pytest.raises(
        InputError, match=r"give --against openvino-bf16 in place of --runtime"
    ):
        Asked(open_artifacts(forms_a), variants=("fp32", "int8"), on=on)


def test_forms_are_one_thing_and_what_has_none_is_run_once(forms_a: Path) -> None:
    artifacts = open_artifacts(forms_a)
    every = [thing.name for thing in things(artifacts.manifest, ())]
    assert {"coarse", "coarse.int8"} < set(every)
    sides = Asked(artifacts, variants=("int8", "fp32")).sides
    assert [(side.name, side.form) for side in sides] == [("int8", "int8"), ("onnx", "")]
    files = {
        thing.name: [thing.file_of(side, sides[0]) for side in sides]
        for thing in things(artifacts.manifest, (), ("int8", "fp32"))
    }
    assert files["coarse"] == ["coarse.int8", "coarse"] and "coarse.int8" not in files
    assert files["encode"][0] == "codec_encoder"
    alone = Asked(artifacts, variants=("int8",)).sides
    (encode,) = things(artifacts.manifest, ("encode",), ("int8",))
    assert encode.file_of(alone[0], alone[0]) == "codec_encoder"


def test_another_version_exports_the_form_that_it_runs_and_no_other() -> None:
    asked = Asked(None, like="demo", variants=("fp32", "int8"), beside=sys.executable)
    ours, _, _, beside = asked.sides
    assert asked.exported_by(ours) == {"variants": ["fp32", "int8"]}
    assert asked.exported_by(beside) == {}
    asked = Asked(None, like="demo", variants=("int8",), beside=sys.executable)
    assert asked.exported_by(asked.sides[-1]) == {"variants": ["fp32", "int8"]}


def test_whole_variations_take_the_form(forms_a: Path, tmp_path: Path) -> None:
    asked = Asked(
        open_artifacts(forms_a),
        variants=("fp32", "int8"),
        parts=("vamp",),
        cores=(1,),
        rounds=1,
    )
    found = measured(asked, tmp_path / "bench")
    (total,) = [r for r in found.rows if r.what == "total"]
    assert [t.contestant for t in total.timings] == ["onnx", "int8"]


def test_points_are_lengths_on_every_number_of_cores_and_batches_on_the_most() -> None:
    found = points((1, 2))
    assert found[:3] == [Point(length, 1, 1) for length in LENGTHS]
    assert found[3:6] == [Point(length, 1, 2) for length in LENGTHS]
    assert found[6:] == [Point(LENGTHS[0], batch, 2) for batch in BATCHES]


class Idle:
    """Stands for a process where nothing is measured."""

    described = Contender(name="onnx", what="nothing", python="", source="")

    def ask(self, operation: str, **_: object) -> dict[str, Any]:
        return {"seconds": {"total": 1.0} if operation == "time" else 1.0}


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "open_worker", lambda *_, **__: nullcontext(Idle()))


def row(what: str) -> Row:
    return Row(part="components", what=what, cores=1, timings=[])


@pytest.mark.usefixtures("idle")
@pytest.mark.parametrize("end", [Interrupted(), EnvironmentLacksError("torch fell over")])
def test_what_was_measured_before_the_end_is_kept(
    end: BaseException,
    nano_artifacts: Artifacts,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def two_rows(*_given: Any, **_more: Any) -> Iterator[Row]:
        yield row("coarse")
        raise end

    monkeypatch.setattr(module, "timed", two_rows)
    asked = Asked(only(nano_artifacts, "coarse"), cores=(1,))
    found = measured(asked, tmp_path / "bench")
    assert [r.what for r in found.rows] == ["coarse"]
    assert found.stopped == (INTERRUPTED if isinstance(end, Interrupted) else str(end))

    def none(*_given: Any, **_more: Any) -> Iterator[Row]:
        raise end
        yield row("never")

    monkeypatch.setattr(module, "timed", none)
    with pytest.raises(type(end)):
        measured(asked, tmp_path / "again")


@pytest.mark.usefixtures("idle")
def test_what_takes_minutes_is_told_before(
    nano_artifacts: Artifacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "timed", lambda *_given, **_more: [row("coarse")])
    asked, said = Asked(only(nano_artifacts, "coarse"), cores=(1,)), list[str]()
    measured(asked, tmp_path / "soon", said)
    assert said == []
    monkeypatch.setattr(module, "work_of", lambda *_: 10**15)
    measured(asked, tmp_path / "late", said)
    # Three lengths and two batches of a PFLOP each, six rounds.
    rate = 2 * SGEMM_SIDE**3 * SGEMM_PRODUCTS * 0.6
    minutes = 5 * 6 * 10**15 / rate / 60
    assert said == [said[0]] and f"about {minutes:.0f} minutes" in said[0]


def test_what_cannot_be_measured_is_refused_at_once(
    nano_artifacts: Artifacts, nano: Path
) -> None:
    some = only(nano_artifacts, "coarse")
    for given, words in (
        ({"artifacts": None}, "--like SIZE"),
        ({"artifacts": some, "like": "tiny"}, "not both"),
        ({"artifacts": None, "like": "tiny", "checkpoint": nano}, "leave --checkpoint out"),
        ({"artifacts": None, "like": "huge"}, "known are tiny"),
        ({"artifacts": some, "against": ["torhc"]}, "did you mean 'torch'"),
        ({"artifacts": some, "against": ["torch"]}, "torch needs the checkpoint"),
        ({"artifacts": some, "parts": ["verify"]}, "verify needs the checkpoint"),
        ({"artifacts": some, "parts": ["vmap"]}, "did you mean 'vamp'"),
        ({"artifacts": some, "parts": ["vamp"]}, "holds no part of a codec"),
        ({"artifacts": some, "only": ["corse"]}, "did you mean 'coarse'"),
        ({"artifacts": some, "parts": ["vamp"], "only": ["coarse"]}, "left out"),
        ({"artifacts": some, "cores": [10_000]}, "this process has"),
        ({"artifacts": some, "variants": ["int9"]}, "did you mean 'int8'"),
        ({"artifacts": some, "variants": ["int8"]}, "holds no transformer in int8"),
        ({"artifacts": some, "beside": "nowhere"}, "no such program"),
    ):
        with pytest.raises(InputError, match=words):
            Asked(**given)  # type: ignore[arg-type]


def test_a_form_that_is_not_there_is_sought_in_later_versions(
    forms_a: Path, exported_a: Path, tmp_path: Path
) -> None:
    store = tmp_path / "model"
    store.mkdir()
    for name, folder in (("v1", exported_a), ("v2", forms_a)):
        (store / name).symlink_to(folder)
    with pytest.raises(InputError, match=r"v1 holds no .* in int8 .*v2 does: name it"):
        Asked(open_artifacts(store / "v1"), variants=("fp32", "int8"))
    with pytest.raises(InputError, match=r"holds no transformer in w4 .*; export with"):
        Asked(open_artifacts(store / "v1"), variants=("fp32", "w4"))
    with pytest.raises(InputError, match=r"--variants: int8 is there 2 times"):
        Asked(open_artifacts(store / "v2"), variants=("int8", "int8"))
