"""Stand-in for ``vampnet.modules.transformer`` on our own models; see the README beside it."""

from __future__ import annotations

from audiotools import ml
from vampnet_onnx.models import VampNet as Ours
from vampnet_onnx.models import VampNetDims
from vampnet_onnx.models.behaviour import sampling
from vampnet_onnx.models.behaviour.generate import generate, token_model
from vampnet_onnx.models.behaviour.noise import TorchNoise
from vampnet_onnx.configs.settings import generation_settings

LORA_R = 8


class VampNet(ml.BaseModel):
    def __init__(
        self,
        n_heads=20,
        n_layers=16,
        r_cond_dim=0,
        n_codebooks=9,
        n_conditioning_codebooks=0,
        latent_dim=8,
        embedding_dim=1280,
        vocab_size=1024,
        flash_attn=True,
        noise_mode="mask",
        dropout=0.1,
        ctrl_dims=None,
        cfg_dropout_prob=0.2,
        cond_dim=0,
    ):
        given = {name: value for name, value in locals().items() if name != "self"}
        assert r_cond_dim == 0 and noise_mode == "mask" and cond_dim >= 0 and ctrl_dims is None
        if flash_attn:
            from flash_attn.flash_attention import FlashMHA  # noqa: F401
        dims = VampNetDims.from_kwargs(given, "published keywords")
        self.ours = Ours(dims, rank=LORA_R).requires_grad_(True)
        self.embedding = Embedding(self.ours.embedding)
        self.transformer = self.ours.transformer
        self.n_codebooks = n_codebooks

    def forward(self, x, ctrls=None, ctrl_masks=None, return_activations=False):
        return self.ours(x)

    __call__ = forward

    def generate(
        self,
        codec,
        time_steps=300,
        _sampling_steps=12,
        start_tokens=None,
        temperature=1.0,
        mask=None,
        mask_temperature=10.5,
        ctrls=None,
        ctrl_masks=None,
        typical_filtering=True,
        typical_mass=0.15,
        typical_min_tokens=64,
        top_p=None,
        seed=None,
        sample_cutoff=1.0,
        return_signal=True,
        debug=False,
        causal_weight=0.0,
        cfg_guidance=None,
    ):
        assert not return_signal and time_steps == start_tokens.shape[-1]
        options = generation_settings(
            steps=_sampling_steps,
            temperature=temperature,
            mask_temperature=mask_temperature,
            typical_filtering=typical_filtering,
            typical_mass=typical_mass,
            typical_min_tokens=typical_min_tokens,
            top_p=top_p,
            sample_cutoff=sample_cutoff,
            cfg_guidance=cfg_guidance,
        )
        model = token_model("stand-in", self.ours, codec.ours.quantizer)
        return generate(model, start_tokens, mask, settings=options, noise=TorchNoise())


class Embedding:
    def __init__(self, ours):
        self.ours = ours

    def from_codes(self, codes, codec):
        return self.ours.from_codes(codes, codec.ours.quantizer)


def sample_from_logits(
    logits,
    sample=True,
    temperature=1.0,
    top_k=None,
    top_p=None,
    typical_filtering=False,
    typical_mass=0.2,
    typical_min_tokens=1,
    return_probs=False,
):
    if top_k is not None:
        logits = sampling.keep_top_k(logits, top_k)
    if top_p is not None:
        logits = sampling.keep_top_p(logits, top_p)
    batch, positions, entries = logits.shape
    noise = TorchNoise().exponential((batch * positions, entries))
    found = sampling.sample_from_logits(logits, noise, temperature=temperature)
    return found if return_probs else found[0]


def typical_filter(logits, typical_mass=0.95, typical_min_tokens=1):
    return sampling.keep_typical(logits, typical_mass, typical_min_tokens)


def mask_by_random_topk(num_to_mask, probs, temperature=1.0):
    uniform = TorchNoise().uniform(tuple(probs.shape))
    scale = temperature.reshape(())  # a number has no such method
    return sampling.mask_by_random_topk(num_to_mask[:, 0], probs, scale, uniform)
