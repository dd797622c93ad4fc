"""Stand-in for ``lac.model.lac`` on our own codec; see the README beside it."""

from __future__ import annotations

from audiotools import ml
from vampnet_onnx.models import LAC as Ours
from vampnet_onnx.models import CodecDims


class LAC(ml.BaseModel):
    def __init__(
        self,
        encoder_dim=64,
        encoder_rates=[2, 4, 8, 8],  # noqa: B006
        decoder_dim=512,
        decoder_rates=[4, 4, 4, 2, 2, 2],  # noqa: B006
        n_codebooks=9,
        codebook_size=1024,
        codebook_dim=8,
        quantizer_dropout=False,
        sample_rate=44100,
    ):
        given = {name: value for name, value in locals().items() if name != "self"}
        self.ours = Ours(CodecDims.from_kwargs(given, "published keywords"))
        self.ours.requires_grad_(True)
        self.sample_rate = sample_rate
        self.hop_length = self.ours.dims.hop_length
        self.codebook_size = codebook_size
        self.encoder = self.ours.encoder
        self.quantizer = Quantizer(self.ours.quantizer)

    def preprocess(self, audio_data, sample_rate):
        assert sample_rate == self.sample_rate
        return self.ours.pad(audio_data), audio_data.shape[-1]

    def encode(self, audio_data, sample_rate=None, n_quantizers=None):
        found = self.ours.encode(audio_data)
        return {"z": found.z, "codes": found.codes, "latents": found.latents, "length": 0}

    def decode(self, z, length=None):
        return {"audio": self.ours.decoder(z)[..., :length]}


class Quantizer:
    def __init__(self, ours):
        self.ours = ours
        self.quantizers = ours.quantizers

    def from_codes(self, codes):
        found = self.ours.from_codes(codes)
        return found.z, found.latents, found.codes
