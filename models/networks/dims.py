"""Dimensions of a checkpoint, read from its ``metadata.kwargs`` and from nowhere else.

The published constructors take their defaults for keywords the metadata leaves out and drop
keywords they do not know; so do we.  The defaults live in
``configs/reference_defaults.toml``: no dimension of any model is written in code.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.packaged import shipped

DEFAULTS = "reference_defaults.toml"
# Larger values cannot come from a real checkpoint and would only exhaust memory.
_LARGEST = 1 << 20

_LONGEST_SHOWN = 80
_PLAIN = (bool, int, float, str, list, tuple, dict)


@dataclass(frozen=True)
class CodecDims:
    """Dimensions of a LAC codec.

    Attributes:
        encoder_dim: channels after the encoder's first convolution; each stride doubles them.
        decoder_dim: channels after the decoder's first convolution; each rate halves them.
        decoder_rates: the decoder's upsampling factors; their product is the hop length.
        codebook_size: entries per codebook; also the index of the mask token.
        codebook_dims: width of each codebook's entries.
    """

    encoder_dim: int
    encoder_rates: tuple[int, ...]
    decoder_dim: int
    decoder_rates: tuple[int, ...]
    n_codebooks: int
    codebook_size: int
    codebook_dims: tuple[int, ...]
    sample_rate: int  # Hz

    @property
    def hop_length(self) -> int:
        """Samples per frame."""
        return math.prod(self.decoder_rates)

    @property
    def latent_dim(self) -> int:
        """Channels between encoder, quantiser and decoder."""
        return self.encoder_dim << len(self.encoder_rates)

    @classmethod
    def from_kwargs(cls, kwargs: Mapping[str, Any], source: str) -> Self:
        """Read the dimensions from ``metadata.kwargs`` of the file that `source` names.

        Raises:
            InputError: a keyword has an impossible value.
        """
        read = _Reader({**shipped(DEFAULTS)["codec"], **kwargs}, source)
        n_codebooks = read.integer("n_codebooks")
        width = read.values["codebook_dim"]
        dims = cls(
            encoder_dim=read.integer("encoder_dim"),
            encoder_rates=read.integers("encoder_rates"),
            decoder_dim=read.integer("decoder_dim"),
            decoder_rates=read.integers("decoder_rates"),
            n_codebooks=n_codebooks,
            codebook_size=read.integer("codebook_size"),
            codebook_dims=(
                read.integers("codebook_dim")
                if isinstance(width, (list, tuple))
                else (read.integer("codebook_dim"),) * n_codebooks
            ),
            sample_rate=read.integer("sample_rate"),
        )
        if max(dims.latent_dim, dims.hop_length) > _LARGEST:
            raise InputError(
                f"{source}: metadata.kwargs ask for {_shown(dims.latent_dim)} channels and"
                f" {_shown(dims.hop_length)} samples a frame; at most {_LARGEST} are possible"
            )
        odd = [r for r in (*dims.encoder_rates, *dims.decoder_rates) if r % 2]
        if odd:
            raise InputError(
                f"{source}: stride {odd[0]} in encoder_rates/decoder_rates is odd; an odd"
                " stride loses a frame in the published padding and is not supported"
            )
        if math.prod(dims.encoder_rates) != dims.hop_length:
            raise InputError(
                f"{source}: encoder_rates {list(dims.encoder_rates)} and decoder_rates"
                f" {list(dims.decoder_rates)} have different products; such a codec cannot"
                " return what it was given"
            )
        if len(dims.codebook_dims) != n_codebooks:
            raise InputError(
                f"{source}: codebook_dim lists {len(dims.codebook_dims)} widths for"
                f" n_codebooks = {n_codebooks}"
            )
        if dims.decoder_dim % 2 ** len(dims.decoder_rates):
            raise InputError(
                f"{source}: decoder_dim = {dims.decoder_dim} cannot be halved once for each"
                f" of the {len(dims.decoder_rates)} decoder_rates"
            )
        return dims


@dataclass(frozen=True)
class VampNetDims:
    """Dimensions of a VampNet transformer.

    Attributes:
        n_codebooks: codebooks in the input, conditioning ones included.
        n_conditioning_codebooks: leading codebooks that are given, never predicted.
        latent_dim: width of one codebook's latents.
        vocab_size: entries per codebook; the mask token is the index after the last.
    """

    n_heads: int
    n_layers: int
    n_codebooks: int
    n_conditioning_codebooks: int
    latent_dim: int
    embedding_dim: int
    vocab_size: int

    @property
    def n_predict_codebooks(self) -> int:
        """Codebooks the classifier predicts."""
        return self.n_codebooks - self.n_conditioning_codebooks

    @property
    def mask_token(self) -> int:
        """Index of the mask token, one past the vocabulary."""
        return self.vocab_size

    @classmethod
    def from_kwargs(cls, kwargs: Mapping[str, Any], source: str) -> Self:
        """Read the dimensions from ``metadata.kwargs`` of the file that `source` names.

        Raises:
            InputError: a keyword has an impossible value or asks for a part of the published
                package that no released checkpoint has (conditioning, controls).  `cond_dim`
                is no such one: it adds no weights there and changes nothing that is computed.
        """
        read = _Reader({**shipped(DEFAULTS)["vampnet"], **kwargs}, source)
        for name in ("r_cond_dim", "ctrl_dims"):
            if _is_set(read.values.get(name)):
                raise InputError(
                    f"{source}: {name} = {_shown(read.values[name])} asks for conditioning"
                    " inputs, which no released checkpoint has and this tool does not export"
                )
        if read.values["noise_mode"] != "mask":
            raise InputError(
                f"{source}: noise_mode = {_shown(read.values['noise_mode'])}; only 'mask' has"
                " a mask token and can be exported"
            )
        least = {"n_conditioning_codebooks": 0}
        names = [field.name for field in fields(cls)]
        dims = cls(**{name: read.integer(name, least.get(name, 1)) for name in names})
        if dims.embedding_dim % dims.n_heads:
            raise InputError(
                f"{source}: embedding_dim = {dims.embedding_dim} is not a multiple of"
                f" n_heads = {dims.n_heads}"
            )
        if dims.n_predict_codebooks < 1:
            raise InputError(
                f"{source}: n_conditioning_codebooks = {dims.n_conditioning_codebooks} leaves"
                f" nothing to predict of n_codebooks = {dims.n_codebooks}"
            )
        return dims


@dataclass(frozen=True)
class TrackerDims:
    """Dimensions of a beat tracker, read from the shapes of its tensors.

    Attributes:
        channels: after each block; each halves the rate.
        dilation_growth: a block's dilation is this many times that of the one before it,
            beginning anew with 1 every `stack_size` blocks.
    """

    audio_sample_rate: int  # Hz
    kernel_size: int
    channels: tuple[int, ...]
    dilation_growth: int
    stack_size: int

    def inputs(self, number: int) -> int:
        """Return the channels that go into a block."""
        return self.channels[number - 1] if number else 1

    def dilation(self, number: int) -> int:
        """Return the dilation of a block."""
        return int(self.dilation_growth ** (number % self.stack_size))

    @property
    def frame_samples(self) -> int:
        """Samples a frame."""
        return 1 << len(self.channels)

    @property
    def frame_rate(self) -> float:
        """Frames a second."""
        return self.audio_sample_rate / self.frame_samples


@dataclass(frozen=True)
class _Reader:
    values: dict[str, Any]
    source: str

    def integer(self, name: str, least: int = 1) -> int:
        return self._check(name, self.values[name], least)

    def integers(self, name: str) -> tuple[int, ...]:
        value = self.values[name]
        if not isinstance(value, (list, tuple)) or not value or len(value) > 64:
            raise InputError(
                f"{self.source}: metadata.kwargs.{name} = {_shown(value)} is not a list of"
                " integers"
            )
        return tuple(self._check(name, item, 1) for item in value)

    def _check(self, name: str, value: object, least: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise InputError(
                f"{self.source}: metadata.kwargs.{name} = {_shown(value)} is not an integer"
            )
        if not least <= value <= _LARGEST:
            raise InputError(
                f"{self.source}: metadata.kwargs.{name} = {_shown(value)} is outside"
                f" {least} to {_LARGEST}"
            )
        return value


def _is_set(value: object) -> bool:
    """Whether a keyword asks for anything; of values of any kind, tensors included."""
    return not (value is None or (isinstance(value, _PLAIN) and not value))


def _shown(value: object) -> str:
    """Show a value from an untrusted file in a message: on one line, never long."""
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # Python refuses to write out integers of thousands of digits
        text = f"an enormous {type(value).__name__}"
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"
