"""Without matplotlib and librosa only pictures and onset masks are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import soundfile

from tests.support.audio_files import RATE, tone
from tests.support.blocked import FACE, python_without

ROOT = str(Path(__file__).parents[2])
TRAINING = f"sys.path.insert(0, {ROOT!r}); from training.__main__ import main; main()"
# Artifacts and checkpoints that are not there: looking for them would be work.
LOCALISE = ("localise", "none", "--checkpoint", "none")
VERIFY = ("verify", "none", "--checkpoint", "none", "--scheduler", "tcp://x:1")
VAMP = ("vamp", "in.wav", "out.wav", "--artifacts", "none")


@pytest.mark.parametrize(
    ("package", "extra", "code", "arguments"),
    [
        ("matplotlib", "plots", FACE, (*VAMP, "--plot", "pictures")),
        ("matplotlib", "plots", FACE, (*LOCALISE, "--plot", "depth.png")),
        ("matplotlib", "plots", TRAINING, ("curves", "none", "curves.png")),
        ("matplotlib", "plots", FACE, ("quantise", "none", "--plot", "layers.svg")),
        ("librosa", "onsets", FACE, (*VAMP, "--onset-mask-width", "1")),
        ("distributed", "cluster", FACE, VERIFY),
        ("distributed", "cluster", FACE, ("release-all", ".", "--scheduler", "tcp://x:1")),
        ("openvino", "openvino", FACE, ("bench", "--like", "tiny", "--against", "openvino")),
    ],
)
def test_what_needs_a_missing_package_is_refused_before_the_work(
    tmp_path: Path, package: str, extra: str, code: str, arguments: tuple[str, ...]
) -> None:
    done = python_without((package,), code, *arguments, cwd=tmp_path)
    assert done.returncode == 3
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert f"package {package}" in done.stderr
    assert f"pip install 'vampnet-onnx[{extra}]'" in done.stderr
    assert not list(tmp_path.iterdir())


def test_all_else_runs_without_them(exported_a: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "in.wav", tone(), RATE)
    arguments = (
        "vamp",
        "in.wav",
        "out.wav",
        "--artifacts",
        exported_a,
        "--sampling-steps",
        "2",
    )
    done = python_without(("matplotlib", "librosa"), FACE, *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert soundfile.info(tmp_path / "out.wav").frames == RATE


def test_nothing_of_the_cluster_is_imported_where_none_is_asked_for(
    exported_store: Path, nano: Path, config: Path, tmp_path: Path
) -> None:
    pytest.importorskip("distributed", reason="the extra cluster is not installed")
    told = (
        "print(sorted({'dask', 'distributed', 'tornado'} & {*sys.modules}), file=sys.stderr)"
    )
    code = f"import atexit, sys; atexit.register(lambda: {told}); {FACE}"
    arguments = ("--checkpoint", nano, "--config", config, "--quick")
    done = python_without((), code, "verify", exported_store, *arguments, cwd=tmp_path)
    assert done.returncode == 0 and done.stderr.splitlines()[-1] == "[]", done.stderr


def test_doctor_calls_their_lack_no_failure(tmp_path: Path) -> None:
    both = ("matplotlib", "librosa")
    lacking = python_without(both, FACE, "doctor", "--json", cwd=tmp_path)
    there = python_without((), FACE, "doctor", "--json", cwd=tmp_path)
    assert lacking.returncode == there.returncode
    found = {finding["what"]: finding for finding in json.loads(lacking.stdout)}
    assert all(found[name]["ok"] for name in both)
    assert "pip install 'vampnet-onnx[plots]'" in found["matplotlib"]["found"]
    assert "pip install 'vampnet-onnx[onsets]'" in found["librosa"]["found"]
    found = {finding["what"]: finding for finding in json.loads(there.stdout)}
    assert not any("not installed" in found[name]["found"] for name in both)
    shown = python_without(both, FACE, "doctor", cwd=tmp_path).stdout
    assert "'vampnet-onnx[plots]'" in shown.replace("\n", "")
