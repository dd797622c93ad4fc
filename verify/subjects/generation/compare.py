"""One whole generation, both sides: every step's tokens, then the audio."""

from collections.abc import Callable

import numpy as np

from vampnet_onnx.configs.config import Ties
from vampnet_onnx.configs.manifest import ComponentRecord
from vampnet_onnx.verify.numbers import metrics
from vampnet_onnx.verify.numbers.mel import mel_distance
from vampnet_onnx.verify.numbers.ties import TokenDifferences, margin_words
from vampnet_onnx.verify.subjects.case import Comparison, Computed, Outputs, token_counts

from .plan import NOWHERE, codec_facts


def compare_generation(
    component: ComponentRecord,
    reference: Computed,
    export: Outputs,
    ties: Ties,
) -> Comparison:
    """Compare the two sides of one generation.

    What differs first decides: if the reference was within a rounding of deciding otherwise
    there, the generation went another way by a tie and all that follows is its consequence;
    if not, all that follows is an error, too.  Audio is compared where the tokens are equal.
    """
    wanted, tokens = reference.outputs, export["tokens"]
    coarse = component.dim("n_coarse")
    found, message = differences(
        reference, export, ties, lambda book: "coarse" if book < coarse else "c2f"
    )
    final = wanted["tokens"] != tokens
    equal = ~final.any(axis=(1, 2))
    r, e = wanted["audio"], export["audio"]
    measured = {
        "token_accuracy": 1 - float(final.mean()),
        "tokens_unexplained": float(found.unexplained.sum()),
        "steps_differing": float(found.any.any(axis=(1, 2, 3)).sum()),
        **metrics.nonfinite(r, e),
    }
    if equal.any():
        rate = codec_facts(component).sample_rate
        measured |= metrics.float_metrics(r[equal], e[equal])
        measured["mel_distance"] = mel_distance(r[equal], e[equal], rate)
    return Comparison(
        metrics=measured,
        quantity="audio",
        error=final.any(axis=0).astype(np.float64),
        rows=[f"codebook {i}" for i in range(final.shape[1])],
        unit="frames",
        of_codes=True,
        reference=r[equal],
        export=e[equal],
        tokens=token_counts(final.transpose(1, 0, 2), found.ambiguous),
        message="; ".join(part for part in (metrics.nonfinite_message(r, e), message) if part),
    )


def differences(
    reference: Computed, export: Outputs, ties: Ties, network: Callable[[int], str]
) -> tuple[TokenDifferences, str]:
    """Classify what differs at every step, bool [S, B, C, T], and say where it began.

    Args:
        network: gives the name of what makes a codebook.
    """
    assert reference.margins is not None
    drawing, remasking, logits, confidence = reference.margins
    drawn = reference.outputs["sampled"] != export["sampled"]
    handed_on = reference.outputs["next_codes"] != export["next_codes"]
    differs = drawn | handed_on
    unexplained, ambiguous = np.zeros_like(differs), np.zeros_like(differs)
    knock_on = np.zeros_like(differs)
    message = ""
    if not differs.any() and (reference.outputs["tokens"] != export["tokens"]).any():
        # Every step agrees and the result does not: it was put together wrongly.
        return TokenDifferences(~differs, ambiguous, knock_on), "the steps agree, the end not"
    if differs.any():
        first = int(differs.any(axis=(1, 2, 3)).argmax())
        # Each of two logits may be off by its own rounding.
        rounding = 2 * ties.logits_margin * logits[first]
        tie_of_draw = drawing[first] < ties.draws_margin + rounding
        largest = ties.draws_margin * confidence[first]
        tie_of_mask = remasking[first] < largest + rounding
        near_moved = drawn[first] & tie_of_draw
        for decisions in reference.decisions[first : first + 1]:
            place = _place(reference.outputs["sampled"][first])
            tolerance = ties.draws_margin + float(rounding[place].max())
            tie_of_draw[place] &= decisions.could_draw(
                export["sampled"][first][place], tolerance
            )
            moved = drawn[first] & tie_of_draw
            # A token drawn otherwise has another confidence, which moves what is masked again.
            gap = np.full(moved.shape, np.inf)
            gap[place] = _unflattened(
                decisions.remasking(moved.sum(axis=(1, 2))), gap[place].shape
            )
            near_moved = moved | (gap < largest + rounding)
        excused = np.where(drawn[first], tie_of_draw, tie_of_mask | near_moved)
        unexplained[first] = differs[first] & ~excused
        ambiguous[first] = differs[first] & excused & (drawn[first] | tie_of_mask)
        knock_on[first] = differs[first] & excused & ~ambiguous[first]
        later = unexplained if unexplained[first].any() else knock_on
        later[first + 1 :] = differs[first + 1 :]
        margins = np.where(drawn[first], drawing[first], remasking[first])
        message = _message(
            network,
            reference.outputs["sampled"],
            first,
            drawn[first],
            unexplained[first],
            ambiguous[first],
            margins,
        )
    return TokenDifferences(unexplained, ambiguous, knock_on), message


def _place(sampled: np.ndarray) -> tuple[slice, slice, slice]:
    """Return where a step's codes are, of what it sampled, int64 [B, C, T]."""
    made = sampled != NOWHERE
    books, frames = (np.flatnonzero(made.any(axis=axes)) for axes in ((0, 2), (0, 1)))
    return slice(None), slice(books[0], books[-1] + 1), slice(frames[0], frames[-1] + 1)


def _unflattened(flat: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return [B, N] as [B, P, T], without the frames that a chunk was filled up with."""
    batch, books, frames = shape
    return flat.reshape(batch, -1, books).transpose(0, 2, 1)[..., :frames]


def _message(
    network: Callable[[int], str],
    sampled: np.ndarray,
    first: int,
    drawn: np.ndarray,
    unexplained: np.ndarray,
    ambiguous: np.ndarray,
    margins: np.ndarray,
) -> str:
    kind = "an error" if unexplained.any() else "a tie of the reference"
    item, book, frame = (
        int(i) for i in np.argwhere(unexplained if unexplained.any() else ambiguous)[0]
    )
    frames = np.flatnonzero((sampled[first] != NOWHERE).any(axis=(0, 1)))
    what = "drawn" if drawn[item, book, frame] else "chosen to be masked again"
    return (
        f"first difference, {kind}: step {first + 1} of {len(sampled)}, by {network(book)} on"
        f" frames {frames[0]} to {frames[-1]}; item {item}, codebook {book}, frame {frame}:"
        f" another code {what}, {margin_words(margins[item, book, frame], ' nats')}"
    )
