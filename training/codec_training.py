"""Training of the codec: audio in, audio out, through the quantiser."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vampnet_onnx.models import LAC, CodecDims
from vampnet_onnx.models.checkpoints.random_checkpoint import random_state

from .corpus import prepared_pieces, random_segments
from .lapped_start import start_lapped
from .optimise import Progress, device, optimise
from .quantiser import QuantiserTraining, fit_books
from .recipe import Stage
from .spectra import reconstruction_loss

_SETTLED = 0.8  # share of the steps after which codebooks only settle
# Factor of the learning rate for what decides on codes: gradients that pass through a choice
# are a guess.  At the decoder's rate the encoder lost what it started as; that was before the
# commitment left lengths alone, and was not tried again.
_SLOWER = 0.1
_FITTED = 100  # batches that the first codebooks are fitted to


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
    codec.load_state_dict(random_state(codec, generator))
    start_lapped(codec)
    corpus = torch.cat(
        list(prepared_pieces(stage.styles, range(stage.clips), frames=frames, dims=dims))
    )
    codec.to(device())

    def segments(batch: int) -> Tensor:
        drawn = random_segments(
            corpus,
            length=stage.segment_frames * dims.hop_length,
            batch=batch,
            frame=dims.hop_length,
            generator=generator,
        )
        return drawn.to(device())

    with torch.no_grad():
        encoded = [codec.encoder(segments(stage.batch)) for _ in range(_FITTED)]
    fit_books(codec.quantizer, torch.cat(encoded), generator)
    quantise = QuantiserTraining(
        codec.quantizer,
        generator,
        dropout=float(kwargs["quantizer_dropout"]),
        settle=int(_SETTLED * stage.steps),
    )

    def loss(_step: int) -> Tensor:
        audio = segments(stage.batch)
        quantised = quantise(codec.encoder(audio))
        made = codec.decoder(quantised.z)
        return reconstruction_loss(made, audio, dims.sample_rate) + quantised.loss

    chosen = [*codec.encoder.parameters(), *codec.quantizer.parameters()]
    trained = {
        1.0: codec.decoder.parameters(),
        _SLOWER: [parameter for parameter in chosen if parameter.requires_grad],
    }
    curve = optimise(trained, loss, stage, progress=progress)
    return codec.cpu().eval().requires_grad_(False), curve
