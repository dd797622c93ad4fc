"""How far what a form generates is from what the reference does, in terms of what is heard."""

import numpy as np

from vampnet_onnx.configs.manifest import ComponentRecord
from vampnet_onnx.verify.numbers import metrics
from vampnet_onnx.verify.numbers.mel import mel_spectrogram
from vampnet_onnx.verify.numbers.paired import Paired, entropies, used
from vampnet_onnx.verify.subjects.case import Comparison, Computed, Outputs, token_counts

from .plan import PER_EXCERPT


def compare_forms(
    component: ComponentRecord, reference: Computed, export: Outputs
) -> Comparison:
    """Compare what both sides generated with the same noise, seed by seed."""
    assert reference.likelihood is not None
    wanted, tokens = reference.outputs["tokens"], export["tokens"]
    size, n_coarse = component.dim("codebook_size"), component.dim("n_coarse")
    books = {"coarse": slice(0, n_coarse)}
    if component.dim("n_fine", least=0):
        books["c2f"] = slice(n_coarse, None)
    ours = reference.likelihood.own
    if tokens.min() < 0 or tokens.max() >= size:  # no code: nothing can be said of it
        theirs = {name: np.full_like(of, np.nan) for name, of in ours.items()}
    else:
        theirs = reference.likelihood.of(tokens)
    likelihoods = {name: Paired.of(theirs[name] - ours[name]) for name in books}
    varied = {
        name: Paired.of((entropies(tokens[:, own]) - entropies(wanted[:, own])).mean(axis=1))
        for name, own in books.items()
    }
    lost = 1 - used(tokens) / used(wanted)
    r, e = reference.outputs["audio"], export["audio"]
    heard, apart = _heard(r, e, component.dim("sample_rate"))
    differs = wanted != tokens
    measured = {
        "likelihood_shift": _worst(likelihoods),
        "entropy_shift": _worst(varied),
        "usage_lost": float(lost.max()),
        "mel_share": heard.at_most,
        **{f"{n}_{k}": v for n in books for k, v in _facts(n, ours, likelihoods, varied)},
        "mel_seeds": apart,
        "token_accuracy": 1 - float(differs.mean()),
        **metrics.nonfinite(r, e),
    }
    return Comparison(
        metrics=measured,
        quantity="log-likelihood of a variation, nats a code",
        error=differs.mean(axis=0),
        rows=[f"codebook {i}" for i in range(tokens.shape[1])],
        unit="frames",
        of_codes=True,
        reference=np.concatenate([ours[name] for name in books]),
        export=np.concatenate([theirs[name] for name in books]),
        tokens=token_counts(differs.transpose(1, 0, 2)),
        message=metrics.nonfinite_message(r, e),
        told=_told(len(tokens), likelihoods, varied, lost, heard, apart, differs),
    )


def _heard(r: np.ndarray, e: np.ndarray, rate: int) -> tuple[Paired, float]:
    """Return the mel distance of each pair, and of two seeds of the reference.

    The first is in shares of the second, which is in dB.
    """
    if not (np.isfinite(r).all() and np.isfinite(e).all()):
        return Paired(np.nan, np.nan), np.nan
    ours, theirs = (mel_spectrogram(audio, rate) for audio in (r, e))
    several = ours.reshape(-1, PER_EXCERPT, *ours.shape[1:])
    apart = float(np.abs(several[:, 0] - several[:, 1]).mean())
    each = np.abs(theirs - ours).reshape(len(ours), -1).mean(axis=1)
    return Paired.of(each / apart), apart


def _worst(by_network: dict[str, Paired]) -> float:
    return float(np.max([found.at_most for found in by_network.values()]))  # NaN is worst


def _facts(
    name: str,
    ours: dict[str, np.ndarray],
    likelihoods: dict[str, Paired],
    varied: dict[str, Paired],
) -> list[tuple[str, float]]:
    return [
        ("likelihood", float(ours[name].mean())),
        ("likelihood_mean", likelihoods[name].mean),
        ("likelihood_error", likelihoods[name].error),
        ("entropy_mean", varied[name].mean),
        ("entropy_error", varied[name].error),
    ]


def _told(
    count: int,
    likelihoods: dict[str, Paired],
    varied: dict[str, Paired],
    lost: np.ndarray,
    heard: Paired,
    apart: float,
    differs: np.ndarray,
) -> tuple[str, ...]:
    """Say what was measured in words."""

    def listed(by_network: dict[str, Paired]) -> str:
        return ", ".join(f"{name} {found}" for name, found in by_network.items())

    worst = int(lost.argmax())
    return (
        f"{count} variations of music were made by this form and by the reference, with the"
        f" same noise for each; {1 - differs.mean():.0%} of their codes are the same.",
        "How plausible the reference finds the form's variations, against its own (mean"
        f" difference and standard error, nats a code): {listed(likelihoods)}. Less than"
        " nothing is less like music, more is more repetitive.",
        "How much each of them varies in itself, against the reference's (entropy of its"
        f" codes, nats): {listed(varied)}; the codebook that loses most entries, {worst}, uses"
        f" {lost[worst]:.0%} fewer.",
        f"How different they sound: {heard.mean:.0%} ± {heard.error:.0%} of what two seeds of"
        f" the reference differ by, {apart:.1f} dB on average over the mel spectrum.",
    )
