"""The command demo-clip: audio to try things with."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile

from tests.support.command_line import Cli, refused


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
def test_the_clip_is_six_seconds_of_sound(cli: Cli, tmp_path: Path, suffix: str) -> None:
    target = tmp_path / f"clip.{suffix}"
    result = cli("demo-clip", target)
    assert result.code == 0 and result.out.split() == [str(target)]
    samples, rate = soundfile.read(target)
    assert rate == 8000 and len(samples) == pytest.approx(6 * rate, rel=0.1)
    assert samples.std() > 0.01


def test_a_kind_of_file_that_is_not_written_is_refused(cli: Cli, tmp_path: Path) -> None:
    refused(cli("demo-clip", tmp_path / "clip.mp3"), "clip.mp3")
    assert not list(tmp_path.iterdir())
