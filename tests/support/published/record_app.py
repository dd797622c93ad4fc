"""Records what the published app and interface make; run by an interpreter that has them.

    python record_app.py tests/golden/a tests/support/recorded/app.npz

Of the app its own functions are run, taken out of ``app.py`` by name, since importing it opens
a page: every preset, from audio to tokens, with the app's own arguments for the rest.  Of the
interface every option of ``vamp`` and ``make_beat_mask`` by itself.  Chunks are short, so that
there are several of them.  On a CPU, in one thread.
"""

from __future__ import annotations

import ast
import builtins
import os
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import audiotools
import numpy as np
import torch
import vampnet
from vampnet import mask as vampnet_mask
from vampnet.interface import Interface

SEED, SECONDS = 7, 2.4
BEATS = np.array([0.0, 0.02, 0.3, 0.55, 0.97, 1.38, 1.82, 2.3])
OPTIONS = [
    {},
    {"_sampling_steps": 5},
    {"temperature": 0.6},
    {"mask_temperature": 2.5},
    {"typical_filtering": False},
    {"typical_mass": 0.5},
    {"typical_min_tokens": 3},
    {"top_p": 0.7},
    {"sample_cutoff": 0.3},
    {"cfg_guidance": 2.0},
    {"batch_size": 2},
    {"feedback_steps": 3},
    {"time_stretch_factor": 2},
]
BEAT_OPTIONS = [
    {},
    {"before_beat_s": 0.05},
    {"after_beat_s": 0.1},
    {"mask_upbeats": False},
    {"mask_downbeats": False},
    {"beat_downsample_factor": 2},
    {"downbeat_downsample_factor": 2},
    {"after_beat_s": 0.2, "dropout": 0.4},
    {"invert": False},
    {"before_beat_s": 0.03, "after_beat_s": 0.05, "dropout": 0.2, "beat_downsample_factor": 3},
]
PRESETS = [
    "timbre transfer",
    "small variation",
    "small variation (follow beat)",
    "medium variation",
    "medium variation (follow beat)",
    "large variation",
    "large variation (follow beat)",
]
# What the app's page has where nobody moves anything, by the names of its function.
OF_THE_PAGE = {
    "model_choice": "default",
    "pitch_shift_amt": 0,
    "sampletemp": 1.0,
    "typical_filtering": True,
    "typical_mass": 0.15,
    "typical_min_tokens": 64,
    "top_p": 0.0,
    "sample_cutoff": 1.0,
    "stretch_factor": 1,
    "sampling_steps": 36,
    "num_feedback_steps": 1,
}


class GivenBeats:
    """In place of the tracker: its beats, and those of them that begin a bar, in seconds."""

    model = torch.nn.Identity()

    def extract_beats(self, signal):
        return BEATS, BEATS[1::3]


def functions_of_the_app(names, **around):
    """Run the definitions of some functions of ``app.py``, with what they find around them."""
    path = Path(vampnet.__file__).parents[1] / "app.py"
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef) and node.name in names:
            node.decorator_list = []  # of the place where the app is hosted
            exec(compile(ast.Module([node], []), str(path), "exec"), around)
    return [around[name] for name in names]


def audio() -> tuple[int, np.ndarray]:
    """Make what a page hands on: rate and samples, int16."""
    draw, rate = np.random.default_rng(SEED), 8000
    steps = np.arange(round(SECONDS * rate)) / rate
    sound = 0.3 * np.sin(2 * np.pi * 220 * steps) + 0.05 * draw.normal(size=len(steps))
    return rate, (sound * 32767).astype(np.int16)


def main(checkpoint: Path, target: Path) -> None:
    torch.set_num_threads(1)
    interface = Interface(
        codec_ckpt=checkpoint / "codec.pth",
        coarse_ckpt=checkpoint / "coarse.pth",
        coarse2fine_ckpt=checkpoint / "c2f.pth",
        wavebeat_ckpt=None,
        coarse_chunk_size_s=1.0,
        coarse2fine_chunk_size_s=0.4,
        compile=False,
    )
    for model in (interface.coarse, interface.c2f, interface.codec):
        model.eval()
    interface.beat_tracker = GivenBeats()
    found = {"torch": np.array(torch.__version__)}
    found |= of_the_app(interface)
    found |= of_the_interface(interface, torch.from_numpy(found["app/codes"]).long())
    np.savez_compressed(target, **found)


def of_the_app(interface):
    """Return masks and tokens of every preset, and the codes of the audio."""
    heard, own_vamp = {}, interface.vamp

    def vamp(codes, mask, **options):
        result = own_vamp(codes, mask, **options)
        heard.update(codes=codes, mask=mask, tokens=result[0], masked=result[1])
        return result

    interface.vamp = vamp
    interface.load_finetuned = interface.visualize_codes = lambda *_: None
    interface.set_chunk_size = lambda _seconds: None
    change_preset, run = functions_of_the_app(
        ["change_preset", "_vamp_internal"],
        **{"at": audiotools, "np": np, "torch": torch, "time": time, "pmask": vampnet_mask},
        interface=interface,
        device="cpu",
        gr=SimpleNamespace(Error=RuntimeError),
        to_output=lambda signal: signal,
        print=lambda *_: None,
        __builtins__=builtins,
    )
    names = ("periodic_p", "n_mask_codebooks", "onset_mask_width", "dropout", "beat_mask_ms")
    found, here = {}, Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("scratch").mkdir()
        for preset in PRESETS:
            chosen = dict(zip(names, change_preset(preset), strict=True))
            run(seed=SEED, input_audio=audio(), api=True, **OF_THE_PAGE, **chosen)
            for name in ("mask", "tokens", "masked"):
                found[f"{preset}/{name}"] = small(heard[name])
        os.chdir(here)
    interface.vamp = own_vamp
    return {**found, "app/audio": audio()[1], "app/codes": small(heard["codes"])}


def of_the_interface(interface, codes):
    """Return masks of beats and tokens, an option each."""
    seconds = codes.shape[-1] * interface.codec.hop_length
    heard = audiotools.AudioSignal(torch.zeros(1, 1, seconds), interface.codec.sample_rate)
    found = {}
    for number, options in enumerate(BEAT_OPTIONS):
        audiotools.util.seed(SEED)
        mask = interface.build_mask(codes, periodic_prompt=0, _dropout=0.1)
        mask = vampnet_mask.mask_and(mask, interface.make_beat_mask(heard, **options))
        found[f"beats/{number}"] = small(vampnet_mask.codebook_mask(mask, 3))
    mask = interface.build_mask(codes, periodic_prompt=5)
    found["options/mask"] = small(mask)
    for number, options in enumerate(OPTIONS):
        arguments = {"_sampling_steps": 3, **options}
        tokens = interface.vamp(codes, mask, seed=SEED, **arguments)
        found[f"options/{number}"] = small(tokens)
    return found


def small(array):
    """Return codes or a mask in a byte each."""
    assert array.min() >= 0 and array.max() < 256
    return np.asarray(array).astype(np.uint8)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
