"""The public face: what ``import vampnet_onnx`` gives, lightly, and what the results say."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import onnx
import pytest

import vampnet_onnx
from tests.support.exports import with_weights_outside
from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.config import load_gates
from vampnet_onnx.verify.versions import compare_versions

CHANGED = "transformer.layers.0.feed_forward.w_1"
HEAVY = "{'torch', 'onnx', 'onnx_ir', 'matplotlib'} & {*sys.modules}"
PLAIN = (str, int, float, bool, type(None))


@pytest.fixture(scope="module")
def made(nano: Path, tmp_path_factory: pytest.TempPathFactory) -> Artifacts:
    store = tmp_path_factory.mktemp("face") / "store"
    return vampnet_onnx.export_checkpoints(str(nano), str(store), components="coarse")


def broken(made: Artifacts, folder: Path) -> Path:
    """Copy the coarse graph and change one weight of a layer in the middle."""
    model = onnx.load(str(made.folder / "coarse.onnx"))
    (weight,) = [w for w in model.graph.initializer if w.name.endswith(CHANGED + ".weight")]
    values = onnx.numpy_helper.to_array(weight) * np.float32(1.01)
    weight.CopyFrom(onnx.numpy_helper.from_array(values, weight.name))
    onnx.save(model, str(folder / "coarse.onnx"))
    return folder / "coarse.onnx"


def in_a_new_interpreter(code: str) -> str:
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    return run.stdout.strip()


def test_importing_the_face_loads_nothing_heavy() -> None:
    assert in_a_new_interpreter(f"import sys, vampnet_onnx; print({HEAVY})") == "set()"


def test_opening_artifacts_from_the_face_loads_nothing_heavy(made: Artifacts) -> None:
    code = (
        f"import sys, vampnet_onnx; print(vampnet_onnx.open_artifacts({str(made.folder)!r}));"
        f"vampnet_onnx.VampPipeline, vampnet_onnx.read_report; print({HEAVY})"
    )
    described, heavy = in_a_new_interpreter(code).splitlines()
    assert described.startswith("<Artifacts nano in ") and heavy == "set()"


def test_every_public_name_is_there_and_listed() -> None:
    for name in vampnet_onnx.__all__:
        assert getattr(vampnet_onnx, name) is not None
    assert set(vampnet_onnx.__all__) <= set(dir(vampnet_onnx))
    homes = [name for names in vampnet_onnx._HOMES.values() for name in names]
    assert sorted([*homes, "__version__"]) == sorted(vampnet_onnx.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = vampnet_onnx.nonsense  # type: ignore[attr-defined]


def test_every_public_function_says_what_it_does() -> None:
    for name in vampnet_onnx.__all__:
        assert name == "__version__" or getattr(vampnet_onnx, name).__doc__


def test_the_version_is_the_distributions() -> None:
    assert vampnet_onnx.__version__ == metadata.version("vampnet-onnx")


def test_a_public_name_without_its_packages_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "torch" else found(name)
    )
    monkeypatch.delitem(vars(vampnet_onnx), "verify_export", raising=False)
    with pytest.raises(vampnet_onnx.EnvironmentLacksError, match="pip install"):
        _ = vampnet_onnx.verify_export


def test_export_gives_opened_artifacts_and_makes_no_second_version(
    made: Artifacts, nano: Path
) -> None:
    assert made.new and made.folder.name == "v1"
    assert repr(made) == f"<Artifacts nano in {made.folder}: 1 components, not verified>"
    again = vampnet_onnx.export_checkpoints(
        nano, made.folder.parents[1], components=["coarse"]
    )
    assert not again.new and again.folder == made.folder
    assert again.manifest == vampnet_onnx.open_artifacts(made.folder).manifest
    (row,) = made.to_rows()
    assert row["component"] == "coarse" and row["bytes"] > 1000
    assert row["inputs"] == "codes int64 [batch, 2, frames]"
    assert all(isinstance(value, PLAIN) for value in row.values())


def test_verify_gives_a_report_that_is_written_and_read_again(
    made: Artifacts, nano: Path, tmp_path: Path
) -> None:
    report = vampnet_onnx.verify_export(
        made, str(nano), components="coarse", seeds=[0], jobs=1
    )
    assert report.verdict == "PASS" and report.seeds == [0]
    assert repr(report).startswith("<Report of nano v1: PASS")
    files = vampnet_onnx.write_reports(report, str(tmp_path / "report"))
    assert vampnet_onnx.read_report(str(files["json"])) == report
    rows = report.to_rows()
    assert {row["component"] for row in rows} == {"coarse"} and len(rows) > 5
    assert all(row["verdict"] == "PASS" for row in rows)
    cases = report.components[0].to_rows()
    assert len(cases) == len(report.components[0].cases) > 1
    assert cases[0]["relative_l2"] >= 0 and cases[0]["seed"] == 0
    for row in (*rows, *cases):
        assert all(type(value) in PLAIN for value in row.values()), row


def test_localise_names_the_module_with_a_changed_weight(
    made: Artifacts, nano: Path, tmp_path: Path
) -> None:
    sound = vampnet_onnx.localise_error(made, nano)
    assert "no module introduces an error" in repr(sound)
    old = made.folder / "coarse.onnx"
    found = vampnet_onnx.localise_error(old, new=str(broken(made, tmp_path)), seed=3)
    assert found.localisation.culprits == (CHANGED,)
    assert CHANGED in repr(found)
    rows = found.to_rows()
    assert [row["path"] for row in rows if row["culprit"]] == [*found.localisation.culprits]
    assert len(rows) > 10
    assert all(type(value) in PLAIN for row in rows for value in row.values())


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda f, _: vampnet_onnx.open_artifacts(str(f / "no")), "no such folder"),
        (lambda f, _: vampnet_onnx.VampPipeline.open(str(f / "no")), "no such folder"),
        (lambda f, _: vampnet_onnx.read_report(str(f / "no.json")), "cannot be read"),
        (lambda f, _: vampnet_onnx.export_checkpoints(f / "no"), "no such folder"),
        (lambda _, m: vampnet_onnx.verify_export(m), "give --checkpoint DIR"),
        (lambda f, m: vampnet_onnx.verify_export(m, f, seeds=[-1]), "seeds"),
        (lambda _, m: vampnet_onnx.localise_error(m), "give --checkpoint DIR"),
    ],
)
def test_what_does_not_fit_is_refused_in_the_words_of_the_commands(
    made: Artifacts, tmp_path: Path, call: object, says: str
) -> None:
    assert callable(call)
    with pytest.raises(vampnet_onnx.InputError, match=says):
        call(tmp_path, made)


def test_weights_outside_are_verified_localised_and_compared_as_those_within(
    made: Artifacts, nano: Path, tmp_path: Path
) -> None:
    outside = with_weights_outside(made.folder, tmp_path / "v1")
    (record,) = outside.manifest.components
    assert record.data is not None and record.data.size > 20_000
    report = vampnet_onnx.verify_export(
        outside, nano, components="coarse", seeds=[0], jobs=1, quick=True
    )
    assert report.verdict == "PASS"
    assert not vampnet_onnx.localise_error(outside, nano).localisation.culprits
    assert not vampnet_onnx.localise_error(made, new=outside.folder).localisation.culprits
    (change,) = compare_versions(made, outside, gates=load_gates()).components
    assert not change.same_file and not change.graph
    assert change.gates and all(gate.holds for gate in change.gates)
