"""The command decode: a file of codes into audio, or one line where it is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.support.audio_files import tone, wav
from tests.support.command_line import Cli


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"codes": np.full((1, 1, 5, 9), 5000)}, "from 5000 to 5000"),
        ({"codes": np.zeros((1, 1, 4, 9), np.int64)}, r"[batch, 5, steps]"),
        ({"codes": np.zeros((5, 9), np.int64)}, "[pieces, channels, codebooks, frames]"),
        ({"codes": np.zeros((1, 1, 5, 9))}, "float64"),
        ({"codec": np.array("of another")}, "another codec"),
        ({"balance": np.array([np.nan], np.float32)}, "finite"),
    ],
)
def test_codes_that_do_not_fit_are_refused(
    run: Cli, exported_a: Path, change: dict[str, np.ndarray], says: str
) -> None:
    run("encode", wav("x.wav", tone()), "c.npz", "--artifacts", exported_a)
    with np.load("c.npz") as saved:
        arrays = {**saved, **change}
    np.savez("c.npz", **arrays)
    code, _, err = run("decode", "c.npz", "out.wav", "--artifacts", exported_a)
    assert code == 2
    assert says in err and err.startswith("error: c.npz: ") and err.count("\n") == 1


def test_a_file_that_holds_no_codes_is_refused(run: Cli, exported_a: Path) -> None:
    np.savez("other.npz", x=np.zeros(3))
    Path("text.npz").write_text("hello")
    np.savez("pickled.npz", codes=np.array([object()]), balance=0, codec=0)
    for name, says in (
        ("other.npz", "no file of codes"),
        ("text.npz", "cannot be read (File is not a zip file)"),
        ("none.npz", "no such file"),
        ("pickled.npz", "cannot be read"),
    ):
        code, _, err = run("decode", name, "out.wav", "--artifacts", exported_a)
        assert code == 2 and says in err and err.count("\n") == 1
