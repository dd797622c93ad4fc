"""``-`` for standard input and output, from process to process."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.support.audio_files import RATE, tone, wav
from tests.support.command_line import Cli, refused


def piped(*arguments: object, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "vampnet_onnx", *map(str, arguments)]
    return subprocess.run(command, input=given, capture_output=True, timeout=120, check=False)


def test_commands_hand_on_what_they_would_write_to_files(
    run: Cli, exported_a: Path, tmp_path: Path
) -> None:
    artifacts = ("--artifacts", exported_a)
    run("encode", wav("in.wav", tone()), "c.npz", *artifacts)
    run("decode", "c.npz", "out.wav", *artifacts)
    codes = piped("encode", "-", "-", *artifacts, given=Path("in.wav").read_bytes())
    assert codes.returncode == 0, codes.stderr
    with np.load(io.BytesIO(codes.stdout)) as found, np.load("c.npz") as expected:
        np.testing.assert_array_equal(found["codes"], expected["codes"])
    audio = piped("decode", "-", "-", *artifacts, given=codes.stdout)
    assert audio.stdout == Path("out.wav").read_bytes()
    assert b"5 codebooks" in codes.stderr and audio.returncode == 0


def test_vamp_reads_and_writes_streams(run: Cli, exported_a: Path) -> None:
    options = ("--artifacts", exported_a, "--sampling-steps", 2)
    run("vamp", wav("in.wav", tone()), "out.wav", *options)
    done = piped("vamp", "-", "-", *options, given=Path("in.wav").read_bytes())
    assert done.returncode == 0 and done.stdout == Path("out.wav").read_bytes()


def test_the_demo_clip_goes_to_standard_output(run: Cli) -> None:
    run("demo-clip", "clip.wav")
    assert piped("demo-clip", "-").stdout == Path("clip.wav").read_bytes()


def test_a_named_pipe_is_read_as_a_file(run: Cli, exported_a: Path) -> None:
    data = wav("in.wav", tone()).read_bytes()
    os.mkfifo("pipe.wav")
    writer = threading.Thread(target=Path("pipe.wav").write_bytes, args=(data,))
    writer.start()
    assert run("encode", "pipe.wav", "c.npz", "--artifacts", exported_a)[0] == 0
    writer.join()


def test_a_reader_that_leaves_is_no_fault(run: Cli, exported_a: Path) -> None:
    source = wav("in.wav", tone(20))  # more than a pipe holds
    command = [
        sys.executable,
        "-m",
        "vampnet_onnx",
        "vamp",
        source,
        "-",
        "--sampling-steps",
        "1",
    ]
    running = subprocess.Popen(
        [*command, "--artifacts", exported_a], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert running.stdout is not None and running.stderr is not None
    running.stdout.read(10)
    running.stdout.close()
    err = running.stderr.read().decode()
    assert running.wait(60) == 141 and "rror" not in err, err


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_terminals_are_refused(
    run: Cli, exported_a: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = wav("in.wav", tone())
    for name in ("vamp", "encode"):
        monkeypatch.setattr(sys, "stdin", _Terminal())
        target = "out.wav" if name == "vamp" else "out.npz"
        refused(run(name, "-", target, "--artifacts", exported_a), "input is a terminal")
    refused(run("decode", "-", "out.wav", "--artifacts", exported_a), "input is a terminal")
    monkeypatch.setattr(sys, "stdin", None)  # as Python has it after <&-
    refused(run("encode", "-", "out.npz", "--artifacts", exported_a), "input is closed")
    assert soundfile.info(source).samplerate == RATE
    for name in ("vamp", "encode"):
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        refused(run(name, source, "-", "--artifacts", exported_a), "output is a terminal")


def test_what_comes_from_standard_input_is_called_so(exported_a: Path, tmp_path: Path) -> None:
    for arguments, given in (
        (("decode", "-", "x.wav"), b"no codes"),
        (("encode", "-", "x.npz"), b"no audio"),
        (("encode", "-", "x.npz"), b""),
    ):
        done = piped(*arguments, "--artifacts", exported_a, given=given)
        assert done.returncode == 2
        assert done.stderr.startswith(b"error: standard input: "), done.stderr
    high = io.BytesIO()
    soundfile.write(high, tone(rate=8009), 8009, format="WAV")
    done = piped("encode", "-", "x.npz", "--artifacts", exported_a, given=high.getvalue())
    assert b"first: sox -t wav - -r 8000 audio-8000.wav" in done.stderr
