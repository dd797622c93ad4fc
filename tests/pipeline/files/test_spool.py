"""What is spooled is read again, whole and in order."""

from __future__ import annotations

import resource

import numpy as np
import pytest

from tests.support.pipeline_inputs import noise_like
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.pipeline.files import spool
from vampnet_onnx.pipeline.files.spool import spooled
from vampnet_onnx.pipeline.steps.streaming import joined, pieces


def test_it_can_be_read_again_also_while_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "_READ", 1000)
    audio = noise_like(2, 12_345)
    with spooled(pieces(audio, 777), 2) as read:
        for one, other in zip(read(), read(), strict=True):
            np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(joined(read()), audio)


def test_a_disk_without_room_is_told() -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 12, limits[1]))
    try:
        with (
            pytest.raises(InputError, match="grew too large"),
            spooled(pieces(noise_like(1, 12_345), 777), 1),
        ):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
