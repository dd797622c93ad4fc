"""The file that says what forms leave in float32."""

from __future__ import annotations

from pathlib import Path

import pytest

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.leave import Left, read_leave, write_leave

FOUND = Left(
    left=["layers.0.weight", "layers.1.weight"],
    asked=0.98,
    agreement=0.1 + 0.2,
    kl_nats=float("inf"),
    sources=["abc"],
    measured={"seeds": "0", "codes": 'a "clip".flac'},
)

NUMBERS = """[int8.coarse]
left = []
asked = {}
agreement = {}
kl_nats = {}
sources = ["abc"]
measured = {{}}
"""


def test_what_is_written_is_read_and_its_bytes_are_the_same(tmp_path: Path) -> None:
    one, two = tmp_path / "one.toml", tmp_path / "two.toml"
    for path in (one, two):
        write_leave(path, "int8", {"coarse": FOUND, "c2f": FOUND})
    assert one.read_bytes() == two.read_bytes()
    assert read_leave(one) == {"int8": {"coarse": FOUND, "c2f": FOUND}}


def test_several_forms_stand_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / "both.toml"
    write_leave(path, "int8", {"coarse": FOUND})
    text = path.read_text()
    path.write_text(text + text.replace("[int8.", "[w8."))
    assert set(read_leave(path)) == {"int8", "w8"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "says nothing"),
        ("[int8", "not a TOML file"),
        ("[int7.coarse]\n", "int7"),
        ("[int8.codec]\n", "codec"),
        ("[int8.coarse]\nleft = []\n", "sources"),
        ("int8 = 3\n", "int8"),
        ("[int8]\n", "says nothing"),
        (NUMBERS.format("nan", "0.5", "0.1"), "asked"),
        (NUMBERS.format("7", "0.5", "0.1"), "asked"),
        (NUMBERS.format("true", "0.5", "0.1"), "asked"),
        (NUMBERS.format("0.9", "nan", "0.1"), "agreement"),
        (NUMBERS.format("0.9", "0.5", "nan"), "kl_nats"),
    ],
)
def test_anything_else_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "leave.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        read_leave(path)
    with pytest.raises(InputError, match=r"nowhere\.toml: cannot be read"):
        read_leave(tmp_path / "nowhere.toml")
