"""The command decode: a file of codes into audio, or one line where it is none."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.support.audio_files import tone, wav
from tests.support.command_line import Cli, refused


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"codes": np.full((1, 1, 5, 9), 5000)}, "from 5000 to 5000"),
        ({"codes": np.zeros((1, 1, 4, 9), np.int64)}, r"[batch, 5, steps]"),
        ({"codes": np.zeros((5, 9), np.int64)}, "[pieces, channels, codebooks, frames]"),
        ({"codes": np.zeros((1, 1, 5, 9))}, "float64"),
        ({"codes": np.full((1, 1, 5, 9), "a")}, "<U1"),
        ({"codes": np.full((1, 1, 5, 9), -1)}, "from -1 to -1"),
        ({"balance": np.array([1e300])}, "finite"),
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


def test_codes_are_never_replaced_by_audio(run: Cli, exported_a: Path) -> None:
    """Whatever they are called: what is inside is what counts."""
    source = wav("x.wav", tone())
    run("encode", source, "c.npz", "--artifacts", exported_a)
    Path("c.npz").rename("c.wav")
    refused(run("decode", "c.wav", "c.wav", "--artifacts", exported_a), "the input itself")
    run(
        "vamp",
        source,
        "o.wav",
        "--artifacts",
        exported_a,
        "--sampling-steps",
        1,
        "--batch-size",
        2,
    )
    arguments = ("--sampling-steps", 1, "--batch-size", 2, "--save-tokens", "t.npz")
    run("vamp", source, "o.wav", "--artifacts", exported_a, *arguments)
    codes = Path("t.npz").rename("o-1.wav").read_bytes()
    refused(run("decode", "o-1.wav", "o.wav", "--artifacts", exported_a), "the input itself")
    assert Path("o-1.wav").read_bytes() == codes
    Path("x.npz").hardlink_to(source)
    refused(run("encode", source, "x.npz", "--artifacts", exported_a), "the input itself")


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


def test_a_damaged_file_of_codes_is_refused(run: Cli, exported_a: Path) -> None:
    run("encode", wav("x.wav", tone()), "c.npz", "--artifacts", exported_a)
    sound = Path("c.npz").read_bytes()
    with zipfile.ZipFile("c.npz") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    header = members["codes.npy"].index(b"{")
    for codes in (
        b"some text",
        members["codes.npy"][:-8],
        members["codes.npy"].replace(b"'descr': '<i8'", b"'descr': f(x)"),
        members["codes.npy"][:header] + b"(" * 80 + members["codes.npy"][header + 80 :],
        members["codes.npy"].replace(b"(1, 1, 5, ", b"(99, 99, 5, "),
    ):
        with zipfile.ZipFile("c.npz", "w") as archive:
            for name, content in {**members, "codes.npy": codes}.items():
                archive.writestr(name, content)
        refused(run("decode", "c.npz", "out.wav", "--artifacts", exported_a), "c.npz: codes ")
    for at in range(60, 200, 20):  # the deflated stream of the first member
        Path("c.npz").write_bytes(sound[:at] + b"\xff\xff\xff" + sound[at + 3 :])
        refused(run("decode", "c.npz", "out.wav", "--artifacts", exported_a), "c.npz: ")
    assert not Path("out.wav").exists()


def test_codes_of_vamp_give_what_vamp_wrote(run: Cli, exported_a: Path) -> None:
    source = wav("x.wav", tone(channels=2))
    few = ("--artifacts", exported_a, "--sampling-steps", 1, "--save-tokens", "t.npz")
    for options in (
        (),
        ("--keep-stereo",),
        ("--keep-stereo", "--output-loudness", "codec"),
        ("--output-loudness", "-11"),
        ("--loop", 1),
        ("--crossfade-s", 0.05, "--coarse-chunk-size-s", 0.4, "--batch-size", 2),
    ):
        run("vamp", source, "o.wav", *few, *options)
        code, printed, err = run("decode", "t.npz", "again.wav", "--artifacts", exported_a)
        assert code == 0 and "8000 Hz" in printed and "note" not in err
        for number in ("-1", "-2") if "--batch-size" in options else ("",):
            again, o = Path(f"again{number}.wav"), Path(f"o{number}.wav")
            assert again.read_bytes() == o.read_bytes(), options


def test_codes_of_three_channels_are_three_channels(run: Cli, exported_a: Path) -> None:
    source = wav("x.wav", tone())
    few = ("--artifacts", exported_a, "--sampling-steps", 1, "--save-tokens", "t.npz")
    run("vamp", source, "o.wav", *few)
    with np.load("t.npz") as saved:
        thrice = {**saved, "codes": saved["codes"].repeat(3, axis=1)}
        thrice |= {name: saved[name].repeat(3) for name in ("balance", "loudness")}
    np.savez("t.npz", **thrice)
    code, printed, _ = run("decode", "t.npz", "three.wav", "--artifacts", exported_a)
    assert code == 0 and "3 channels" in printed
    assert soundfile.info("three.wav").channels == 3


def test_what_a_file_of_codes_lacks_is_said(run: Cli, exported_a: Path) -> None:
    source = wav("x.wav", tone())
    few = ("--artifacts", exported_a, "--sampling-steps", 1, "--save-tokens", "t.npz")
    run("vamp", source, "o.wav", *few, "--mix", 0.5)
    decode = ("decode", "t.npz", "again.wav", "--artifacts", exported_a)
    code, printed, err = run(*decode)
    assert code == 0 and "% variation" not in printed
    assert "note: t.npz: vamp mixed the input in (mix = 0.5), which is not in the file" in err
    with np.load("t.npz") as saved:
        arrays = dict(saved)
    for name in ("loudness", "output_loudness"):
        np.savez("t.npz", **{key: value for key, value in arrays.items() if key != name})
        refused(run(*decode), "t.npz: does not say how loud its audio is to be; add")
        assert run(*decode, "--output-loudness", "codec")[0] == 0
    for change, says in (
        ({"loudness": np.zeros(3)}, "not a number of LUFS a channel"),
        ({"loudness": np.array([np.nan])}, "not a number of LUFS a channel"),
        ({"loudness": np.array([1e30])}, "not a number of LUFS a channel"),
        ({"mix": np.array("x")}, "its mix is no number"),
        ({"later_codes": arrays["codes"]}, "its later_codes and overlaps do not fit"),
        (
            {"later_codes": arrays["codes"], "overlaps": np.array([1 << 62, 3])},
            "its later_codes and overlaps do not fit",
        ),
        ({"output_loudness": np.array("loud")}, "output_loudness = loud is neither"),
    ):
        np.savez("t.npz", **{**arrays, **change})
        refused(run(*decode), f"t.npz: {says}" if "its" in says else says)
