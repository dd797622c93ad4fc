"""Audio preparation: what comes in front of the codec's encoder.

Published as ``vampnet.interface.Interface._preprocess`` on ``audiotools.AudioSignal``:
resample (`resample`), mean of the channels, loudness to -24 LUFS (`loudness`), scale down a
peak above 1, zero-pad on the right to a multiple of the hop.

Formulas: band-limited interpolation with a windowed sinc (J. O. Smith, "Digital Audio
Resampling"), as ``julius.resample_frac``; loudness and its gates from ITU-R BS.1770-4, with
the K-weighting of ``pyloudnorm`` (two biquads of R. Bristow-Johnson's "Audio EQ Cookbook"),
which is 0.04 to 0.24 dB away from the standard's own table.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.models.networks.dims import CodecDims

TARGET_LOUDNESS = -24.0  # LUFS
LOUDNESS_FLOOR = -70.0  # LUFS; also the absolute gate of BS.1770-4
PEAK_LIMIT = 1.0

_ZEROS = 24  # zero crossings of the sinc on each side
_ROLLOFF = 0.945  # cut-off as a fraction of the lower Nyquist frequency
_LARGEST_RESAMPLER = 1 << 28  # taps, 1 GiB; 96 kHz to 44.1 kHz needs 64 thousand

SHORTEST_MEASURED = 0.5  # seconds
LOUDNESS_OFFSET = -0.691  # dB, BS.1770-4 equation 2
RELATIVE_GATE = -10.0  # LU
_CHANNEL_GAINS = (1.0, 1.0, 1.0, 1.41, 1.41)  # L, R, C, Ls, Rs

# Samples a block of `biquad`: larger costs more products, smaller more memory for states.
_BLOCK = 64


def preprocess(audio: Tensor, sample_rate: int, dims: CodecDims) -> Tensor:
    """Prepare audio for the codec.

    Args:
        audio: float32 [B, channels, samples] in [-1, 1], at least one sample.
        sample_rate: of the audio, Hz.
        dims: of the codec; its rate and hop are the target.

    Returns:
        float32 [B, 1, padded]: mono at the codec's rate, -24 LUFS unless the peak had to be
        scaled down to 1, padded to a multiple of the hop.

    Raises:
        InputError: the audio is empty, not finite or misshapen, or the rate is impossible.
    """
    _require_audio(audio)
    mono = resample(audio, sample_rate, dims.sample_rate).mean(dim=1, keepdim=True)
    levelled = limit_peak(normalise_loudness(mono, dims.sample_rate))
    samples, hop = levelled.shape[-1], dims.hop_length
    return F.pad(levelled, (0, -samples % hop))


def resample(audio: Tensor, old_rate: int, new_rate: int) -> Tensor:
    """Change the sample rate, in Hz, by windowed-sinc interpolation.

    The rates are divided by their greatest common divisor; then output sample
    n = m * new + i is the inner product of phase i's kernel with the input from m * old on.

    Args:
        audio: float32 [B, channels, samples], at least one sample.

    Returns:
        float32 [B, channels, floor(new_rate * samples / old_rate)], at least one sample; the
        input itself where the rates are equal.

    Raises:
        InputError: a rate is not positive, nothing would be left, or the ratio of the rates
            is so odd that the interpolator does not fit into memory.
    """
    if old_rate < 1 or new_rate < 1:
        raise InputError(f"sample rates must be positive, not {old_rate} and {new_rate} Hz")
    if old_rate == new_rate:
        return audio
    samples = audio.shape[-1]
    kept = new_rate * samples // old_rate
    if kept < 1:
        raise InputError(
            f"{samples} samples at {old_rate} Hz are less than one sample at {new_rate} Hz"
        )
    by = interpolator(old_rate, new_rate)
    padded = F.pad(
        audio.flatten(0, 1)[:, None], (by.width, by.width + by.old), mode="replicate"
    )
    phases = F.conv1d(padded, by.kernels[:, None], stride=by.old)
    return phases.transpose(1, 2).reshape(*audio.shape[:2], -1)[..., :kept]


@dataclass(frozen=True)
class Interpolator:
    """What changes one sample rate into another.

    Attributes:
        old: the old rate divided by the rates' greatest common divisor.
        width: taps on each side of a phase's own input samples.
        kernels: one a phase, each of sum 1, float32 [new, 2 * width + old].
    """

    old: int
    new: int
    width: int
    kernels: Tensor


def interpolator(old_rate: int, new_rate: int) -> Interpolator:
    """Return the windowed-sinc interpolator between two different rates in Hz.

    Raises:
        InputError: the ratio of the rates is so odd that it does not fit into memory.
    """
    if interpolator_taps(old_rate, new_rate) > _LARGEST_RESAMPLER:
        raise InputError(
            f"cannot resample from {old_rate} to {new_rate} Hz: the rates have no useful"
            " common divisor; convert the audio to a standard rate first"
        )
    old, new, cutoff, width = _interpolation(old_rate, new_rate)
    position = torch.arange(-width, width + old, dtype=torch.float32) / old
    phase = torch.arange(0, -new, -1, dtype=torch.float32)[:, None] / new
    crossing = ((phase + position) * cutoff).clamp(-_ZEROS, _ZEROS) * math.pi
    window = torch.cos(crossing / _ZEROS / 2).square()  # Hann
    sinc = torch.where(crossing == 0, 1.0, torch.sin(crossing) / crossing)
    kernels = sinc * window
    return Interpolator(old, new, width, kernels / kernels.sum(dim=1, keepdim=True))


def interpolator_taps(old_rate: int, new_rate: int) -> int:
    """Return how many numbers the kernels between two rates hold."""
    old, new, _, width = _interpolation(old_rate, new_rate)
    return new * (2 * width + old)


def _interpolation(old_rate: int, new_rate: int) -> tuple[int, int, float, int]:
    """Return both rates in lowest terms, the cut-off and the width on each side."""
    common = math.gcd(old_rate, new_rate)
    old, new = old_rate // common, new_rate // common
    cutoff = min(old, new) * _ROLLOFF
    return old, new, cutoff, math.ceil(_ZEROS * old / cutoff)


def loudness(audio: Tensor, sample_rate: int) -> Tensor:
    """Measure integrated loudness by ITU-R BS.1770-4.

    Blocks of 0.4 s overlap by three quarters; a last partial block is zero-padded and
    counted; audio under 0.5 s is zero-padded for the measurement.

    Args:
        audio: float32 [B, channels, samples], up to five channels in the order of the
            standard (L, R, C, Ls, Rs).
        sample_rate: Hz.

    Returns:
        float32 [B], LUFS, never below -70.

    Raises:
        InputError: there are more than five channels.
    """
    channels, samples = audio.shape[1:]
    if channels > len(_CHANNEL_GAINS):
        raise InputError(f"loudness is defined for up to 5 channels, not {channels}")
    if samples / sample_rate < SHORTEST_MEASURED:
        missing = int((SHORTEST_MEASURED - samples / sample_rate) * sample_rate)
        audio = F.pad(audio, (0, missing))
    powers = _block_powers(k_weight(audio, sample_rate), sample_rate)
    gains = torch.tensor(_CHANNEL_GAINS[:channels], dtype=torch.float64)[:, None]
    block_power = (powers * gains).sum(dim=1)
    block_level = _level(block_power)
    audible = block_level > LOUDNESS_FLOOR
    threshold = _level(_mean_where(block_power, audible)) + RELATIVE_GATE
    counted = audible & (block_level > threshold[:, None])
    measured = _level(_mean_where(block_power, counted))
    return measured.clamp(min=LOUDNESS_FLOOR).to(torch.float32)


def normalise_loudness(audio: Tensor, sample_rate: int) -> Tensor:
    """Scale each item of audio (float32 [B, channels, samples]) to `TARGET_LOUDNESS`."""
    gain = torch.exp((TARGET_LOUDNESS - loudness(audio, sample_rate)) * (math.log(10) / 20))
    return audio * gain[:, None, None]


def limit_peak(audio: Tensor) -> Tensor:
    """Scale down every channel (the axis before the last) whose peak exceeds `PEAK_LIMIT`."""
    found = audio.abs().amax(dim=-1, keepdim=True)
    gain = torch.where(found > PEAK_LIMIT, PEAK_LIMIT / found, torch.ones_like(found))
    return audio * gain


def k_weight(audio: Tensor, sample_rate: int) -> Tensor:
    """Apply the K-weighting of ``pyloudnorm``: a high shelf, then a high pass.

    The coefficients are rounded to float32, as the published package holds them; the
    recursion runs in float64, as the golden sets were recorded (published: float32, a few
    1e-5 dB apart).  Takes float [..., samples] at a rate in Hz, returns float64.
    """
    shelf, highpass = k_weighting(sample_rate)
    return biquad(biquad(audio, shelf), highpass)


def k_weighting(sample_rate: int) -> tuple[Tensor, Tensor]:
    """Return the two filters of the K-weighting as `biquad` coefficients, float64 [5]."""
    shelf = _high_shelf(sample_rate, gain_db=4.0, quality=1 / math.sqrt(2), frequency=1500.0)
    return shelf, _high_pass(sample_rate, quality=0.5, frequency=38.0)


def biquad(audio: Tensor, coefficients: Tensor) -> Tensor:
    r"""Filter by y[n] = b0 x[n] + b1 x[n-1] + b2 x[n-2] - a1 y[n-1] - a2 y[n-2].

    The recursion is evaluated exactly, only in another order of the same float64 operations.
    In blocks of L samples with the state s (two numbers) of transposed direct form II,

        y[k] = H x[k] + O s[k]          H: L x L Toeplitz of the impulse response
        s[k+1] = A^L s[k] + G x[k]      A: the state's transition over one sample

    and the sum over all earlier blocks is taken by doubling the distance, in log2(blocks)
    passes.  The result differs from the sample-by-sample recursion by rounding alone: for the
    K-weighting 2e-12 of the peak at 44.1 kHz, 5e-11 at 192 kHz.

    Takes float [..., samples], at least one sample, and coefficients b0, b1, b2, a1, a2 for
    a0 = 1, float64 [5]; returns float64 [..., samples].
    """
    response, from_state, to_state, transition = _block_matrices(coefficients, _BLOCK)
    samples = audio.shape[-1]
    padded = F.pad(audio.to(torch.float64), (0, -samples % _BLOCK))
    blocks = padded.reshape(*audio.shape[:-1], -1, _BLOCK)
    states = blocks @ to_state.T  # after each block, as if it had been the first
    distance = 1
    while distance < states.shape[-2]:
        carried = states[..., :-distance, :] @ transition.T
        states = torch.cat(
            [states[..., :distance, :], states[..., distance:, :] + carried], dim=-2
        )
        transition = transition @ transition
        distance *= 2
    before = F.pad(states[..., :-1, :], (0, 0, 1, 0))
    filtered = blocks @ response.T + before @ from_state.T
    return filtered.flatten(-2)[..., :samples]


def _block_matrices(
    coefficients: Tensor, length: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return H [L, L], O [L, 2], G [2, L] and A^L [2, 2] of `biquad`, float64."""
    b0, b1, b2, a1, a2 = coefficients.to(torch.float64)
    zero, one = torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64)
    step = torch.stack([torch.stack([-a1, one]), torch.stack([-a2, zero])])
    entry = torch.stack([b1 - a1 * b0, b2 - a2 * b0])
    powers = [torch.eye(2, dtype=torch.float64)]
    for _ in range(length):
        powers.append(step @ powers[-1])
    from_state = torch.stack([power[0] for power in powers[:length]])
    to_state = torch.stack([power @ entry for power in powers[length - 1 :: -1]], dim=1)
    impulse = torch.cat([b0[None], from_state[:-1] @ entry])
    lag = torch.arange(length)[:, None] - torch.arange(length)
    response = torch.where(lag >= 0, impulse[lag.clamp(min=0)], zero)
    return response, from_state, to_state, powers[length]


def _high_shelf(
    sample_rate: int, *, gain_db: float, quality: float, frequency: float
) -> Tensor:
    """Return the cookbook's high shelf as `biquad` coefficients rounded to float32."""
    amplitude = 10 ** (gain_db / 40)
    c, alpha = _angle(sample_rate, frequency, quality)
    more, less, root = amplitude + 1, amplitude - 1, 2 * math.sqrt(amplitude) * alpha
    b = (
        amplitude * (more + less * c + root),
        -2 * amplitude * (less + more * c),
        amplitude * (more + less * c - root),
    )
    return _normalised(
        b, (more - less * c + root, 2 * (less - more * c), more - less * c - root)
    )


def _high_pass(sample_rate: int, *, quality: float, frequency: float) -> Tensor:
    """Return the cookbook's high pass as `biquad` coefficients rounded to float32."""
    c, alpha = _angle(sample_rate, frequency, quality)
    b = ((1 + c) / 2, -(1 + c), (1 + c) / 2)
    return _normalised(b, (1 + alpha, -2 * c, 1 - alpha))


def _angle(sample_rate: int, frequency: float, quality: float) -> tuple[float, float]:
    """Return cos(w0) and the cookbook's alpha."""
    angle = 2 * math.pi * frequency / sample_rate
    return math.cos(angle), math.sin(angle) / (2 * quality)


def _normalised(b: tuple[float, ...], a: tuple[float, ...]) -> Tensor:
    values = torch.tensor([*b, *a[1:]], dtype=torch.float64) / a[0]
    return values.to(torch.float32).to(torch.float64)


def _block_powers(audio: Tensor, sample_rate: int) -> Tensor:
    """Return the mean square of every gating block, float64 [B, channels, blocks]."""
    blocks = gating(sample_rate)
    length, stride = blocks.length, blocks.stride
    samples = audio.shape[-1]
    count = math.ceil(max(samples - length, 0) / stride) + 1
    padded = F.pad(audio, (0, (count - 1) * stride + length - samples))
    return padded.square().unfold(-1, length, stride).sum(-1) / blocks.scale


@dataclass(frozen=True)
class Gating:
    """The blocks that loudness is measured in.

    Attributes:
        length: samples of a block, 0.4 s.
        stride: samples from one to the next, 0.1 s.
        scale: what a block's energy is divided by; not its length where that was rounded.
    """

    length: int
    stride: int
    scale: float

    @property
    def segments(self) -> int:
        """Whole strides in a block."""
        return self.length // self.stride


def gating(sample_rate: int) -> Gating:
    """Return the gating blocks at a rate in Hz."""
    return Gating(2 * sample_rate // 5, sample_rate // 10, 0.4 * sample_rate)


def _level(power: Tensor) -> Tensor:
    return LOUDNESS_OFFSET + 10 * torch.log10(power)


def _mean_where(power: Tensor, counted: Tensor) -> Tensor:
    """Return each row's mean over the counted blocks, float64 [B]; 0 where there are none."""
    return torch.where(counted, power, 0.0).sum(-1) / counted.sum(-1).clamp(min=1)


def _require_audio(audio: Tensor) -> None:
    if audio.ndim != 3 or not audio.is_floating_point():
        raise InputError(
            f"audio must be float [batch, channels, samples], not {audio.dtype}"
            f" {list(audio.shape)}"
        )
    if not audio.numel():
        raise InputError(f"the audio is empty: {list(audio.shape)}")
    if not torch.isfinite(audio).all():
        raise InputError("the audio holds NaN or infinite samples; repair the file first")
