"""The command vamp: files in, files out, one line where it refuses."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from tests.support.audio_files import RATE, loudness_of, tone, wav
from tests.support.command_line import Cli, is_progress
from tests.support.exports import without
from tests.support.recorded_cases import golden_model
from tests.support.sets import GoldenSet
from vampnet_onnx.configs.settings import generation_settings, mask_settings, vamp_settings
from vampnet_onnx.models.behaviour import interface
from vampnet_onnx.models.behaviour.mask_plan import build_mask
from vampnet_onnx.models.behaviour.noise import TorchNoise
from vampnet_onnx.pipeline.vamp import VampPipeline

QUICK = ("--sampling-steps", "2")


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
def test_files_of_every_format_go_in_and_out(run: Cli, exported_a: Path, suffix: str) -> None:
    source = wav(f"in.{suffix}", tone(channels=2))
    code, printed, _ = run(
        "vamp", source, f"out.{suffix}", "--artifacts", exported_a, *QUICK, "--json"
    )
    assert code == 0
    assert json.loads(printed)["files"] == [f"out.{suffix}"]
    info = soundfile.info(f"out.{suffix}")
    assert (info.samplerate, info.channels, info.frames) == (RATE, 1, RATE)
    assert soundfile.read(f"out.{suffix}")[0].std() > 0.01


def test_audio_of_another_rate_comes_out_at_the_codecs(run: Cli, exported_a: Path) -> None:
    source = wav("in.wav", tone(rate=22050), 22050)
    code, _, err = run("vamp", source, "out.wav", "--artifacts", exported_a, *QUICK)
    assert code == 0
    assert soundfile.info("out.wav").samplerate == RATE
    assert soundfile.info("out.wav").frames == RATE
    said = "note: in.wav: comes at 22050 Hz; what is made of it has the codec's rate, 8000 Hz,"
    assert f"{said} and nothing above 4000 Hz\n" in err
    run("vamp", wav("own.wav", tone()), "out.wav", "--artifacts", exported_a, *QUICK)
    assert "comes at" not in run("vamp", "own.wav", "o.wav", "--artifacts", exported_a)[2]


def test_the_same_seed_makes_the_same_file(run: Cli, exported_a: Path) -> None:
    source = wav("in.wav", tone())
    for name, seed in (("one", 4), ("same", 4), ("other", 5)):
        run("vamp", source, f"{name}.wav", "--artifacts", exported_a, "--seed", seed, *QUICK)
    one, same, other = (Path(f"{n}.wav").read_bytes() for n in ("one", "same", "other"))
    assert one == same != other


def test_the_published_tokens_of_a_seed_are_to_be_had(
    run: Cli, exported_a: Path, golden_a: GoldenSet
) -> None:
    """As where torch is seeded, a mask built, and the seed handed to the published vamp."""
    source = wav("in.wav", tone())
    asked = ("--noise", "torch", "--reseed", "--seed", 7, "--dropout", 0.2)
    arguments = ("vamp", source, "out.wav", "--artifacts", exported_a, *QUICK, *asked)
    code, _, err = run(*arguments, "--feedback-steps", 2, "--save-tokens", "t.npz")
    assert code == 0, err
    with np.load("t.npz") as saved:
        codes, mask, tokens = saved["input_codes"], saved["mask"], saved["codes"][:, 0]
    codec, given = golden_a.models.codec, torch.from_numpy(codes)
    torch.manual_seed(7)
    built = build_mask(given, mask_settings(dropout=0.2), codec.dims)
    np.testing.assert_array_equal(mask, built)
    made = interface.vamp(
        given,
        built,
        coarse=golden_model(golden_a, "coarse"),
        c2f=golden_model(golden_a, "c2f"),
        dims=codec.dims,
        settings=vamp_settings(generation_settings(steps=2), feedback_steps=2, reseed=True),
        noise=TorchNoise(7),
    )
    np.testing.assert_array_equal(tokens, made.tokens)


def test_a_file_is_varied_as_the_array_is(run: Cli, exported_a: Path) -> None:
    source = wav("in.wav", tone(), subtype="FLOAT")
    run("vamp", source, "out.wav", "--artifacts", exported_a, "--save-tokens", "t.npz")
    audio = soundfile.read(source, dtype="float32", always_2d=True)[0].T
    expected, made = VampPipeline.open(exported_a).process_audio(audio, RATE, seed=0)
    with np.load("t.npz") as saved:
        np.testing.assert_array_equal(saved["codes"], made.tokens)
        np.testing.assert_array_equal(saved["mask"], made.mask)
        np.testing.assert_array_equal(saved["input_codes"], made.codes)
    found = soundfile.read("out.wav", dtype="float32", always_2d=True)[0].T
    np.testing.assert_allclose(found, expected[0], rtol=0, atol=1e-6)


def test_every_option_has_an_effect_or_is_refused(run: Cli, exported_a: Path) -> None:
    source = wav("in.wav", tone())
    Path("beats.txt").write_text("0.25 1\n0.5 2\n0.6 1\n0.75 2\n0.85 1\n")

    def tokens(*options: object) -> tuple[bytes, bytes]:
        code, _, err = run(
            "vamp",
            source,
            "out.wav",
            "--artifacts",
            exported_a,
            "--save-tokens",
            "t.npz",
            *options,
        )
        assert code == 0, err
        with np.load("t.npz") as saved:
            return saved["codes"].tobytes(), saved["mask"].tobytes()

    codes, mask = tokens()
    of_mask = (
        ("--periodic-prompt", 3),
        ("--periodic-prompt-width", 4),
        ("--prefix-s", 0.2),
        ("--suffix-s", 0.2),
        ("--beats", "beats.txt"),
        ("--beats", "beats.txt", "--no-beat-invert"),
        ("--rand-mask-intensity", 0.5),
        ("--dropout", 0.4),
        ("--upper-codebook-mask", 1),
        ("--ncc", 1),
        ("--seed", 9),
    )
    for option in of_mask:
        assert tokens(*option)[1] != mask, option
    for option in (
        ("--sampling-steps", 3),
        ("--temperature", 0.5),
        ("--mask-temperature", 0.1),
        ("--sample-cutoff", 0.3),
        ("--top-p", 0.3),
        ("--mode", "corrected"),
        ("--feedback-steps", 2),
        ("--coarse-only",),
        ("--batch-size", 2),
        ("--time-stretch-factor", 2),
        ("--mode", "corrected", "--top-k", 2),
        ("--cfg-guidance", 2),
        ("--coarse-chunk-size-s", 0.5),
        ("--coarse2fine-chunk-size-s", 0.5),
    ):
        found = tokens(*option)
        assert found[0] != codes and found[1] == mask, option
    chunks = ("--coarse-chunk-size-s", 0.5)
    assert tokens(*chunks) != tokens(*chunks, "--reseed")
    corrected = {tokens("--mode", "corrected")}
    for option in (
        ("--no-typical-filtering",),
        ("--typical-mass", 0.9),
        ("--typical-min-tokens", 1),
    ):
        found = tokens("--mode", "corrected", *option)
        assert found not in corrected, option
        corrected.add(found)
    assert tokens("--mode", "corrected", "--typical-filtering") in corrected
    assert tokens("--no-typical-filtering") == (codes, mask)
    old = tokens("--steps", 3, "--n-conditioning-codebooks", 1)
    assert old == tokens("--sampling-steps", 3, "--ncc", 1)
    around = tokens("--beats", "beats.txt", "--before-beat-s", 0.1, "--after-beat-s", 0.1)
    plain = tokens("--beats", "beats.txt")
    assert around[1] != plain[1]
    for option in (
        ("--no-mask-upbeats",),
        ("--no-mask-downbeats",),
        ("--beat-downsample-factor", 2),
        ("--downbeat-downsample-factor", 2),
        ("--beat-dropout", 0.8),
    ):
        assert tokens("--beats", "beats.txt", *option)[1] != plain[1], option


def test_a_preset_is_its_options_and_others_count_before_it(
    run: Cli, exported_a: Path
) -> None:
    source = wav("in.wav", tone())
    Path("beats.txt").write_text("0.25\n0.5\n")

    def saved(*options: object) -> dict[str, np.ndarray]:
        arguments = ("vamp", source, "out.wav", "--artifacts", exported_a, "--json")
        code, printed, err = run(*arguments, "--save-tokens", "t.npz", *options)
        assert code == 0, err
        assert "files" in json.loads(printed)
        with np.load("t.npz") as found:
            return {name: found[name] for name in ("codes", "mask")}

    preset = ("--preset", "medium variation (follow beat)", "--beats", "beats.txt")
    mask = ("--periodic-prompt", 13, "--upper-codebook-mask", 4, "--after-beat-s", 0.05)
    spelt = ("--beats", "beats.txt", *mask, "--reseed")
    few = ("--feedback-steps", 2)
    one = saved(*preset, *few)
    other = saved(*spelt, *few, "--sampling-steps", 36, "--batch-size", 2)
    for name in ("codes", "mask"):
        np.testing.assert_array_equal(one[name], other[name])
    assert len(one["codes"]) == 2
    own = saved(*preset, "--sampling-steps", 1, "--batch-size", 1, "--periodic-prompt", 3)
    assert len(own["codes"]) == 1 and not np.array_equal(own["mask"], one["mask"])


def test_a_batch_makes_numbered_files_and_stretching_longer_ones(
    run: Cli, exported_a: Path
) -> None:
    source = wav("in.wav", tone())
    code, printed, _ = run(
        "vamp",
        source,
        "out.wav",
        "--artifacts",
        exported_a,
        "--batch-size",
        2,
        "--time-stretch-factor",
        2,
        "--plot",
        "pictures",
        "--json",
        *QUICK,
    )
    assert code == 0
    pictures = [f"pictures/{name}.png" for name in ("codes", "steps", "spectrograms")]
    files = ["out-1.wav", "out-2.wav", *pictures]
    assert json.loads(printed)["files"] == files
    assert soundfile.info("out-2.wav").frames == 2 * RATE
    for name in files[2:]:
        assert Path(name).read_bytes().startswith(b"\x89PNG")


def test_stereo_is_kept_on_request(run: Cli, exported_a: Path) -> None:
    source = wav("in.wav", tone(channels=2))
    run("vamp", source, "out.wav", "--artifacts", exported_a, "--keep-stereo", *QUICK)
    audio, _ = soundfile.read("out.wav")
    assert audio.shape == (RATE, 2)
    # The right channel came in at half the level.
    assert audio[:, 1].std() == pytest.approx(audio[:, 0].std() / 2, rel=0.01)


def test_options_that_change_nothing_are_told(run: Cli, exported_a: Path) -> None:
    source = wav("in.wav", tone())
    every = ("--periodic-prompt", 1, "--upper-codebook-mask", 99, "--keep-stereo")
    code, _, err = run("vamp", source, "out.wav", "--artifacts", exported_a, *QUICK, *every)
    assert code == 0
    assert "the mask keeps every code" in err
    assert "in.wav: is mono; --keep-stereo changes nothing" in err


@pytest.mark.parametrize("rate", [RATE, 22050])
def test_the_output_is_as_loud_as_the_input_was_at_its_own_rate(
    run: Cli, exported_a: Path, rate: int
) -> None:
    """Every channel and variation by itself, and the line says so."""
    audio = tone(rate=rate, channels=2)
    audio[:, 1] += 0.02 * np.random.default_rng(1).standard_normal(len(audio))  # at all rates
    source = wav("in.wav", audio, rate)
    arguments = ("vamp", source, "out.wav", "--artifacts", exported_a, *QUICK)
    code, printed, _ = run(*arguments, "--batch-size", 2, "--keep-stereo", "--json")
    assert code == 0
    found = json.loads(printed)["audio"]
    for name, told in zip(("out-1.wav", "out-2.wav"), found, strict=True):
        assert loudness_of(name) == pytest.approx(loudness_of(source), abs=1e-3)
        assert told["loudness"] == pytest.approx(loudness_of(name), abs=2e-3)
        assert told["sample_rate"] == RATE and told["limited_db"] == 0
    mono = wav("mono.wav", audio.mean(axis=1, keepdims=True), rate)
    _, printed, _ = run(*arguments)
    assert loudness_of("out.wav") == pytest.approx(loudness_of(mono), abs=1e-3)
    (level,) = loudness_of(mono)
    assert f"  out.wav  8000 Hz, mono, as loud as the input: {level:.1f} LUFS (" in printed


def test_other_loudness_is_left_or_asked_for_and_never_beyond_the_peak(
    run: Cli, exported_a: Path
) -> None:
    audio = tone()
    source = wav("in.wav", 1e-3 * audio, subtype="PCM_24")
    arguments = ("vamp", source, "out.wav", "--artifacts", exported_a, *QUICK)
    _, printed, _ = run(*arguments)
    assert "as loud as the input" in printed
    quiet, _ = soundfile.read("out.wav")
    _, printed, _ = run(*arguments, "--output-loudness", "codec", "--save-tokens", "t.npz")
    pipeline = VampPipeline.open(exported_a)
    with np.load("t.npz") as saved:
        decoded = pipeline.decode(saved["codes"][0])[0, 0]
    left, _ = soundfile.read("out.wav")
    np.testing.assert_allclose(left, decoded, rtol=0, atol=1e-6)
    assert "as the codec gives it: " in printed
    np.testing.assert_allclose(quiet / quiet.std(), left / left.std(), atol=0.02)
    _, printed, _ = run(*arguments, "--output-loudness", "0")
    assert "below what was asked for, as its peak is held at 1" in printed
    assert np.abs(soundfile.read("out.wav")[0]).max() == pytest.approx(1, abs=1e-6)


def test_the_input_is_mixed_in(run: Cli, exported_a: Path) -> None:
    source = wav("in.wav", tone())
    arguments = ("vamp", source, "out.wav", "--artifacts", exported_a, *QUICK)
    run(*arguments)
    wet, dry = soundfile.read("out.wav")[0], soundfile.read(source)[0]
    heard = []
    for mix in (0, 0.5):
        _, printed, _ = run(*arguments, "--mix", mix)
        assert f"{mix:.0%} variation" in printed
        heard.append(soundfile.read("out.wav")[0])
        assert loudness_of("out.wav") == pytest.approx(loudness_of(source), abs=1e-3)
    np.testing.assert_allclose(heard[0], dry, atol=1e-4)
    both = wet + dry
    scale = np.dot(both, heard[1]) / np.dot(both, both)
    np.testing.assert_allclose(heard[1], scale * both, atol=1e-3)


def test_a_loop_feeds_the_output_back_under_the_next_seed(run: Cli, exported_a: Path) -> None:
    source = wav("in.wav", tone(), subtype="FLOAT")
    arguments = ("--artifacts", exported_a, *QUICK, "--save-tokens")
    run("vamp", source, "out.wav", *arguments, "t.npz", "--loop", 1, "--seed", 4)
    pipeline = VampPipeline.open(exported_a)
    audio = soundfile.read(source, dtype="float32", always_2d=True)[0].T
    few = vamp_settings(generation_settings(steps=2))
    for seed in (4, 5):
        audio, made = pipeline.process_audio(audio[-1:], RATE, seed=seed, settings=few)
        audio = audio[0]
    with np.load("t.npz") as saved:
        np.testing.assert_array_equal(saved["codes"], made.tokens)
        np.testing.assert_array_equal(saved["input_codes"], made.codes)
        assert saved["seed"] == 5
    assert loudness_of("out.wav") == pytest.approx(loudness_of(source), abs=1e-3)


def broken_header() -> None:
    data = wav("x.wav", tone()).read_bytes()
    Path("x.wav").write_bytes(data[:8] + b"WAVQ" + data[12:])


def cut_off_flac() -> None:
    data = wav("x.flac", tone(4)).read_bytes()
    Path("x.wav").write_bytes(data[: len(data) // 2])


def cut_off_wav() -> None:
    data = wav("x.wav", tone()).read_bytes()
    Path("x.wav").write_bytes(data[: len(data) // 2])


def with_nan() -> None:
    audio = tone()
    audio[77] = np.nan
    wav("x.wav", audio, subtype="FLOAT")


def inverted(level: float = 1.0) -> Path:
    return wav("x.wav", tone() * [1, -level], subtype="FLOAT")


BAD_AUDIO = {
    "no file": (lambda: None, "no such audio file"),
    "no audio": (lambda: Path("x.wav").write_text("hello"), "cannot be read as audio"),
    "nothing": (lambda: Path("x.wav").write_bytes(b""), "cannot be read as audio"),
    "empty": (lambda: wav("x.wav", np.zeros((0, 1))), "holds no samples"),
    "one sample": (lambda: wav("x.wav", np.full((1, 1), 0.5)), "one frame at least"),
    "NaN": (with_nan, "NaN or infinite"),
    "clipped": (lambda: wav("x.wav", np.clip(9 * tone(), -1, 1)), "at full scale"),
    "silent": (lambda: wav("x.wav", np.zeros((RATE, 1))), "is silent"),
    "one step of 16 bits": (
        lambda: wav("x.wav", np.sign(tone()) / 32768),
        "is silent, its peak is at -90",
    ),
    "much below it": (
        lambda: wav("x.wav", 1e-5 * tone(), subtype="FLOAT"),
        "is silent, its peak is at -11",
    ),
    "beyond all sound": (
        lambda: wav("x.wav", 1e38 * tone(), subtype="FLOAT"),
        "is no audio, its peak is at 7",
    ),
    "cancels": (inverted, "its channels cancel in the mix to mono, of which nothing is left"),
    "nearly cancels": (lambda: inverted(0.99), "-46 dB are left"),
    "32 channels": (
        lambda: wav("x.wav", tone(channels=32)),
        "mix it down first: sox x.wav x-stereo.wav channels 2",
    ),
    "damaged header": (broken_header, "cannot be read as audio"),
    "cut off FLAC": (cut_off_flac, "damaged"),
    "cut off WAV": (cut_off_wav, "promises 16000 bytes of audio and holds 7"),
    "unusual rate": (
        lambda: wav("x.wav", tone(rate=11025), 11025),
        "comes at 11025 Hz, and these artifacts take 8000, 16000, 22050, 48000 Hz; resample"
        " it first: sox x.wav -r 8000 x-8000.wav",
    ),
    "a rate of no useful ratio": (
        lambda: wav("x.wav", tone(rate=8009), 8009),
        "resample it first: sox x.wav -r 8000 x-8000.wav",
    ),
}


@pytest.mark.parametrize("case", BAD_AUDIO)
def test_bad_audio_is_refused_in_one_line(run: Cli, exported_a: Path, case: str) -> None:
    make, says = BAD_AUDIO[case]
    make()
    code, out, err = run("vamp", "x.wav", "out.wav", "--artifacts", exported_a)
    assert code == 2
    assert says in err and err.startswith("error: x.wav: ")
    assert err.count("\n") == 1 and not out
    assert not Path("out.wav").exists()


def test_hints_quote_names(run: Cli, exported_a: Path) -> None:
    folder = Path("my songs")
    folder.mkdir()
    source = wav("my songs/it's odd.wav", tone(rate=8009), 8009)
    _, _, err = run("vamp", source, "out.wav", "--artifacts", exported_a)
    words = shlex.split(err.partition("resample it first: ")[2])
    assert words == ["sox", str(source), "-r", "8000", "my songs/it's odd-8000.wav"]
    dashed = wav("-x.wav", tone(channels=3))
    _, _, err = run("vamp", "--artifacts", exported_a, "--", dashed, "out.wav")
    words = shlex.split(err.partition("first: ")[2])
    assert words == ["sox", "./-x.wav", "./-x-stereo.wav", "channels", "2"]


def test_stereo_that_cancels_is_varied_channel_by_channel(run: Cli, exported_a: Path) -> None:
    arguments = ("vamp", inverted(), "out.wav", "--artifacts", exported_a, *QUICK)
    code, _, err = run(*arguments)
    assert code == 2 and "go on with --keep-stereo" in err
    assert run(*arguments, "--keep-stereo")[0] == 0
    assert soundfile.info("out.wav").channels == 2


def test_what_is_a_little_short_is_read_and_told(run: Cli, exported_a: Path) -> None:
    data = wav("x.wav", tone()).read_bytes()
    Path("x.wav").write_bytes(data[:-100])
    code, out, err = run("vamp", "x.wav", "out.wav", "--artifacts", exported_a, *QUICK)
    assert code == 0 and "out.wav" in out
    assert err.startswith("note: x.wav: promises 16000 bytes of audio and holds 15900;")


def take_1() -> Path:
    return wav("take-1.wav", tone())


def linked(make: Callable[[Path, Path], None]) -> Path:
    source = wav("in.wav", tone())
    make(Path("take-2.wav"), source)
    return source


@pytest.mark.parametrize(
    "make",
    [
        take_1,
        lambda: linked(Path.symlink_to),
        lambda: linked(Path.hardlink_to),
        lambda: wav("take.wav", tone()),
    ],
)
def test_an_input_that_an_output_would_replace_is_kept(
    run: Cli, exported_a: Path, make: Callable[[], Path]
) -> None:
    source = make()
    before = source.read_bytes()
    arguments = ("vamp", source, "take.wav", "--artifacts", exported_a, *QUICK)
    code, _, err = run(*arguments, "--batch-size", 2)
    assert code == 2 and "is the input itself" in err and err.count("\n") == 1
    assert source.read_bytes() == before


def test_outputs_beside_the_input_are_no_matter(run: Cli, exported_a: Path) -> None:
    """A number that is not reached; one that is is refused before anything runs."""
    source = wav("take-3.wav", tone())
    arguments = ("vamp", source, "take.wav", "--artifacts", exported_a, *QUICK)
    assert run(*arguments, "--batch-size", 2)[0] == 0
    code, _, err = run(*arguments, "--batch-size", 10_000)
    assert code == 2 and "take-3.wav: is the input itself" in err


def test_beats_and_pictures_are_not_replaced_either(run: Cli, exported_a: Path) -> None:
    source = wav("in.wav", tone())
    Path("out.wav").write_text("0.1\n")
    arguments = ("vamp", source, "out.wav", "--artifacts", exported_a, "--beats", "out.wav")
    assert run(*arguments)[0] == 2
    assert Path("out.wav").read_text() == "0.1\n"


def test_standard_output_takes_one_file_and_nothing_else(run: Cli, exported_a: Path) -> None:
    arguments = ("vamp", wav("in.wav", tone()), "-", "--artifacts", exported_a)
    for more, says in (
        (("--json",), "--json prints on standard output"),
        (("--batch-size", 2), "makes several files, and standard output is one"),
        (("--save-tokens", "-"), "to .npz files"),
    ):
        code, out, err = run(*arguments, *more)
        assert code == 2 and says in err and not out


def test_clipped_audio_is_varied_on_request(run: Cli, exported_a: Path) -> None:
    source = wav("x.wav", np.clip(9 * tone(), -1, 1))
    arguments = ("vamp", source, "out.wav", "--artifacts", exported_a, "--allow-clipped")
    assert run(*arguments, *QUICK)[0] == 0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--prefix-s", 1.1), "prefix_s = 1.1 is longer than the clip, which lasts 1.00 s"),
        (("--suffix-s", 7), "suffix_s = 7.0 is longer"),
        (("--dropout", 1.5), "dropout = 1.5 is outside 0 to 1"),
        (("--sampling-steps", 0), "sampling_steps = 0 is outside"),
        (("--steps", 1, "--sampling-steps", 2), "--steps is an old name of --sampling-steps"),
        (("--ncc", 1, "--n-conditioning-codebooks", 1), "is an old name of --ncc"),
        (("--typical-mass", 0.3), "typical_mass: no effect in mode reference"),
        (("--typical-filtering",), "typical_filtering: no effect in mode reference"),
        (("--typical-filtering", "--no-typical-filtering"), "give one"),
        (("--coarse-chunk-size-s", 0), "coarse_chunk_size_s = 0.0 is not a positive time"),
        (("--preset", "medium"), "no preset 'medium' (did you mean 'medium variation'?)"),
        # As in the app, where the tracker is always there.
        (("--preset", "large variation (follow beat)"), "no beat_tracker"),
        (("--seed", -1), "seed = -1"),
        (("--top-k", 3), "no effect in mode reference"),
        (("--beats", "none.txt"), "none.txt: no such file"),
        (("--beat-dropout", 0.5), "beat_dropout: of no effect without beats"),
        (("--follow-beats",), "holds no beat_tracker"),
        (("--follow-beats", "--beats", "x.txt"), "leave out --beats or --follow-beats"),
        (("--save-tokens", "tokens.txt"), "to .npz files"),
        (("--temperature", "nan"), "temperature = nan"),
        (("--output-loudness", "loud"), "output_loudness = loud is neither input nor codec"),
        (("--output-loudness", 3), "output_loudness = 3.0 is neither"),
        (("--mix", 1.5), "mix = 1.5 is outside 0 to 1"),
        (("--mix", 0.5, "--time-stretch-factor", 2), "leave one out"),
        (("--loop", -1), "loop = -1 is outside 0 to 10000"),
        (("--loop", 10**22), "is outside 0 to 10000"),
        (("--batch-size", 10**9), "is more files than the 10000 allowed"),
        (("--crossfade-s", 3), "crossfade_s = 3.0 is outside 0 to 2.5, a quarter of"),
        (("--crossfade-s", 1, "--time-stretch-factor", 2), "leave one out"),
        (("--crossfade-s", 1, "--plot", "p"), "makes two sets of codes"),
        (("--loop", 1, "--batch-size", 2), "add --batch-size 1"),
    ],
)
def test_options_that_cannot_be_are_refused(
    run: Cli, exported_a: Path, options: tuple[object, ...], says: str
) -> None:
    wav("x.wav", tone())
    code, _, err = run("vamp", "x.wav", "out.wav", "--artifacts", exported_a, *options)
    assert code == 2
    assert says in err and err.count("\n") == 1
    assert not Path("out.wav").exists()


def test_an_output_that_cannot_be_written_is_refused_before_the_work(
    run: Cli, exported_a: Path
) -> None:
    source = wav("x.wav", tone())
    for target, says in (
        ("out.mp3", ".wav, .flac, .ogg"),
        ("out", "without a suffix"),
        ("x.wav", "the input"),
    ):
        code, _, err = run("vamp", source, target, "--artifacts", exported_a)
        assert code == 2 and says in err
    Path("file").write_text("")
    code, _, err = run("vamp", source, "file/out.wav", "--artifacts", exported_a, *QUICK)
    assert code == 2 and "cannot be written" in err


def test_a_missing_component_names_the_way_out(
    run: Cli, exported_a: Path, tmp_path: Path
) -> None:
    source = wav("x.wav", tone())
    short = without(exported_a, tmp_path / "artifacts", "c2f")
    code, _, err = run("vamp", source, "out.wav", "--artifacts", short)
    assert code == 2 and "holds no c2f" in err and "--coarse-only" in err
    arguments = ("vamp", source, "out.wav", "--artifacts", short, "--coarse-only")
    assert run(*arguments, *QUICK)[0] == 0
    bare = without(exported_a, tmp_path / "bare", "sampler")
    code, _, err = run("vamp", source, "out.wav", "--artifacts", bare)
    assert code == 2 and "holds no sampler; export it" in err


def test_help_shows_every_option_with_its_published_name(run: Cli) -> None:
    _, printed, _ = run("vamp", "--help")
    for option in (
        "--periodic-prompt",
        "--prefix-s",
        "--upper-codebook-mask",
        "--onset-mask-width",
        "--mask-temperature",
        "--time-stretch-factor",
        "--feedback-steps",
        "--keep-stereo",
        "--sampling-steps",
        "--ncc",
        "--no-typical-filtering",
        "--typical-min-tokens",
        "--coarse2fine-chunk-size-s",
        "--cfg-guidance",
        "--output-loudness",
        "--mix",
        "--loop",
        "--crossfade-s",
        "compression prompt",
    ):
        assert option in printed
    assert "--steps" not in printed and "--n-conditioning" not in printed


@pytest.mark.parametrize(
    ("variant", "victim", "other"),
    [
        ("fp32", "coarse", "coarse.int8"),
        ("int8", "coarse.int8", "c2f.int8"),
        ("int8", "coarse.int8", None),
        ("fp16", "c2f.fp16", "c2f"),
    ],
)
def test_a_form_that_is_cut_off_or_another_is_refused_in_one_line(
    run: Cli, forms_a: Path, variant: str, victim: str, other: str | None
) -> None:
    folder = Path(shutil.copytree(forms_a, "v1"))
    file = folder / f"{victim}.onnx"
    found = (folder / f"{other}.onnx").read_bytes() if other else file.read_bytes()[:-9]
    size = file.stat().st_size
    file.write_bytes(found[:size].ljust(size, b"\0") if other else found)
    source = wav("in.wav", tone())
    code, _, err = run("vamp", source, "out.wav", "--artifacts", folder, "--variant", variant)
    lines = [line for line in err.splitlines() if not is_progress(line)]
    assert code == 2 and len(lines) == 1 and f"{victim}.onnx" in lines[0]
    assert not Path("out.wav").exists()
