"""Stand-in for ``vampnet.interface`` on our own models; see the README beside it."""

from __future__ import annotations

from pathlib import Path

import torch
from audiotools import AudioSignal
from lac.model.lac import LAC
from vampnet_onnx.models.behaviour import audio, interface
from vampnet_onnx.models.behaviour.generate import token_model
from vampnet_onnx.models.behaviour.mask_plan import build_mask
from vampnet_onnx.models.behaviour.noise import TorchNoise
from vampnet_onnx.configs.settings import generation_settings, mask_settings, vamp_settings

from .beats import WaveBeat  # noqa: F401
from .modules.transformer import VampNet

RENAMED = {
    "_sampling_steps": "steps",
    "_dropout": "dropout",
    "ncc": "n_conditioning_codebooks",
}


def renamed(options):
    return {RENAMED.get(name, name): value for name, value in options.items()}


class Interface:
    def __init__(
        self,
        coarse_ckpt=None,
        coarse_lora_ckpt=None,
        coarse2fine_ckpt=None,
        coarse2fine_lora_ckpt=None,
        codec_ckpt=None,
        wavebeat_ckpt="./models/wavebeat.pth",
        device="cpu",
        coarse_chunk_size_s=10,
        coarse2fine_chunk_size_s=3,
        compile=True,
    ):
        assert wavebeat_ckpt is None and not compile
        print("loading everything", torch.rand(3))
        self.codec = LAC.load(Path(codec_ckpt))
        self.coarse = VampNet.load(location=Path(coarse_ckpt), map_location="cpu")
        self.c2f = VampNet.load(location=Path(coarse2fine_ckpt), map_location="cpu")
        self.chunks = (coarse_chunk_size_s, coarse2fine_chunk_size_s)

    def _preprocess(self, signal):
        dims = self.codec.ours.dims
        made = audio.preprocess(signal.audio_data, signal.sample_rate, dims)
        return AudioSignal(made, dims.sample_rate)

    def encode(self, signal):
        return interface.encode(signal.audio_data, signal.sample_rate, self.codec.ours)

    def decode(self, z):
        return AudioSignal(self.codec.ours.decode_requantised(z), self.codec.sample_rate)

    def build_mask(self, z, sig=None, **options):
        return build_mask(z, mask_settings(**renamed(options)), self.codec.ours.dims)

    def vamp(
        self,
        codes,
        mask,
        batch_size=1,
        feedback_steps=1,
        time_stretch_factor=1,
        return_mask=False,
        seed=None,
        **options,
    ):
        quantizer = self.codec.ours.quantizer
        made = interface.vamp(
            codes,
            mask,
            coarse=token_model("coarse", self.coarse.ours, quantizer),
            c2f=token_model("c2f", self.c2f.ours, quantizer),
            dims=self.codec.ours.dims,
            settings=vamp_settings(
                generation_settings(**renamed(options)),
                batch_size=batch_size,
                feedback_steps=feedback_steps,
                time_stretch_factor=time_stretch_factor,
                coarse_chunk_s=self.chunks[0],
                c2f_chunk_s=self.chunks[1],
                reseed=seed is not None,
            ),
            noise=TorchNoise(seed),
        )
        return (made.tokens, made.masked_tokens) if return_mask else made.tokens
