"""The command encode: audio into a file of codes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.support.audio_files import HOP, RATE, loudness_of, tone, wav
from tests.support.command_line import Cli
from vampnet_onnx.pipeline.vamp import VampPipeline

QUICK = ("--sampling-steps", "2")


def test_codes_go_to_a_file_and_back(run: Cli, exported_a: Path) -> None:
    source = wav("in.wav", tone())
    assert run("encode", source, "c.npz", "--artifacts", exported_a)[0] == 0
    decode = ("decode", "c.npz", "back.wav", "--artifacts", exported_a)
    assert run(*decode, "--output-loudness", "codec")[0] == 0
    pipeline = VampPipeline.open(exported_a)
    with np.load("c.npz") as saved:
        assert saved["codes"].shape == (1, 1, 5, RATE // HOP)
        expected = pipeline.decode(saved["codes"][0])
    found = soundfile.read("back.wav", dtype="float32")[0]
    np.testing.assert_allclose(found, expected[0, 0], rtol=0, atol=1e-6)
    assert run(*decode)[0] == 0
    assert loudness_of("back.wav") == pytest.approx(loudness_of(source), abs=1e-3)
    run("vamp", source, "out.wav", "--artifacts", exported_a, "--save-tokens", "t.npz", *QUICK)
    assert run("decode", "t.npz", "again.wav", "--artifacts", exported_a)[0] == 0
    assert Path("again.wav").read_bytes() == Path("out.wav").read_bytes()


def test_a_file_written_to_a_pipe_is_read(run: Cli, exported_a: Path) -> None:
    data = wav("x.wav", tone()).read_bytes()
    unknown = b"\xff" * 4
    Path("x.wav").write_bytes(data[:4] + unknown + data[8:40] + unknown + data[44:])
    assert run("encode", "x.wav", "c.npz", "--artifacts", exported_a)[0] == 0
