"""One case, both sides: metrics, differing tokens, and what the figures need."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from vampnet_onnx.configs.config import Ties
from vampnet_onnx.configs.manifest import ComponentRecord
from vampnet_onnx.verify.numbers import metrics
from vampnet_onnx.verify.numbers.ties import (
    TokenDifferences,
    independent_differences,
    residual_differences,
)

from .compare_drawn import compare_drawn
from .computed import Computed
from .drawn_cases import DRAWN
from .generation.cases import GENERATION
from .generation.compare import compare_generation
from .measures import Comparison, TokenCounts, float_metrics, nonfinite, nonfinite_message

__all__ = ["Comparison", "SignatureError", "TokenCounts", "compare", "require_same_signature"]


class SignatureError(Exception):
    """The export's outputs are not of the names, dtypes or shapes the reference has."""


def compare(
    component: ComponentRecord,
    reference: Computed,
    export: Mapping[str, np.ndarray],
    ties: Ties,
) -> Comparison:
    """Compare the two sides of one case.

    Args:
        component: from the manifest.
        reference: outputs and margins of the oracle.
        export: outputs of the artifact.
        ties: margins below which a token is a tie.
    """
    if component.name in DRAWN:
        return compare_drawn(component, reference, export, ties)
    if component.name == GENERATION:
        return compare_generation(component, reference, export, ties)
    if component.name == "codec_encoder":
        return _compare_encoder(component, reference, export, ties)
    if component.name == "codec_decoder":
        return _compare_decoder(reference, export)
    return _compare_transformer(component, reference, export, ties)


def _compare_encoder(
    component: ComponentRecord,
    reference: Computed,
    export: Mapping[str, np.ndarray],
    ties: Ties,
) -> Comparison:
    codes, margins = reference.outputs["codes"], _margins(reference)
    found = residual_differences(codes, export["codes"], margins, ties.codes_margin)
    r, e = reference.outputs["latents"], export["latents"]
    widths = component.dims["codebook_dims"]
    assert isinstance(widths, tuple)
    owner = np.repeat(np.arange(len(widths)), widths)  # the codebook of each latent channel
    # Latents after a tie belong to another residual and are not comparable.
    excused = found.knock_on | (np.cumsum(found.ambiguous, axis=1) - found.ambiguous > 0)
    kept = ~excused[:, owner]
    error = np.abs(e.astype(np.float64) - r)
    by_book = np.stack([error[:, owner == i].max(axis=(0, 1)) for i in range(len(widths))])
    return Comparison(
        metrics={
            **float_metrics(r[kept], e[kept]),
            **nonfinite(r, e),
            **_token_metrics(found),
        },
        quantity="latents",
        error=by_book,
        rows=[f"codebook {i}" for i in range(len(widths))],
        unit="frames",
        reference=r[kept],
        export=e[kept],
        message=_messages(found, codes, export["codes"], margins, r, e),
        tokens=_token_counts(found, axis=(0, 2)),
    )


def _compare_transformer(
    component: ComponentRecord,
    reference: Computed,
    export: Mapping[str, np.ndarray],
    ties: Ties,
) -> Comparison:
    r, e = reference.outputs["logits"], export["logits"]
    margins = _margins(reference)
    given, conditioning = (
        component.dims["n_codebooks"],
        component.dims["n_conditioning_codebooks"],
    )
    assert isinstance(given, int) and isinstance(conditioning, int)
    predicted = given - conditioning
    best_r, best_e = r.argmax(axis=1), e.argmax(axis=1)
    tolerance = ties.logits_margin * float(np.abs(r).max())
    found = independent_differences(best_r, best_e, margins, tolerance)
    # Positions are time-major, codebook-minor.
    error = np.abs(e.astype(np.float64) - r).max(axis=(0, 1)).reshape(-1, predicted).T
    by_book = TokenDifferences(
        *(
            x.reshape(x.shape[0], -1, predicted)
            for x in (found.unexplained, found.ambiguous, found.knock_on)
        )
    )
    return Comparison(
        metrics={
            **float_metrics(r, e),
            "kl_nats": metrics.kl_divergence(r, e, axis=1),
            **nonfinite(r, e),
            **_token_metrics(found),
        },
        quantity="logits",
        error=error,
        rows=[f"codebook {conditioning + i}" for i in range(predicted)],
        unit="frames",
        reference=r,
        export=e,
        message=_messages(found, best_r, best_e, margins, r, e),
        tokens=_token_counts(by_book, axis=(0, 1)),
    )


def _compare_decoder(reference: Computed, export: Mapping[str, np.ndarray]) -> Comparison:
    r, e = reference.outputs["audio"], export["audio"]
    return Comparison(
        metrics={
            **float_metrics(r, e),
            "snr_db": metrics.snr_db(r, e),
            **nonfinite(r, e),
        },
        quantity="audio",
        error=np.abs(e.astype(np.float64) - r)[:, 0],
        rows=[f"item {i}" for i in range(r.shape[0])],
        unit="samples",
        reference=r,
        export=e,
        message=nonfinite_message(r, e),
    )


def require_same_signature(
    reference: Mapping[str, np.ndarray], export: Mapping[str, np.ndarray]
) -> None:
    """Refuse outputs that cannot be compared at all.

    Raises:
        SignatureError: names, dtypes or shapes differ.
    """
    for name, wanted in reference.items():
        found = export.get(name)
        if found is None:
            raise SignatureError(f"output {name} is missing; there are {', '.join(export)}")
        if found.dtype != wanted.dtype or found.shape != wanted.shape:
            raise SignatureError(
                f"output {name} is {found.dtype} {found.shape}, the reference's is"
                f" {wanted.dtype} {wanted.shape}"
            )


def _token_metrics(found: TokenDifferences) -> dict[str, float]:
    total = found.unexplained.size
    return {
        "token_accuracy": 1 - float(found.any.sum()) / total,
        "tokens_unexplained": float(found.unexplained.sum()),
    }


def _token_counts(found: TokenDifferences, axis: tuple[int, int]) -> TokenCounts:
    differing = found.any.sum(axis=axis)
    compared = np.full_like(differing, found.any.size // differing.size)
    return TokenCounts(compared, differing, int(found.ambiguous.sum()))


def _messages(
    found: TokenDifferences,
    best_r: np.ndarray,
    best_e: np.ndarray,
    margins: np.ndarray,
    r: np.ndarray,
    e: np.ndarray,
) -> str:
    parts = [nonfinite_message(r, e)]
    if found.unexplained.any():
        where = tuple(int(i) for i in np.argwhere(found.unexplained)[0])
        parts.append(
            f"first unexplained token at {where}: reference {best_r[where]}, export"
            f" {best_e[where]}, margin {margins[where]:.3g}"
        )
    return "; ".join(part for part in parts if part)


def _margins(reference: Computed) -> np.ndarray:
    if reference.margins is None:
        raise ValueError("the reference gave no margins")
    return reference.margins
