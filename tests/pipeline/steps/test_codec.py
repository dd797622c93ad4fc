"""Encoding and decoding in windows, and as the published interface decodes."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support.pipeline_inputs import codes_for, noise_like
from tests.support.sets import GoldenSet, assert_within
from vampnet_onnx.configs.artifacts import open_artifacts
from vampnet_onnx.configs.errors import InputError, NotFiniteError
from vampnet_onnx.configs.runtime import Runtime
from vampnet_onnx.export.components.codec_decoder import requantised
from vampnet_onnx.models import open_models
from vampnet_onnx.pipeline.steps import codec as codec_step
from vampnet_onnx.pipeline.steps.codec import decode_stream, encode_stream
from vampnet_onnx.pipeline.steps.streaming import joined, pieces
from vampnet_onnx.pipeline.vamp import VampPipeline
from vampnet_onnx.pipeline.version.components import Components
from vampnet_onnx.pipeline.version.session import Session

AUDIO_TOLERANCE = 2e-4  # of the peak: the published float32 decode is 7e-5 from float64


def test_windows_encode_and_decode_as_the_whole_does(pipeline: VampPipeline) -> None:
    parts, codec = pipeline.components, pipeline.codec
    audio = noise_like(2, 1, 90 * codec.hop_length)
    codes = parts.session("codec_encoder").run({"audio": audio})["codes"]
    decoded = parts.session("codec_decoder").run({"codes": codes})["audio"]
    for frames in (1, 7, 40):
        found = joined(encode_stream(parts, pieces(audio, 1000), frames=frames))
        np.testing.assert_array_equal(found, codes)
        back = joined(decode_stream(parts, pieces(codes, 3), frames=frames))
        # Rounding: the decoder of set b turns another order of sums into 1e-4.
        assert_within(back, decoded, AUDIO_TOLERANCE)


def test_any_number_of_threads_gives_the_same_codes_and_audio(exported: Path) -> None:
    """Bit for bit where windows run at once: each runs on one thread."""
    artifacts = open_artifacts(exported)
    first: tuple[np.ndarray, np.ndarray] | None = None
    for threads in range(1, 9):
        parts = Components(artifacts, Runtime(threads=threads))
        audio = noise_like(2, 1, 90 * parts.codec.hop_length)
        codes = joined(encode_stream(parts, [audio], frames=9))
        found = codes, joined(decode_stream(parts, [codes], frames=9))
        first = first or found
        for one, other in zip(first, found, strict=True):
            np.testing.assert_array_equal(one, other)
        whole = joined(encode_stream(parts, [audio], frames=90))
        np.testing.assert_array_equal(whole, codes)


@pytest.mark.parametrize(
    ("threads", "length", "batch", "used", "most"),
    [
        (1, 45, 1, {1}, 1),
        (3, 17, 1, {3}, 1),  # shorter than two windows: all threads for one
        (3, 18, 1, {1}, 2),
        (3, 45, 1, {1}, 3),
        (4, 18, 1, {4}, 2),  # two windows leave threads idle, unless they share them
        (4, 27, 1, {1}, 4),
        (3, 45, 4, {1}, 2),  # of four channels, memory for two
        (3, 45, 9, {3}, 1),
    ],
)
def test_as_many_windows_run_at_once_as_there_are_threads_and_memory_for(
    exported_a: Path,
    monkeypatch: pytest.MonkeyPatch,
    threads: int,
    length: int,
    batch: int,
    used: set[int],
    most: int,
) -> None:
    parts = Components(open_artifacts(exported_a), Runtime(threads=threads))
    monkeypatch.setattr(codec_step, "_AT_ONCE_S", 8 * parts.codec.seconds_of(9))
    opened, running, seen = set[int](), list[int](), list[int]()
    session, run = Components.session, Session.run
    together = threading.Barrier(most)

    def watched_session(self: Components, name: str, *, threads: int | None = None) -> Session:
        opened.add(parts.threads if threads is None else threads)
        return session(self, name, threads=threads)

    def watched_run(self: Session, *given: Any, **options: Any) -> Any:
        running.append(1)
        together.wait(10)
        seen.append(len(running))
        try:
            return run(self, *given, **options)
        finally:
            running.pop()

    monkeypatch.setattr(Components, "session", watched_session)
    monkeypatch.setattr(Session, "run", watched_run)
    codes = np.zeros((batch, 2, length), np.int64)
    assert joined(decode_stream(parts, [codes], frames=9)).shape[-1] == length * 64
    assert opened == used and max(seen) == most


@pytest.mark.parametrize(
    ("seconds", "stretch", "encoder", "decoder"),
    [(1.0, 1, 2, 2), (9.0, 1, 1, 1), (1.5, 6, 2, 1)],
)
def test_what_is_begun_with_is_all_that_windows_need(
    exported_a: Path,
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
    stretch: int,
    encoder: int,
    decoder: int,
) -> None:
    pipeline = VampPipeline.open(exported_a, threads=2)
    parts, codec = pipeline.components, pipeline.codec
    pipeline.begin(seconds, stretch=stretch, coarse_only=True)
    opened = set(parts._open)
    codecs = {(name, threads) for name, threads in opened if name.startswith("codec")}
    assert codecs == {("codec_encoder", encoder), ("codec_decoder", decoder)}
    samples = codec.frames_of(seconds) * codec.hop_length
    codes = joined(encode_stream(parts, [noise_like(1, 1, samples)]))
    joined(decode_stream(parts, [codes.repeat(stretch, axis=-1)]))
    assert set(parts._open) == opened


@pytest.mark.parametrize("frame", [0, 200, 359])
def test_what_is_not_finite_in_one_window_of_many_is_named_with_its_time(
    exported_a: Path, monkeypatch: pytest.MonkeyPatch, frame: int
) -> None:
    """Wherever it is: in the middle of a window, or where two of them overlap."""
    parts, run = Components(open_artifacts(exported_a), Runtime(threads=2)), Session.run
    codes = np.zeros((1, 2, 360), np.int64)
    codes[..., frame] = 5  # the one code that is spoilt
    audio = np.zeros((1, 1, 360 * parts.codec.hop_length), np.float32)
    audio[..., frame * parts.codec.hop_length] = 1

    def spoilt(self: Session, inputs: Any, **options: Any) -> Any:
        found = run(self, inputs, **options)
        if "codes" in inputs:
            (at,) = np.nonzero(inputs["codes"][0, 0] == 5) if 5 in inputs["codes"] else ([],)
            for one in at:
                found["audio"][..., one * 64 + 3] = np.nan
        else:
            for one in np.nonzero(inputs["audio"][0, 0] == 1)[0] // 64:
                found["latents"][..., one] = np.inf
        return found

    monkeypatch.setattr(Session, "run", spoilt)
    start = parts.codec.seconds_of(frame // 90 * 90)
    where = rf"computes .* in its window from {start:.2f} s on"
    with pytest.raises(NotFiniteError, match=rf"codec_encoder: {where}"):
        joined(encode_stream(parts, [audio], frames=90))
    with pytest.raises(NotFiniteError, match=rf"codec_decoder: {where}"):
        joined(decode_stream(parts, [codes], frames=90))


def test_an_error_in_one_window_is_the_only_one(
    exported_a: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts, runs = Components(open_artifacts(exported_a), Runtime(threads=4)), list[int]()

    def fails(_self: Session, inputs: Any) -> Any:
        runs.append(inputs["codes"].shape[-1])
        raise InputError("codec_decoder.onnx: does not run: no")

    monkeypatch.setattr(Session, "run", fails)
    codes = np.zeros((1, 2, 900), np.int64)
    with pytest.raises(InputError, match="does not run: no") as raised:
        joined(decode_stream(parts, [codes], frames=9))
    assert raised.value.__context__ is None
    assert len(runs) <= 6  # of a hundred windows
    assert not [thread for thread in threading.enumerate() if "window" in thread.name]


def test_an_interrupt_while_windows_run_ends_all_of_them(
    exported_a: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts, runs = Components(open_artifacts(exported_a), Runtime(threads=4)), list[int]()
    run, dealt_with = Session.run, threading.Event()

    def interrupted(self: Session, *given: Any, **options: Any) -> Any:
        runs.append(1)
        if len(runs) == 5:
            os.kill(os.getpid(), signal.SIGINT)
        if len(runs) >= 5:
            dealt_with.wait(20)
        return run(self, *given, **options)

    def deal_with(*_: object) -> None:
        dealt_with.set()
        raise KeyboardInterrupt

    monkeypatch.setattr(Session, "run", interrupted)
    codes, before = np.zeros((1, 2, 900), np.int64), signal.signal(signal.SIGINT, deal_with)
    try:
        with pytest.raises(KeyboardInterrupt):
            joined(decode_stream(parts, [codes], frames=9))
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(runs) <= 12  # of a hundred windows
    monkeypatch.undo()
    assert joined(decode_stream(parts, [codes], frames=9)).shape[-1] == 900 * 64


def test_rows_that_point_the_same_way_are_decoded_as_the_first(
    golden_a: GoldenSet, pipeline_a: VampPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = open_models(golden_a.folder, only=()).codec
    assert codec is not None
    found = pipeline_a.components.triples("codec_decoder", "requantised")
    assert requantised(codec) == [list(row) for row in found]
    book = codec.quantizer.book(1).codebook.weight
    with torch.no_grad():
        book[7] = 2 * book[3]
    assert requantised(codec) == [[1, 7, 3]]
    facts = {"context_frames": 14, "requantised": [[1, 7, 3]]}
    monkeypatch.setattr(Components, "_fact", lambda _self, _id, name: facts[name])
    codes = codes_for(pipeline_a)
    codes[:, 1] = 7
    replaced = codes.copy()
    replaced[:, 1] = 3
    np.testing.assert_array_equal(pipeline_a.decode(codes), pipeline_a.decode(replaced))
    codes[:, 0] = 7
    assert not np.array_equal(pipeline_a.decode(codes), pipeline_a.decode(replaced))
