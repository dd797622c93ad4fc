"""Ours against a recorded set: every kind of case, every recorded array.

Each kind has a function that computes what was recorded and names the recorded key and the
rule it falls under (``configs/golden.toml``).  Our models compute every kind
(`verify.golden.of_models`), exported files the kinds they are for (`verify.golden.of_files`).
Whatever a set holds beyond that, a kind without a function, an array nobody computed, a case
without arrays, is a finding, too.
"""

import importlib.util
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from vampnet_onnx.configs.config import GoldenRule, load_golden_rules
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.settings import (
    GenerationSettings,
    VampSettings,
    generation_settings,
    vamp_settings,
)
from vampnet_onnx.verify.numbers import metrics
from vampnet_onnx.verify.sides.recorded import RecordedSet

# Our names of published options.
_OURS = {"_sampling_steps": "steps", "_dropout": "dropout", "ncc": "n_conditioning_codebooks"}

# Name of a recorded array, our value, and the name of its rule if that is another one.
Computed = Iterator[tuple[str, Any] | tuple[str, Any, str]]


@dataclass(frozen=True)
class Finding:
    """What came of one recorded array in all cases of a kind.

    Attributes:
        quantity: the rule's name, or of the array that has none.
        worst: largest error by the rule's measure; None where nothing was measured.
        rule: measure, limit and reason; None where there is none.
        message: what went wrong, or why nothing was compared.
        skipped: nothing was compared, for want of an optional package.
    """

    kind: str
    quantity: str
    cases: int
    worst: float | None = None
    rule: GoldenRule | None = None
    where: str = ""
    message: str = ""
    skipped: bool = False

    @property
    def verdict(self) -> str:
        """PASS, FAIL or SKIP; NaN is within no limit."""
        if self.rule is None or self.worst is None or self.message:
            return "SKIP" if self.skipped else "FAIL"
        return "PASS" if self.worst <= self.rule.limit else "FAIL"


def ours(options: dict[str, Any]) -> dict[str, Any]:
    """Return published options under our names."""
    return {_OURS.get(name, name): value for name, value in options.items()}


class Run:
    """What is held to a recorded set; remembers which arrays were looked at.

    Attributes:
        kinds: by kind of case, a function of the run and the case that computes it.
        whole: whether what a set holds and nothing here computes is a failure.
    """

    kinds: Mapping[str, Callable[[Any, str], Computed]]
    whole: bool

    def __init__(self, recorded: RecordedSet) -> None:
        """Take an opened set."""
        self.recorded = recorded
        self.used: set[str] = set()

    def array(self, key: str) -> np.ndarray:
        """Return a recorded array."""
        self.used.add(key)
        return self.recorded.array(key)

    def names(self, case: str) -> list[str]:
        """Return the names of a case's arrays."""
        keys = (key.rpartition("/") for key in self.recorded.keys)
        return [name for found, _, name in keys if found == case]

    def options(self, case: str) -> dict[str, Any]:
        """Return a case's parameters under our names.

        Raises:
            InputError: the set has none.
        """
        found = self.recorded.parameters.get(case)
        if not isinstance(found, dict):
            raise InputError(f"reference.json has no parameters of {case}")
        return ours(found)

    def vamp_options(self, case: str) -> tuple[int, VampSettings]:
        """Return the seed and the options of a recorded ``vamp``."""
        given, header = self.options(case), self.recorded.header
        seed = given.pop("seed")
        del given["sample_rate"]  # of the audio
        names = ("batch_size", "feedback_steps", "time_stretch_factor")
        of_vamp = {name: given.pop(name) for name in names if name in given}
        return seed, vamp_settings(
            generation_settings(**given),
            coarse_chunk_s=header["coarse_chunk_size_s"],
            c2f_chunk_s=header["c2f_chunk_size_s"],
            **of_vamp,
        )

    def generate_options(self, case: str) -> tuple[int, GenerationSettings]:
        """Return the seed and the options of a recorded ``generate``."""
        given = self.options(case)
        given.pop("mask", None)
        return given.pop("seed"), generation_settings(**given)


def check_set(
    run: Run,
    *,
    progress: Callable[[str, int, int], None] = lambda _n, _d, _t: None,
) -> list[Finding]:
    """Compare ours with a recorded set.

    Returns:
        One finding for each kind and recorded array, in the recorded order.

    Raises:
        InputError: the set holds nothing to compare with.
    """
    if not run.recorded.cases:
        raise InputError(f"{run.recorded.folder}: a set without a recorded case")
    rules = load_golden_rules()
    findings: dict[tuple[str, str], Finding] = {}
    by_kind: dict[str, list[str]] = {}
    for case in run.recorded.cases:
        by_kind.setdefault(case.split("/")[0], []).append(case)
    for kind, cases in by_kind.items():
        for done, case in enumerate(cases):
            progress(kind, done, len(cases))
            for finding in _check_case(run, case, rules.get(kind, {})):
                known = findings.get((kind, finding.quantity))
                findings[kind, finding.quantity] = _worse(known, finding)
        progress(kind, len(cases), len(cases))
    found = [*_with_other_noise(run, list(findings.values())), *_leftovers(run)]
    if all(finding.verdict == "SKIP" for finding in found):
        why = "; ".join(dict.fromkeys(finding.message for finding in found))
        raise InputError(f"{run.recorded.folder}: nothing of the set was compared: {why}")
    return found


def _check_case(run: Run, case: str, rules: dict[str, GoldenRule]) -> Iterator[Finding]:
    kind = case.split("/")[0]
    if kind not in run.kinds:
        return  # every array of it is left over
    if kind == "onset_mask" and importlib.util.find_spec("librosa") is None:
        run.used.update(f"{case}/{name}" for name in run.names(case))
        reason = "needs the package librosa, which is not installed"
        yield Finding(kind, "mask", 0, message=reason, skipped=True)
        return
    try:
        with torch.inference_mode():
            for name, found, *other in run.kinds[kind](run, case):
                quantity, key = (other or [name])[0], f"{case}/{name}"
                rule, expected = rules.get(quantity), run.array(key)
                if rule is None:
                    yield Finding(kind, quantity, 1, where=key, message="no rule for it")
                    continue
                worst, message = metrics.by_measure(np.asarray(found), expected, rule.measure)
                yield Finding(kind, quantity, 1, worst, rule, key, message)
    except Exception as error:  # whatever a strange set makes the models stumble over
        reason = f"{type(error).__name__}: {error}"
        yield Finding(kind, "(case)", 1, where=case, message=reason)


def _with_other_noise(run: Run, findings: list[Finding]) -> list[Finding]:
    """Give the reason why seeded tokens fail where torch draws other noise than recorded.

    Versions of torch differ in what ``exponential_`` draws under a seed (2.4 and 2.13 do).
    """
    noise = [found for found in findings if found.quantity == "exponential_noise"]
    if all(found.verdict == "PASS" for found in noise):
        return findings
    theirs = run.recorded.header.get("torch", "of another version")
    reason = (
        f"torch {torch.__version__} draws other noise from a seed than torch {theirs}, which"
        " recorded the set: nothing that was generated can be compared"
    )
    seeded = {
        ("generate_coarse", "tokens"),
        ("generate_c2f", "tokens"),
        ("vamp", "tokens"),
        ("vamp", "output_audio"),
    }
    return [
        replace(found, message=found.message or reason)
        if found.verdict == "FAIL" and (found.kind, found.quantity) in seeded
        else found
        for found in findings
    ]


def _worse(known: Finding | None, new: Finding) -> Finding:
    """Return the worse of two findings, counting both."""
    if known is None:
        return new

    def rank(finding: Finding) -> tuple[bool, float]:
        value = math.nan if finding.worst is None else finding.worst
        return bool(finding.message), math.inf if math.isnan(value) else value

    worst = new if rank(new) > rank(known) else known
    return replace(worst, cases=known.cases + new.cases)


def _leftovers(run: Run) -> Iterator[Finding]:
    """Report what the set holds and nobody looked at."""
    left: dict[tuple[str, str], list[str]] = {}
    for key in run.recorded.keys:
        if key not in run.used:
            kind, name = key.split("/")[0], key.rpartition("/")[2]
            left.setdefault((kind, name if kind in run.kinds else "*"), []).append(key)
    for (kind, name), keys in left.items():
        what = "this array is" if kind in run.kinds else "this kind of case is"
        message = f"{what} not known here" if run.whole else "no exported file gives it"
        yield Finding(
            kind, name, len(keys), where=keys[0], message=message, skipped=not run.whole
        )
    for case in run.recorded.parameters:
        if case not in run.recorded.cases and case != "seeded_masks":
            kind = case.split("/")[0]
            yield Finding(kind, "(case)", 1, where=case, message="it has no recorded arrays")
