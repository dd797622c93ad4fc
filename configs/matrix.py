"""What the execution matrix takes: cases, what is declared not to run, own limits."""

import re
from typing import Annotated

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from .config import Count, Gates, Limit, Seed, VerifySection, load_gates, validated
from .manifest import ComponentRecord
from .packaged import shipped


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"no regular expression: {error}") from error
    return text


def _specifier(text: str) -> str:
    try:
        SpecifierSet(text)
    except InvalidSpecifier as error:
        raise ValueError(f"no versions: {error}") from error
    return text


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MatrixCases(_Section):
    """Extents of the cases that every runtime computes."""

    seeds: Annotated[list[Seed], Field(min_length=1)]
    frames: Annotated[list[Count], Field(min_length=1)]
    batches: Annotated[list[Count], Field(min_length=1)]


class Declared(_Section):
    """A cell that is known not to run.

    Attributes:
        component: with or without its variant, or a variant alone.
        error: regular expression that what the runtime says must hold.
        versions: of the runtime, as pip writes them; all if left out.
    """

    runtime: str
    component: str
    versions: Annotated[str, AfterValidator(_specifier)] = ""
    error: Annotated[str, Field(min_length=1), AfterValidator(_pattern)]
    reason: Annotated[str, Field(min_length=1)]

    def is_of(self, runtime: str, version: str, record: ComponentRecord) -> bool:
        """Whether it is said of a component on a version of a runtime."""
        names = (record.id, record.name, *record.variant.split("."))
        if runtime != self.runtime or self.component not in names:
            return False
        return not self.versions or SpecifierSet(self.versions).contains(
            version, prereleases=True
        )


class OwnLimit(_Section):
    """Another limit of one gate on one runtime, and why."""

    runtime: str
    component: str
    metric: str
    limit: Limit
    reason: Annotated[str, Field(min_length=1)]


class MatrixPlan(_Section):
    """Everything in ``configs/runtimes.toml``."""

    cases: MatrixCases
    unsupported: list[Declared] = []
    limits: list[OwnLimit] = []

    def section(self, *, seeds: list[int] | None = None, threads: int) -> VerifySection:
        """Return the matrix of cases, perhaps of other seeds."""
        cases = {**dict(self.cases), "threads": threads}
        if seeds is not None:
            cases["seeds"] = seeds
        return validated(VerifySection, cases, "seeds")

    def declared(self, runtime: str, version: str, record: ComponentRecord) -> Declared | None:
        """Return what is declared of a component on a runtime, if anything is."""
        found = (d for d in self.unsupported if d.is_of(runtime, version, record))
        return next(found, None)

    def gates_of(self, runtime: str, gates: Gates) -> Gates:
        """Return the gates with a runtime's own limits, each with its reason."""
        kinds = {kind: dict(rules) for kind, rules in gates.kinds.items()}
        for own in self.limits:
            if own.runtime == runtime:
                rule = kinds[own.component][own.metric]
                changed = {"limit": own.limit, "reason": own.reason}
                kinds[own.component][own.metric] = rule.model_copy(update=changed)
        return gates.model_copy(update={"kinds": kinds})


def load_matrix() -> MatrixPlan:
    """Read the shipped plan.

    Raises:
        InputError: a limit is of a gate that does not exist.
    """
    plan = validated(MatrixPlan, shipped("runtimes.toml"), "runtimes.toml")
    for own in plan.limits:
        load_gates({own.component: {own.metric: {"limit": own.limit}}})
    return plan
