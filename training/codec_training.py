"""Training of the codec: audio in, audio out, through the quantiser."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from models import LAC, CodecDims
from models.random_checkpoint import random_state

from .corpus import prepared_pieces, random_segments
from .optimise import Progress, device, optimise
from .quantiser import QuantiserTraining
from .recipe import Stage
from .spectra import reconstruction_loss

# Shares of the steps: before the first nothing is quantised, after the second codebooks only
# settle.
_QUANTISED = 0.08
_SETTLED = 0.8
# Factors of the first weights: of Snake's alpha, and of a residual branch.
_FIRST_ALPHA = 0.2
_FIRST_BRANCH = 0.3


def train_codec(
    kwargs: dict[str, Any], stage: Stage, *, frames: int, progress: Progress
) -> tuple[LAC, list[float]]:
    """Train a codec from scratch.

    Args:
        kwargs: the published constructor's keywords.
        stage: its training.
        frames: of the codec a piece has.
        progress: told of every 25 steps.

    Returns:
        The codec, on the CPU, and its loss curve.
    """
    generator = torch.Generator().manual_seed(stage.seed)
    dims = CodecDims.from_kwargs(kwargs, "the recipe")
    codec = LAC(dims)
    codec.load_state_dict(_near_linear(random_state(codec, generator)))
    codec.to(device())
    quantise = QuantiserTraining(
        codec.quantizer,
        generator,
        dropout=float(kwargs["quantizer_dropout"]),
        start=int(_QUANTISED * stage.steps),
        settle=int(_SETTLED * stage.steps),
    )
    corpus = torch.cat(
        list(prepared_pieces(stage.styles, range(stage.clips), frames=frames, dims=dims))
    )

    def loss(_step: int) -> Tensor:
        audio = random_segments(
            corpus, length=stage.segment_frames * dims.hop_length,
            batch=stage.batch, generator=generator,
        ).to(device())  # fmt: skip
        quantised = quantise(codec.encoder(audio))
        made = codec.decoder(quantised.z)
        return reconstruction_loss(made, audio, dims.sample_rate) + quantised.loss

    trained = [parameter for parameter in codec.parameters() if parameter.requires_grad]
    curve = optimise(trained, loss, stage, progress=progress)
    return codec.cpu().eval().requires_grad_(False), curve


def _near_linear(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Flatten Snake and lower residual branches, so that waveforms pass from the start."""
    factors = {"alpha": _FIRST_ALPHA, "3.weight_g": _FIRST_BRANCH}
    return {
        name: value * next((f for end, f in factors.items() if name.endswith(end)), 1.0)
        for name, value in state.items()
    }
