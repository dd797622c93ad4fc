"""The sampler's comparison: what a doubt of the reference excuses, and what it does not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from tests.support.records import component, make_inputs
from vampnet_onnx.configs.config import load_gates
from vampnet_onnx.configs.settings import Mode, generation_settings
from vampnet_onnx.models import ModelSet
from vampnet_onnx.models.behaviour.sampling import filter_logits
from vampnet_onnx.verify.subjects.case import Arrays, Case, Computed
from vampnet_onnx.verify.subjects.decisions import Decisions, kept_entries
from vampnet_onnx.verify.subjects.registry import subject_of
from vampnet_onnx.verify.subjects.sampler import _sampler_message

VOCAB = 16
RECORD = component("sampler").model_copy(
    update={"dims": {"codebook_size": VOCAB, "n_codebooks": 4}}
)
NOTHING = ModelSet.__new__(ModelSet)  # it has no weights


def _reference(inputs: Arrays) -> Computed:
    return subject_of(RECORD).reference(RECORD, NOTHING, inputs)


def _errors(expected: Computed, export: Arrays) -> float:
    found = subject_of(RECORD).compare(RECORD, expected, export, load_gates().ties)
    return found.metrics["tokens_unexplained"]


def _with_a_tie() -> tuple[Computed, tuple[int, ...], list[int]]:
    """Return a reference in doubt about one code, where that is, and entries, best first."""
    inputs = make_inputs(Case("sampler", 0, 1, 13, 2, "plain"), RECORD)
    expected = _reference(inputs)
    where = tuple(int(i) for i in np.argwhere(inputs["codes"] == VOCAB)[3])
    position = where[2] * 2 + where[1]
    noise = inputs["exponential"].reshape(1, -1, VOCAB)[0, position]
    p = torch.softmax(torch.from_numpy(inputs["logits"][0, :, position]), 0).numpy()
    best, second, third = np.argsort(p / noise)[::-1][:3]
    noise[second] = p[second] * noise[best] / p[best] * np.float32(1 + 3e-7)
    changed = _reference(inputs)
    assert changed.outputs["sampled"][where] == expected.outputs["sampled"][where] == best
    return changed, where, [int(best), int(second), int(third)]


def test_a_tie_excuses_the_other_entry_and_no_third() -> None:
    expected, where, (best, second, third) = _with_a_tie()
    for entry, errors in ((best, 0), (second, 0), (third, 1), (VOCAB, 1), (-1, 1)):
        export = {name: array.copy() for name, array in expected.outputs.items()}
        export["sampled"][where] = entry
        kept = export["next_mask"][where] == 0
        export["next_codes"][where] = entry if kept else VOCAB
        assert _errors(expected, export) == errors, entry


def test_a_tie_excuses_no_code_that_was_not_masked() -> None:
    expected, _, _ = _with_a_tie()
    (decisions,) = expected.decisions
    assert expected.margins is not None
    margins = expected.margins.copy()
    position = int(np.flatnonzero(~decisions.masked[0])[0])
    margins[:, 0, position] = 0
    doubtful = dataclasses.replace(expected, margins=margins)
    export = {name: array.copy() for name, array in expected.outputs.items()}
    where = (0, position % 2, position // 2)
    export["sampled"][where] ^= 1
    export["next_codes"][where] ^= 1
    assert _errors(doubtful, export) == 1


def test_another_draw_moves_the_edge_of_what_is_masked_again_by_one_place() -> None:
    expected, where, (_, second, _) = _with_a_tie()
    (decisions,) = expected.decisions
    order = decisions.confidence[0].argsort().numpy()
    count = int(decisions.counts[0][0])
    export = {name: array.copy() for name, array in expected.outputs.items()}
    export["sampled"][where] = second
    tied = where[2] * 2 + where[1]
    others = [int(i) for i in order if i != tied]
    rank = int(np.flatnonzero(order == tied)[0])
    edge = count if rank >= count else count - 1  # of the others
    for position, errors in ((others[edge], 0), (others[edge + 3], 1), (others[0], 1)):
        wrong = {name: array.copy() for name, array in export.items()}
        at = (0, position % 2, position // 2)
        wrong["next_mask"][at] ^= 1
        wrong["next_codes"] = np.where(wrong["next_mask"] == 1, VOCAB, wrong["sampled"])
        assert _errors(expected, wrong) == errors, position


def test_a_count_in_doubt_excuses_the_code_between_the_two() -> None:
    confidence = torch.tensor([[0.3, 0.1, 0.4, 0.2]])
    counts = (torch.tensor([1]), torch.tensor([2]))
    logits, masked = torch.zeros(1, 3, 4), torch.ones(1, 4, dtype=torch.bool)
    settings = generation_settings(steps=4)
    decisions = Decisions(logits, None, settings, masked, confidence, counts)
    found = decisions.remasking(np.array([0]))
    np.testing.assert_allclose(found, [[0.1, 0.1, 0.2, 0]], atol=1e-7)
    none = Decisions(logits, None, settings, masked, confidence, (torch.tensor([0]),))
    assert np.isinf(none.remasking(np.array([2]))).all()  # after the last step


@pytest.mark.parametrize(
    "filters",
    [
        {"top_p": 0.7},
        {"top_k": 4},
        {"typical_filtering": True, "typical_mass": 0.4, "typical_min_tokens": 2},
        {
            "top_p": 0.7,
            "top_k": 9,
            "typical_filtering": True,
            "typical_mass": 0.8,
            "typical_min_tokens": 2,
        },
    ],
)
def test_entries_kept_are_those_of_the_filters_but_for_the_edge(
    filters: dict[str, object],
) -> None:
    settings = generation_settings(steps=4, mode=Mode.CORRECTED, **filters)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(1)
    logits = 8 * torch.rand(2, 50, VOCAB, generator=generator)
    kept = filter_logits(logits, settings).isfinite()
    for tolerance in (1e-6, 1e-3):
        possible, certain = kept_entries(logits.double(), settings, tolerance)
        assert (certain <= kept).all() and (kept <= possible).all()
    possible, certain = kept_entries(logits.double(), settings, 1e-6)
    assert (possible == certain).float().mean() > 0.99
    # Within a tolerance of the threshold an entry may be kept or not.
    possible, certain = kept_entries(logits.double(), settings, 0.05)
    assert filters.keys() == {"top_k"} or (possible & ~certain).any()


@pytest.mark.parametrize(
    "reference, export, margin, words",
    [
        (-2.31, -2.32, 0.5, "confidence -2.31 against -2.32, margin 0.5"),
        (1.0, 1 + 2**-23, 0.5, "confidence 1 against 1.00000012, margin 0.5"),
        (-2.31, -2.31, np.inf, "confidence -2.31 on both sides, with no tie possible"),
    ],
)
def test_the_message_tells_two_confidences_apart_and_names_no_endless_margin(
    reference: float, export: float, margin: float, words: str
) -> None:
    one = np.ones((1, 1), bool)
    sides = (np.full((1, 1), value, np.float32) for value in (reference, export))
    margins = np.full((1, 1), margin)
    assert words in _sampler_message(one, one, margins, margins, *sides)
