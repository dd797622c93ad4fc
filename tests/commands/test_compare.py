"""The command compare."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.support.command_line import Cli, refused, vouch_for


def test_compare_exits_with_1_where_versions_depart(
    cli: Cli, store: Path, tmp_path: Path
) -> None:
    old = store / "nano" / "v1"
    new = Path(shutil.copytree(old, tmp_path / "new"))
    assert cli("compare", old, new).code == 0
    vouch_for(new, lambda record: record["dims"].update(n_heads=7))
    result = cli("compare", old, new, "--json")
    assert result.code == 1 and result.json["holds"] is False
    assert result.json["components"][0]["dims"] == ["n_heads 3 is now 7"]
    refused(cli("compare", old, old), "compared with itself")
