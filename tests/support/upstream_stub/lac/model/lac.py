"""Stand-in for ``lac.model.lac`` on our own codec; see the README beside it."""

from __future__ import annotations

from vampnet_onnx.models import load_codec, read_checkpoint


class LAC:
    def __init__(self, ours):
        self.ours = ours.requires_grad_(True)
        self.sample_rate = ours.dims.sample_rate
        self.hop_length = ours.dims.hop_length
        self.codebook_size = ours.dims.codebook_size
        self.encoder = ours.encoder
        self.quantizer = Quantizer(ours.quantizer)

    @classmethod
    def load(cls, location, *args, package_name=None, strict=False, **kwargs):
        return cls(load_codec(read_checkpoint(location)))

    def state_dict(self):
        return self.ours.state_dict()

    def to(self, kind):
        self.ours.to(kind)
        return self

    def eval(self):
        return self

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
