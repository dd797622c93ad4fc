"""WAV files whose headers tell another length than the files have."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.pipeline.files.audio_files import open_audio
from vampnet_onnx.pipeline.files.wav_header import Patched

RATE, SAMPLES = 16000, 2000
SAMPLES_AS_THEY_ARE = (8000 * np.sin(np.arange(SAMPLES) / 5)).astype("<i2")
EXPECTED = SAMPLES_AS_THEY_ARE.astype(np.float32) / 32768


def pipe_wav(
    path: Path,
    *,
    data: int,
    file: int = 0xFFFFFFFF,
    before: bytes = b"",
    after: bytes = b"",
    order: str = "<",
) -> Path:
    """Write a WAV file with these lengths in its header, and chunks around the audio's."""
    form = b"RIFF" if order == "<" else b"RIFX"
    fmt = struct.pack(f"{order}4sIHHIIHH", b"fmt ", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    audio = SAMPLES_AS_THEY_ARE.astype(f"{order}i2").tobytes()
    head = struct.pack(f"{order}4sI4s", form, file, b"WAVE") + fmt + before
    path.write_bytes(head + struct.pack(f"{order}4sI", b"data", data) + audio + after)
    return path


def rf64(path: Path, *, data: int) -> Path:
    """Write a WAV file of 64-bit lengths, of which that of the audio is given."""
    wide = struct.pack("<4sIQQQI", b"ds64", 28, 0, data, 0, 0)
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    head = struct.pack("<4sI4s", b"RF64", 0xFFFFFFFF, b"WAVE") + wide + fmt
    head += struct.pack("<4sI", b"data", 0xFFFFFFFF)
    path.write_bytes(head + SAMPLES_AS_THEY_ARE.tobytes())
    return path


LIST = struct.pack("<4sI4s4sI", b"LIST", 26, b"INFO", b"ISFT", 14) + b"Lavf60.16.100\0"
PIPED = {
    "sox": {"data": 0x7FFFF000, "file": 0x7FFFF024},
    "arecord": {"data": 0x80000000, "file": 0x80000024},
    "ffmpeg": {"data": 0xFFFFFFFF, "before": LIST},
    "less a header": {"data": 0xFFFFFFFF - 36},
    "less a block": {"data": 0x7FFFFFFF // 6 * 6, "file": 0x7FFFFFFF},
    "zero": {"data": 0, "file": 0},
    "zero, and a header's length": {"data": 0, "file": 36},
    "zero, behind another chunk": {"data": 0, "file": 0, "before": LIST},
    "big-endian": {"data": 0, "file": 0, "order": ">"},
    "big-endian, large": {"data": 0x7FFFF000, "order": ">"},
}


@pytest.mark.parametrize("program", PIPED)
def test_what_was_written_to_a_pipe_is_read_to_its_end(tmp_path: Path, program: str) -> None:
    file = open_audio(pipe_wav(tmp_path / "x.wav", **PIPED[program]))
    assert (file.samples, file.sample_rate, file.note) == (SAMPLES, RATE, "")
    np.testing.assert_array_equal(file.read()[0], EXPECTED)


@pytest.mark.parametrize("data", [0, (1 << 63) - 1, (1 << 64) - 1, 2 * SAMPLES])
def test_so_is_a_file_of_64_bit_lengths(tmp_path: Path, data: int) -> None:
    file = open_audio(rf64(tmp_path / "x.wav", data=data))
    np.testing.assert_array_equal(file.read()[0], EXPECTED)


@pytest.mark.parametrize("more", [1, 2, 36, 44, 1000, 4096])
def test_a_length_that_is_a_little_too_long_is_noted(tmp_path: Path, more: int) -> None:
    promised = 2 * SAMPLES + more
    path = pipe_wav(tmp_path / "x.wav", data=promised, file=promised + 36)
    file = open_audio(path)
    assert file.note == f"promises {promised} bytes of audio and holds {2 * SAMPLES}"
    np.testing.assert_array_equal(file.read()[0], EXPECTED)


@pytest.mark.parametrize("more", [4097, 1 << 20, 0x7FFE0000, 0x90000000])
def test_a_length_that_is_much_too_long_is_refused(tmp_path: Path, more: int) -> None:
    path = pipe_wav(tmp_path / "x.wav", data=2 * SAMPLES + more)
    with pytest.raises(InputError, match=r"x\.wav: promises .* and holds 4000; it is damaged"):
        open_audio(path)


def test_a_file_of_the_right_length_is_left_alone(tmp_path: Path) -> None:
    path = pipe_wav(
        tmp_path / "x.wav", data=2 * SAMPLES, file=2 * SAMPLES + 36 + len(LIST), after=LIST
    )
    file = open_audio(path)
    assert (file.samples, file.note) == (SAMPLES, "")
    np.testing.assert_array_equal(file.read()[0], EXPECTED)


def test_a_file_that_means_to_be_empty_is(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    soundfile.write(path, np.zeros(0), RATE)
    head = path.read_bytes()[:44]
    whole = head[:4] + struct.pack("<I", 36 + len(LIST)) + head[8:] + LIST
    path.write_bytes(whole)
    with pytest.raises(InputError, match="holds no samples"):
        open_audio(path)


@settings(deadline=None)
@given(
    data=st.binary(max_size=60),
    patches=st.dictionaries(st.integers(0, 50), st.binary(min_size=1, max_size=8), max_size=3),
    start=st.integers(0, 60),
    count=st.integers(-1, 70),
)
def test_a_patched_file_reads_as_one_that_was_changed(
    data: bytes, patches: dict[int, bytes], start: int, count: int
) -> None:
    changed = bytearray(data)
    for offset, patch in patches.items():
        for place, byte in enumerate(patch, offset):
            if place < len(changed):
                changed[place] = byte
    patched, expected = Patched(io.BytesIO(data), patches), io.BytesIO(bytes(changed))
    assert patched.seek(start) == expected.seek(start)
    assert patched.read(count) == expected.read(count)
    assert patched.tell() == expected.tell()


@settings(deadline=None)
@given(st.binary(max_size=120), st.integers(0, 43))
def test_damaged_headers_are_one_refusal(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, place: int
) -> None:
    path = pipe_wav(tmp_path_factory.getbasetemp() / "damaged.wav", data=0)
    whole = path.read_bytes()
    path.write_bytes(whole[:place] + noise + whole[place + len(noise) :])
    try:
        open_audio(path).read()
    except InputError as error:
        assert str(error).startswith(f"{path}: ")
