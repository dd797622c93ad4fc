"""The command make-checkpoint."""

from __future__ import annotations

from pathlib import Path

from tests.support.command_line import Cli, files_below, refused


def test_make_checkpoint_refuses_what_it_cannot_do(cli: Cli, tmp_path: Path) -> None:
    refused(cli("make-checkpoint", tmp_path / "a", "--like", "huge"), "tiny", "released")
    assert cli("make-checkpoint", tmp_path / "b").code == 0
    refused(cli("make-checkpoint", tmp_path / "b"), "exists already")
    assert files_below(tmp_path / "b") == ["c2f.pth", "coarse.pth", "codec.pth"]
