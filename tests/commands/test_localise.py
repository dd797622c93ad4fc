"""The command localise."""

from __future__ import annotations

from pathlib import Path

from tests.support.command_line import Cli, refused


def test_localise_wants_one_thing_to_compare_with(
    cli: Cli, store: Path, nano: Path, tmp_path: Path
) -> None:
    refused(cli("localise", store), "give --checkpoint DIR")
    refused(cli("localise", store, store, "--checkpoint", nano), "give --checkpoint DIR")
    refused(cli("localise", store, store, "--reference", "golden"), "--reference golden")
    refused(cli("localise", store, "--checkpoint", nano, "--component", "c2f"), "coarse")
    golden = ("--reference", "golden", "--checkpoint", nano)
    refused(cli("localise", store, *golden), "no recorded set")


def test_localise_finds_nothing_in_a_sound_version(cli: Cli, store: Path, nano: Path) -> None:
    result = cli("localise", store, "--checkpoint", nano, "--json")
    assert result.code == 0 and result.json["culprits"] == []
    assert result.json["findings"] and result.json["unsealed"] == []
