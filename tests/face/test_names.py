"""Any name of a file or folder, any encoding of the terminal, any working folder."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch

from tests.support.audio_files import tone, wav
from tests.support.checkpoint_files import lora_of
from tests.support.command_line import Cli, refused
from tests.support.edited import scaled
from vampnet_onnx.configs.manifest import FileRecord
from vampnet_onnx.configs.store import read_manifest
from vampnet_onnx.reports import read_report

# What no encoding takes: bytes that are no UTF-8, beside a space and a quote.
STRANGE = os.fsdecode(b"caf\xe9 it's\xff")


def ran(*arguments: object, **more: Any) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "vampnet_onnx", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, timeout=120, check=False, **more)


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "ascii", "utf-8"])
def test_every_encoding_takes_help_and_names(
    exported_a: Path, tmp_path: Path, encoding: str
) -> None:
    def run(*arguments: object) -> subprocess.CompletedProcess[bytes]:
        settings = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
        return ran(*arguments, env=settings, cwd=tmp_path)

    shown = run("vamp", "--help")
    assert shown.returncode == 0 and b"--keep-stereo" in shown.stdout, shown.stderr
    name = f"…音{STRANGE}.wav"
    wav(str(tmp_path / "in.wav"), tone())
    done = run("vamp", "in.wav", name, "--artifacts", exported_a, "--sampling-steps", 1)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / name).is_file()
    shown_as = r"…音caf\xe9 it's\xff.wav".encode(encoding, "backslashreplace")
    assert shown_as in done.stdout
    lost = run("vamp", f"no {name}", "out.wav", "--artifacts", exported_a)
    assert lost.returncode == 2 and lost.stderr.startswith(b"error: no "), lost.stderr
    assert rb"caf\xe9 it's\xff.wav: no such audio file" in lost.stderr


def test_names_that_are_no_text_go_through_every_command(
    cli: Cli, nano: Path, tmp_path: Path
) -> None:
    home = tmp_path / STRANGE
    home.mkdir()
    checkpoint = Path(home / "ck").resolve()
    checkpoint.symlink_to(nano)
    lora = home / f"{STRANGE}.pth"
    with lora.open("wb") as stream:
        torch.save(lora_of(nano), stream)
    store, report = home / "store", home / "report"
    made = cli(
        *("export", "--checkpoint", checkpoint, "--component", "coarse", "--artifacts", store),
        *("--lora", f"coarse={lora}", "--model", "m", "--json"),
    )
    assert made.code == 0, made.err
    assert Path(made.json["artifacts"]) == store / "m" / "v1"
    sources = read_manifest(store / "m" / "v1").sources
    assert r"caf\xe9 it's\xff.pth" in {source.name for source in sources}
    cases = ("--checkpoint", checkpoint, "--component", "coarse", "--seeds", 0, "--quick")
    same = ("--lora", f"coarse={lora}")
    verified = cli("verify", store, *cases, *same, "--report", report, "--json")
    assert verified.code == 0, verified.err
    wrong = Path(shutil.copytree(store / "m" / "v1", home / f"wrong{STRANGE}"))
    name = "classifier.layers.0.weight"
    scaled(wrong / "coarse.onnx", name, 1.05, home).replace(wrong / "coarse.onnx")
    failed = cli("verify", wrong, *cases, *same, "--report", report, "--unsealed")
    assert failed.code == 1, failed.err
    found = read_report(report / "report.json")
    told = json.dumps(found.model_dump(mode="json"))
    assert found.verdict == "FAIL" and r"\\xe9" in told
    for file in report.iterdir():
        file.read_text("utf-8")


def test_sound_of_any_name_goes_in_and_out(run: Cli, exported_a: Path) -> None:
    folder = Path(STRANGE)
    folder.mkdir()
    (folder / "artifacts").symlink_to(exported_a)
    artifacts = ("--artifacts", folder / "artifacts")
    wav("in.wav", tone())
    source = Path("in.wav").rename(folder / f"{STRANGE}.wav")
    files = {
        "out.flac": ("vamp", source, folder / "out.flac", "--sampling-steps", 1),
        f"t{STRANGE}.npz": ("encode", source, folder / f"t{STRANGE}.npz"),
        "back.wav": ("decode", folder / f"t{STRANGE}.npz", folder / "back.wav"),
    }
    for name, arguments in files.items():
        done = run(*arguments, *artifacts, "--json")
        assert done.code == 0, done.err
        assert done.json["files"] == [str(folder / name)]
    assert soundfile.info(os.fsencode(folder / "back.wav")).frames == len(tone())


def test_a_record_holds_text_alone(tmp_path: Path) -> None:
    path = tmp_path / STRANGE
    path.touch()
    assert json.loads(FileRecord.of(path).model_dump_json())["name"] == r"caf\xe9 it's\xff"


def test_a_folder_whose_name_is_none_for_a_model_gives_a_like_one(
    run: Cli, nano: Path
) -> None:
    folder = Path(shutil.copytree(nano, "my music"))
    export = ("export", "--checkpoint", folder, "--component", "mask_generator")
    done = run(*export)
    assert done.code == 0, done.err
    assert Path("artifacts", "my-music", "v1").is_dir()
    assert "'my music' is no name for a model, my-music is (or give --model)" in done.err
    assert "no name" not in run(*export, "--model", "mine").err
    refused(run("export", "--checkpoint", folder.rename("音")), "give --model NAME")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("demo-clip clip.wav", 0),
        ("doctor --json", 0),
        ("--help", 0),
        ("demo-clip -", 2),
        ("export", 2),
    ],
)
def test_streams_that_are_closed_change_no_exit_code(
    tmp_path: Path, arguments: str, code: int
) -> None:
    command = f"{shlex.quote(sys.executable)} -m vampnet_onnx {arguments} >&- 2>&-"
    assert subprocess.run(["sh", "-c", command], cwd=tmp_path, check=False).returncode == code


def test_a_working_folder_that_is_gone_is_one_message(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    code = (
        "import os, sys; os.rmdir(os.getcwd()); import vampnet_onnx.__main__ as face;"
        "face.main()"
    )
    for arguments in (("doctor",), ("make-checkpoint", str(tmp_path / "made"))):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=gone,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        gone.mkdir()
        assert done.returncode == 3, done.stderr
        assert done.stderr.startswith("error: the working folder was deleted")
        assert done.stderr.count("\n") == 1
