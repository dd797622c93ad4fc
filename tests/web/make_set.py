"""Make what the tests of `web/` compare with: a version, clips, and what Python makes of them.

    python tests/web/make_set.py FOLDER [CHECKPOINT]

Writes FOLDER/v1, artifacts with generators, two clips, and FOLDER/cases.json: for every case
its clip and options, and the codes, mask and tokens of ``vampnet-onnx vamp --save-tokens``,
whose audio is FOLDER/CASE.wav.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from vampnet_onnx.configs.store import versions

ROOT = Path(__file__).parents[2]
BIG = (1 << 64) - 1
OPTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("own", {"seed": 0}),
    "seed": ("other", {"seed": 12345}),
    "largest-seed": ("own", {"seed": str(BIG), "periodic_prompt": 13, "sampling_steps": 5}),
    "stereo": ("other", {"seed": 3, "keep_stereo": True, "batch_size": 2, "mix": 0.5}),
    "mask": (
        "own",
        {
            "seed": 4,
            "periodic_prompt": 5,
            "periodic_prompt_width": 3,
            "prefix_s": 0.2,
            "suffix_s": 0.1,
            "dropout": 0.3,
            "rand_mask_intensity": 0.9,
            "upper_codebook_mask": 2,
            "ncc": 1,
            "output_loudness": -20,
        },
    ),
    "corrected": (
        "own",
        {
            "seed": 1 << 40,
            "mode": "corrected",
            "cfg_guidance": 2.0,
            "top_k": 5,
            "temperature": 0.8,
            "typical_filtering": True,
            "typical_mass": 0.3,
            "output_loudness": "codec",
        },
    ),
    "chunks": (
        "own",
        {
            "seed": 6,
            "feedback_steps": 2,
            "time_stretch_factor": 2,
            "coarse_chunk_size_s": 0.7,
            "coarse2fine_chunk_size_s": 0.4,
            "top_p": 0.8,
            "cfg_guidance": 1.5,
            "sample_cutoff": 0.5,
            "mask_temperature": 3.0,
        },
    ),
    "reseed": (
        "own",
        {"seed": 8, "reseed": True, "coarse_only": True, "coarse_chunk_size_s": 0.7},
    ),
}


def main(folder: Path, checkpoint: Path) -> None:
    """Make the folder."""
    folder.mkdir(parents=True)
    store = folder / "artifacts"
    _run("export", "--checkpoint", checkpoint, "--artifacts", store, "--generator")
    (model,) = store.iterdir()
    ((_, version),) = versions(model)
    version.rename(folder / "v1")
    manifest = json.loads((folder / "v1" / "manifest.json").read_text("utf-8"))
    dims = next(c["dims"] for c in manifest["components"] if c["name"] == "codec_encoder")
    own = dims["sample_rate"]
    soundfile.write(folder / "own.wav", _clip(own, 1), own, "FLOAT")
    other = 48000 if own != 48000 else 44100
    soundfile.write(folder / "other.wav", _clip(other, 2), other, "PCM_24")
    cases = []
    for name, (clip, options) in OPTIONS.items():
        target, saved = folder / f"{name}.wav", folder / f"{name}.npz"
        where = ("--artifacts", folder / "v1", "--save-tokens", saved, "--threads", "1")
        _run("vamp", folder / f"{clip}.wav", target, *where, *_words(options))
        with np.load(saved) as made:
            arrays = {key: made[key] for key in ("input_codes", "mask", "codes")}
        cases.append(
            {
                "name": name,
                "clip": f"{clip}.wav",
                "options": options,
                "pieces": options.get("batch_size", 1),
                **{
                    key: {"dims": value.shape, "data": value.reshape(-1).tolist()}
                    for key, value in arrays.items()
                },
            }
        )
    (folder / "cases.json").write_text(json.dumps(cases), "utf-8")


def _clip(rate: int, channels: int) -> np.ndarray:
    """Return 1.5 s of tones that fade, with a little noise, [samples, channels]."""
    time = np.arange(int(1.5 * rate)) / rate
    random = np.random.default_rng(1)
    return np.stack(
        [
            0.3 * np.sin(2 * np.pi * (330 + 110 * c) * time) * np.exp(-3 * (time % 0.5))
            + 0.01 * random.standard_normal(time.size)
            for c in range(channels)
        ],
        axis=1,
    ).astype(np.float32)


def _words(options: dict[str, Any]) -> list[str]:
    """Return options as the command line has them."""
    named = [(f"--{name.replace('_', '-')}", value) for name, value in options.items()]
    return [
        word
        for name, value in named
        for word in ([name] if value is True else [name, str(value)])
    ]


def _run(*words: object) -> None:
    command = [sys.executable, "-m", "vampnet_onnx", *map(str, words)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    given = sys.argv[1:]
    main(Path(given[0]), Path(given[1]) if given[1:] else ROOT / "tests" / "golden" / "a")
