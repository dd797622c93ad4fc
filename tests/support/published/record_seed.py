"""Records what the published packages make of a seed; run by an interpreter that has them.

    python record_seed.py tests/golden/a tests/support/recorded/seed_7.npz

As its app does: torch is seeded, a mask is built, and a variation of several chunks and
feedback steps is made of it, once with the seed handed to ``vamp`` (the app), once without
(``hello.py``) and once so with beats laid over the mask; then fine codes alone, without a
mask.  On a CPU, in one thread.
"""

from __future__ import annotations

import sys
from pathlib import Path

import audiotools
import numpy as np
import torch
from vampnet import mask as vampnet_mask
from vampnet.interface import Interface

SEED, FRAMES = 7, 290
OF_MASK = {"periodic_prompt": 5, "periodic_prompt_width": 3, "_dropout": 0.2}
OF_BEATS = {"before_beat_s": 0.02, "after_beat_s": 0.05, "dropout": 0.3}
BEATS = np.array([0.1, 0.55, 0.97, 1.38, 1.82, 2.3])
OF_VAMP = {"batch_size": 2, "feedback_steps": 2, "_sampling_steps": 3}


class GivenBeats:
    """In place of the tracker: its beats, and those of them that begin a bar, in seconds."""

    def extract_beats(self, signal):
        return BEATS, BEATS[::3]


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
    draw = torch.Generator().manual_seed(0)
    entries = interface.codec.codebook_size
    codes = torch.randint(entries, (1, interface.codec.n_codebooks, FRAMES), generator=draw)
    found = {"codes": codes, "torch": np.array(torch.__version__)}
    for name, handed in (("seed", {"seed": SEED}), ("once", {})):
        audiotools.util.seed(SEED)
        mask = interface.build_mask(codes, rand_mask_intensity=0.9, **OF_MASK)
        tokens, masked = interface.vamp(codes, mask, return_mask=True, **OF_VAMP, **handed)
        found |= {f"{name}/mask": mask, f"{name}/tokens": tokens, f"{name}/masked": masked}
    audiotools.util.seed(SEED)
    mask = interface.build_mask(codes, **OF_MASK)
    interface.beat_tracker = GivenBeats()
    seconds = FRAMES * interface.codec.hop_length - 1
    heard = audiotools.AudioSignal(torch.zeros(1, 1, seconds), interface.codec.sample_rate)
    mask = vampnet_mask.mask_and(mask, interface.make_beat_mask(heard, **OF_BEATS))
    mask = vampnet_mask.codebook_mask(mask, 3)
    tokens = interface.vamp(codes, mask, **OF_VAMP)
    found |= {"beats/mask": mask, "beats/tokens": tokens}
    audiotools.util.seed(SEED)
    coarse = codes[:, : interface.c2f.n_conditioning_codebooks]
    found["fine/tokens"] = interface.coarse_to_fine(coarse, _sampling_steps=3, temperature=0.8)
    np.savez_compressed(target, **{key: np.asarray(value) for key, value in found.items()})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
