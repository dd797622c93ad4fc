"""Recording a set through the worker."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.recorded_cases import cases, header
from tests.support.sets import GOLDEN, GoldenSet
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.models.checkpoints.random_checkpoint import write_random_tracker
from vampnet_onnx.verify.golden.check import check_set
from vampnet_onnx.verify.golden.of_models import ModelRun
from vampnet_onnx.verify.golden.record import record_set
from vampnet_onnx.verify.sides.recorded import RecordedSet


def test_a_set_recorded_through_the_worker_has_the_format_and_passes(
    stub_python: Path, tmp_path: Path, golden_a: GoldenSet
) -> None:
    given, out = tmp_path / "given", tmp_path / "sets" / "mine"
    given.mkdir()
    for path in (GOLDEN / "a").glob("*.pth"):
        shutil.copy(path, given)
    write_random_tracker(given / "wavebeat.pth", seed=0)  # which takes no part
    count = record_set(given, out, python=stub_python)
    assert not (out / "wavebeat.pth").exists()
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
    found = check_set(ModelRun(out))
    assert {f.kind for f in found if f.verdict == "FAIL"} <= {"onset_mask"}
    passed = {f.kind for f in found if f.verdict == "PASS"}
    assert passed >= set(ModelRun.kinds) - {"onset_mask"}
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
