"""Records what the published beat tracker makes of random weights; needs its package.

    python record_tracker.py tests/support/recorded/tracker.npz

The package is ``wavebeat`` (github.com/hugofloresgarcia/wavebeat), under the GPL: it is run,
by its public names, and nothing of it is here.  It asks for pytorch-lightning, mir_eval,
julius and torchaudio; what else it imports may be absent, as `absent` has it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from wavebeat.dstcn import dsTCNModel

SIZE = {"nblocks": 6, "kernel_size": 5, "dilation_growth": 3, "stack_size": 2}
WIDTH = {"channel_width": 3, "channel_growth": 2}
RATE = 2048


def main(target: Path) -> None:
    torch.manual_seed(0)
    rates = {"audio_sample_rate": RATE, "target_sample_rate": RATE / 2**6}
    model = dsTCNModel(**SIZE, **WIDTH, **rates).eval()
    found = {}
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.dtype.is_floating_point:
                noise = 0.1 * torch.randn_like(value)
                value.copy_(
                    value.abs() + 0.2 + noise.abs() if "var" in name else value + noise
                )
                found[f"state/{name}"] = value.numpy()
        for samples in (1, 63, 64, 65, 3001):
            audio = torch.randn(2, 1, samples)
            found[f"{samples}/audio"], found[f"{samples}/logits"] = audio, model(audio)
        for rate in (RATE, 6000):
            loud = (torch.rand(30) ** 6).repeat_interleave(4 * rate // 30)
            audio = (4096 * torch.randn(1, len(loud)) * loud).clamp(-32768, 32767).short()
            found[f"at_{rate}/audio"] = audio
            beats = model.predict_beats_from_array(audio / 32768, rate)
            found[f"at_{rate}/beats"], found[f"at_{rate}/downbeats"] = beats
    np.savez_compressed(target, **{key: np.asarray(value) for key, value in found.items()})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
