"""Processes of contestants: what they are given, and what they cannot do."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from vampnet_onnx.configs.errors import EnvironmentLacksError, InputError
from vampnet_onnx.verify.bench.contestants import (
    Side,
    interpreter,
    open_worker,
    require_equal,
)


def test_contestants_of_other_cores_or_threads_are_refused() -> None:
    require_equal({"onnx": (2, 2), "torch": (2, 2), "beside": (2, 2)})
    for other in ((1, 2), (2, 1)):
        with pytest.raises(EnvironmentLacksError, match=r"onnx has 2 cores .* torch"):
            require_equal({"onnx": (2, 2), "beside": (2, 2), "torch": other})


def test_a_contestant_has_the_cores_and_threads_it_is_given(tmp_path: Path) -> None:
    with open_worker(Side("onnx", "onnx"), tmp_path, cores=1) as worker:
        assert worker.given == (1, 1)
        assert worker.described.what.startswith("onnxruntime ")
        assert worker.described.source
        with pytest.raises(
            EnvironmentLacksError, match=r"failed at 'load': InputError: .*none"
        ):
            worker.ask("load", kind="graph", runtime="onnx", files="none", component="x")


def test_an_interpreter_without_the_package_says_what_to_do(tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    with (
        pytest.raises(EnvironmentLacksError, match=r"old .*No module.*vampnet-onnx\[export\]"),
        open_worker(Side("old", "onnx", interpreter(str(bare))), tmp_path, cores=1),
    ):
        pass


def test_a_program_that_is_no_interpreter_is_told_by_its_last_words(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("#!/bin/sh\necho not me >&2\nexit 3\n")
    wrong.chmod(0o755)
    with (
        pytest.raises(EnvironmentLacksError, match=r"exit code 3.*not me"),
        open_worker(Side("old", "onnx", str(wrong)), tmp_path, cores=1),
    ):
        pass
    for said in ("hello", '{"x": NaN}', "[1]", '{"cores": "many"}'):
        wrong.write_text(f"#!/bin/sh\necho '{said}'\ncat > /dev/null\n")
        with (
            pytest.raises(EnvironmentLacksError, match=r"answered 'start' with .*; give the"),
            open_worker(Side("old", "onnx", str(wrong)), tmp_path, cores=1),
        ):
            pass
    with pytest.raises(InputError, match="--beside nowhere: no such program"):
        interpreter("nowhere")
