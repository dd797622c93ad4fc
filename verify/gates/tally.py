"""What the cases of a component come to, added up one by one.

A sweep runs millions of them.  Of each seed a few numbers are kept, of each metric its worst
case, and of the cases those that a report has room for: the first that failed, the first that
did not, and the worst.  Outcomes themselves are let go.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np

from vampnet_onnx.configs.config import GateRule
from vampnet_onnx.reports import BadSeed, Verdict
from vampnet_onnx.reports import Case as CaseReport
from vampnet_onnx.verify.subjects.case import Case

from .case import Outcome, badness, excess, failed, rank

MOST_CASES = 1000
"""So many that failed are kept of a component, and so many that did not."""

_MOST_SEEDS = 100  # that failed, listed with their commands


@dataclass
class _Seed:
    """A seed: its worst case, and how many cases ran, failed and were not finite."""

    worst: Case
    badness: tuple[int, float, float]
    cases: int = 0
    failed: int = 0
    nonfinite_reference: int = 0
    nonfinite_export: int = 0


@dataclass(frozen=True)
class _Worst:
    """The worst case in one respect, the first of those that are."""

    key: tuple[float, ...]
    number: int
    outcome: Outcome
    told: CaseReport


class Tally:
    """Cases of one component, added up in the order in which they ran.

    Args:
        rules: of the component's gates.

    Attributes:
        count: cases that ran.
        failed: of these, that failed.
        ties: tokens excused as ties of the reference.
        tokens: that were compared.
        values: that were compared, of what each case is measured by.
        shared: the export gave the reference's own arrays in some case.
        exact: no value differed in any case.
        incomparable: cases whose sides could not be compared.
        first_incomparable: the first of them.
        metrics: the worst value of each.
        told: what was measured, in sentences.
    """

    def __init__(self, rules: Mapping[str, GateRule]) -> None:
        self.count = self.failed = self.ties = self.tokens = self.values = 0
        self.shared, self.exact = False, True
        self.incomparable = 0
        self.first_incomparable: Outcome | None = None
        self.metrics: dict[str, float] = {}
        self.told: dict[str, None] = {}
        self._rules = rules
        self._worst: _Worst | None = None
        self._by_metric: dict[str, _Worst] = {}
        self._by_codebook: tuple[np.ndarray, np.ndarray] | None = None
        self._seeds: dict[int, _Seed] = {}
        self._kept: tuple[dict[int, CaseReport], ...] = ({}, {})  # sound ones, failed ones

    def add(self, outcome: Outcome, seconds: float) -> None:
        """Add one case, and the seconds that the run took for it."""
        number, bad = self.count, failed(outcome, self._rules)
        own = badness(outcome, self._rules)
        self.count += 1
        self.failed += bad
        self.ties += outcome.ties

        def told() -> CaseReport:
            return case_report(outcome, self._rules, seconds)

        if self._worst is None or own > self._worst.key:
            # The only one whose arrays are kept.
            self._worst = _Worst(own, number, outcome, told())
        if len(self._kept[bad]) < MOST_CASES:
            self._kept[bad][number] = told()
        self._add_to_seed(outcome, own, bad)
        if outcome.comparison is None:
            self.incomparable += 1
            self.first_incomparable = self.first_incomparable or outcome
        else:
            self._measure(outcome.without_arrays(), number, told)

    @property
    def worst(self) -> Outcome | None:
        """The case that broke most limits, or came nearest to one."""
        return self._worst.outcome if self._worst else None

    def worst_of(self, metric: str) -> Outcome | None:
        """Return the case furthest beyond its own limit of a metric, or nearest to it."""
        found = self._by_metric.get(metric)
        return found.outcome if found else None

    def accuracy_per_codebook(self) -> list[float]:
        """Return the share of equal tokens by codebook; nothing of what gives no tokens."""
        if self._by_codebook is None:
            return []
        compared, differing = self._by_codebook
        return [float(share) for share in 1 - differing / compared]

    def cases(self) -> list[CaseReport]:
        """Return the cases that are kept, in the order in which they ran."""
        found = {worst.number: worst.told for worst in self._by_metric.values()}
        if self._worst is not None:
            found[self._worst.number] = self._worst.told
        sound, bad = self._kept
        return [told for _, told in sorted({**found, **sound, **bad}.items())]

    @property
    def failed_seeds(self) -> int:
        """How many seeds have a case that failed."""
        return sum(seed.failed > 0 for seed in self._seeds.values())

    def bad_seeds(self) -> list[BadSeed]:
        """Return the first seeds with a case that failed, in their order."""
        bad = ((number, seed) for number, seed in self._seeds.items() if seed.failed)
        return [
            BadSeed(
                seed=number,
                failed=seed.failed,
                cases=seed.cases,
                nonfinite_reference=seed.nonfinite_reference,
                nonfinite_export=seed.nonfinite_export,
                worst_case=seed.worst.id,
            )
            for number, seed in islice(bad, _MOST_SEEDS)
        ]

    def _add_to_seed(self, outcome: Outcome, own: tuple[int, float, float], bad: bool) -> None:
        case, found = outcome.case, outcome.comparison
        seed = self._seeds.setdefault(case.seed, _Seed(case, own))
        if own > seed.badness:
            seed.worst, seed.badness = case, own
        seed.cases += 1
        seed.failed += bad
        values = found.metrics if found else {}
        seed.nonfinite_reference += int(values.get("nonfinite_reference", 0))
        seed.nonfinite_export += int(values.get("nonfinite_export", 0))

    def _measure(self, outcome: Outcome, number: int, told: Callable[[], CaseReport]) -> None:
        """Add what a comparison measured."""
        found = outcome.comparison
        assert found is not None
        self.values += outcome.values
        self.shared |= outcome.shared
        self.exact &= found.metrics.get("max_abs") == 0
        self.told |= dict.fromkeys(found.told)
        for name, value in found.metrics.items():
            worst = self.metrics.setdefault(name, value)
            if rank(name, value) > rank(name, worst):
                self.metrics[name] = value
            if name in outcome.limits:
                key = excess(name, outcome), rank(name, value)
                if name not in self._by_metric or key > self._by_metric[name].key:
                    self._by_metric[name] = _Worst(key, number, outcome, told())
        if found.tokens is not None:
            counts = found.tokens.compared, found.tokens.differing
            self.tokens += int(found.tokens.compared.sum())
            compared, differing = self._by_codebook or (0, 0)
            self._by_codebook = compared + counts[0], differing + counts[1]


def case_report(outcome: Outcome, rules: Mapping[str, GateRule], seconds: float) -> CaseReport:
    """Return a judged case as the report tells it."""
    case, comparison = outcome.case, outcome.comparison
    if failed(outcome, rules):
        verdict = Verdict.FAIL
    else:
        widened = any(outcome.limits[name] != rule.limit for name, rule in rules.items())
        verdict = Verdict.AMBIGUOUS if outcome.ties or widened else Verdict.PASS
    values = comparison.metrics if comparison else {}
    return CaseReport(
        id=case.id,
        seed=case.seed,
        batch=case.batch,
        length=case.length,
        verdict=verdict,
        metrics=values,
        ambiguous=outcome.ties,
        nonfinite_reference=int(values.get("nonfinite_reference", 0)),
        nonfinite_export=int(values.get("nonfinite_export", 0)),
        message=outcome.message,
        seconds=round(seconds, 3),
    )
