"""What a subject is: everything verification must know of one component.

    cases -> inputs -> reference (PyTorch) | export (the file) -> compare

A component costs one file in this room: a `Subject` with what is its own, listed in the
module's `SUBJECTS`, where `verify.subjects.registry` finds it.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle, product
from typing import Self

import numpy as np
import torch
from torch import Tensor

from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.config import Gates, Ties, VerifySection
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.manifest import AdapterRecord, ComponentRecord, Manifest
from vampnet_onnx.configs.runtime import Runtime
from vampnet_onnx.models import ModelSet
from vampnet_onnx.pipeline.version.session import Opened
from vampnet_onnx.verify.numbers.metrics import nonfinite_message
from vampnet_onnx.verify.numbers.ties import TokenDifferences, margin_words

from .decisions import Decisions

Arrays = dict[str, np.ndarray]
Outputs = Mapping[str, np.ndarray]
RunExport = Callable[[Mapping[str, np.ndarray]], Arrays]
"""Computes the outputs of an exported component from its inputs, both by name."""
OpenComponent = Callable[[ComponentRecord], Opened]
"""Opens the file of a component."""

Scores = dict[str, np.ndarray]
"""How likely tokens are, by network: nats a code, float64 [B]."""

_ID = re.compile(
    r"(?P<component>[a-z][a-z0-9_.]*)/seed=(?P<seed>\d+)/batch=(?P<batch>\d+)"
    r"/length=(?P<length>\d+)(?:/codebooks=(?P<codebooks>\d+))?(?:/(?P<setting>[a-z][a-z0-9_]*))?"
)
_NUMBERS = ("seed", "batch", "length", "codebooks")
_LARGEST = (1 << 63) - 1


@dataclass(frozen=True)
class Case:
    """One input, as data: the same case gives the same bytes on any machine.

    Attributes:
        component: component with variant, such as ``coarse.latents``.
        length: frames, or samples where the component takes audio.
        codebooks: codebooks given; 0 where the component takes no codes.
        setting: kind of input or of options, where a component has several.
    """

    component: str
    seed: int
    batch: int
    length: int
    codebooks: int = 0
    setting: str = ""

    @property
    def id(self) -> str:
        """Name that says everything, such as ``coarse/seed=0/batch=3/length=13``."""
        books = f"/codebooks={self.codebooks}" if self.codebooks else ""
        setting = f"/{self.setting}" if self.setting else ""
        return (
            f"{self.component}/seed={self.seed}/batch={self.batch}/length={self.length}{books}"
            f"{setting}"
        )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the case that an id names: the inverse of `id`.

        Raises:
            InputError: no id, or not written as `id` writes it.
        """
        match = _ID.fullmatch(text)
        if match is None:
            raise InputError(
                f"{text!r} is no id of a case; one reads COMPONENT/seed=N/batch=N/length=N,"
                " then /codebooks=N and /SETTING where the component has them"
            )
        numbers = {name: int(match[name] or 0) for name in _NUMBERS}
        found = cls(match["component"], **numbers, setting=match["setting"] or "")
        for name in ("batch", "length"):
            if numbers[name] < 1:
                raise InputError(f"{text}: {name} must be 1 or more")
        if max(numbers.values()) > _LARGEST:
            raise InputError(f"{text}: numbers are {_LARGEST} at most")
        # Inputs are drawn from the id: written otherwise, it would name other bytes.
        if found.id != text:
            raise InputError(f"{text!r} is no id of a case; did you mean {found.id}?")
        return found


@dataclass(frozen=True)
class Likelihood:
    """How likely the reference finds tokens.

    Attributes:
        own: of what it generated itself.
        of: scores any tokens, int64 [B, C, T].
    """

    own: Scores
    of: Callable[[np.ndarray], Scores]


@dataclass(frozen=True)
class Computed:
    """What a side computed.

    Attributes:
        margins: how far each token was from another choice; only a reference has them, and
            without them nothing that differs is a tie.
        tables: entries of the codebooks that codes were chosen from, float [entries, width]
            each; empty where they are not known.
        decisions: of every sampling step there was; empty where they are not known.
        likelihood: of what is judged by how likely the reference finds it.
    """

    outputs: Arrays
    margins: np.ndarray | None = None
    tables: Sequence[np.ndarray] = ()
    decisions: Sequence[Decisions] = ()
    likelihood: Likelihood | None = None


@dataclass(frozen=True)
class TokenCounts:
    """Tokens of a case: compared and differing by codebook, int64 [codebooks], and ties."""

    compared: np.ndarray
    differing: np.ndarray
    ambiguous: int


@dataclass(frozen=True)
class Comparison:
    """How the sides compare on one case.

    Attributes:
        error: absolute error, float [rows, time]; of codes, 1 where any item differs.
        tokens: counts, if the component gives tokens.
        of_codes: error says where codes differ, not by how much a quantity does.
        message: what went wrong and where, empty if nothing did.
        told: what was measured, in sentences, where numbers alone say little.
    """

    metrics: dict[str, float]
    quantity: str
    error: np.ndarray
    rows: list[str]
    unit: str
    reference: np.ndarray
    export: np.ndarray
    tokens: TokenCounts | None = None
    of_codes: bool = False
    message: str = ""
    told: tuple[str, ...] = ()


Array = Callable[[str], np.ndarray]
Parts = dict[str, tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]]
"""What went into modules and came out of them, by path."""


@dataclass(frozen=True)
class Published:
    """What recorded sets and the published packages call a component.

    Attributes:
        kind: of recorded case, such as ``encode``.
        operation: of the worker that drives the packages (`verify.sides.upstream_worker`).
        input: name of the array that goes in.
        between: gives what was recorded between modules, from the recorded arrays of a case
            by name and its outputs; a walk stops there.
    """

    kind: str
    operation: str
    input: str
    outputs: tuple[str, ...]
    between: Callable[[Array, Outputs], Parts]
    parameters: Mapping[str, str] = field(default_factory=dict)


class Subject:
    """One component, or the components that differ by nothing but their dimensions.

    Attributes:
        has_rounding: weights amplify float32 rounding, so that a limit may widen to what the
            reference's own is (`verify.gates.rounding`); and two sides are never equal.
        probe_frames: least frames on which modules are looked at one by one.
        untried: inputs that by themselves need not move an output.
        settings: kinds of input or of options that its cases may have.
        needs: components that a whole is made of which is no file itself.
        unmoved: outputs that the seed of a case need not move.
        walks: its graph can be cut into modules, each to be run by itself.
        adaptable: low-rank updates can be switched on in it.
        shares_reference: what the reference computes of a case is the same for every variant,
            and its models are needed to compare.
    """

    names: tuple[str, ...]
    has_rounding = True
    probe_frames = 23
    untried: frozenset[str] = frozenset()
    unmoved: frozenset[str] = frozenset()
    walks = True
    adaptable = True
    settings: tuple[str, ...] = ("",)
    needs: tuple[str, ...] = ()
    shares_reference = False

    def cases(self, record: ComponentRecord, matrix: VerifySection) -> list[Case]:
        """Return the cases of a component over a matrix, in a fixed order."""
        raise NotImplementedError

    def codebooks(self, record: ComponentRecord) -> Collection[int]:
        """Return the numbers of codebooks that cases may give; 0 stands for no codes."""
        return (0,)

    def require(self, record: ComponentRecord, case: Case) -> None:
        """Refuse a case that `inputs` cannot make.

        Raises:
            InputError: its setting or its codebooks are none of the component's.
        """
        if case.setting not in self.settings:
            known = ", ".join(setting or "none at all" for setting in self.settings)
            raise InputError(
                f"{case.id}: {record.id} has no setting {case.setting!r}; known: {known}"
            )
        books = self.codebooks(record)
        if case.codebooks not in books:
            known = f"{min(books)} to {max(books)}" if len(books) > 1 else str(*books)
            raise InputError(
                f"{case.id}: codebooks must be {known} in a case of {record.id}"
                + (", that is left out" if known == "0" else "")
            )

    def one_case(
        self,
        record: ComponentRecord,
        *,
        seed: int,
        batch: int,
        frames: int,
        length: int | None = None,
    ) -> Case:
        """Return one case of so many frames, or of a length (samples, of audio)."""
        matrix = VerifySection(seeds=[seed], frames=[frames], batches=[batch], threads=0)
        case = self.cases(record, matrix)[-1]
        return case if length is None else replace(case, length=length)

    def inputs(self, record: ComponentRecord, case: Case) -> Arrays:
        """Make the arrays of a case, of the dtypes and shapes that the signature says."""
        raise NotImplementedError

    def reference(
        self, record: ComponentRecord, models: ModelSet, inputs: Outputs
    ) -> Computed:
        """Compute with the models of the checkpoint, in their precision.

        Raises:
            FloatingPointError: in a generation, where logits are not finite.
        """
        raise NotImplementedError

    def covering(
        self, record: ComponentRecord, models: ModelSet
    ) -> Mapping[str, Sequence[Tensor | int]]:
        """Return arguments of modules, by path, that reach every row of their tables."""
        return {}

    def margins(self, outputs: Outputs, tables: Sequence[np.ndarray]) -> np.ndarray | None:
        """Return the margins that outputs tell by themselves.

        Args:
            tables: entries of each codebook, float [entries, width]; empty if unknown.
        """
        return None

    def compare(
        self, record: ComponentRecord, expected: Computed, export: Outputs, ties: Ties
    ) -> Comparison:
        """Compare the two sides of one case; ties are margins below which a token is one."""
        raise NotImplementedError

    def least(self, case: Case) -> Case:
        """Return a case like another one that costs less and shows as well what moves."""
        return case

    def wrong(self, outputs: Outputs) -> Iterable[Arrays]:
        """Return outputs that every limit must refuse; none where shuffled ones will do."""
        return ()

    def unfit(self, models: ModelSet, gates: Gates) -> str:
        """Say why nothing follows from a comparison with these models; empty if all does."""
        return ""

    def published(self, record: ComponentRecord) -> Published | None:
        """Return what the published packages have of it; None if nothing of its shape."""
        return None

    def whole(self, manifest: Manifest) -> ComponentRecord | None:
        """Return a record of what is no file but several at work, if all are there."""
        return None

    def wanted(self, manifest: Manifest) -> bool:
        """Whether a whole that has parts missing is missed."""
        return True

    def parts(self, record: ComponentRecord, manifest: Manifest) -> list[ComponentRecord]:
        """Return the components at work."""
        return [record]

    def run_whole(
        self,
        artifacts: Artifacts,
        record: ComponentRecord,
        adapters: Sequence[AdapterRecord],
        runtime: Runtime,
        *,
        opened_by: OpenComponent | None = None,
    ) -> RunExport:
        """Return what runs a whole on the artifacts, with adapters switched on.

        Args:
            opened_by: opens components in the place of the runtime.
        """
        raise NotImplementedError


def every_setting(
    subject: Subject, record: ComponentRecord, matrix: VerifySection
) -> list[Case]:
    """Return a case of every seed, length and setting, batches in turn."""
    batches, (codebooks,) = cycle(matrix.batches), subject.codebooks(record)
    return [
        Case(record.id, seed, next(batches), frames, codebooks, setting)
        for seed, frames, setting in product(matrix.seeds, matrix.frames, subject.settings)
    ]


def every_code(books: int, entries: int) -> Tensor:
    """Return all codes of all codebooks with the mask token, int64 [1, books, entries + 1]."""
    return torch.arange(entries + 1).expand(1, books, -1).contiguous()


def tensors(inputs: Outputs, models: ModelSet) -> list[Tensor]:
    """Return arrays as tensors, floats in the precision of the models."""
    dtype = next(models.networks[0].parameters()).dtype
    found = (torch.from_numpy(array) for array in inputs.values())
    return [x.to(dtype) if x.is_floating_point() else x for x in found]


def token_metrics(found: TokenDifferences) -> dict[str, float]:
    """Return the share of equal tokens, and how many differ without being ties."""
    return {
        "token_accuracy": 1 - float(found.any.sum()) / found.any.size,
        "tokens_unexplained": float(found.unexplained.sum()),
    }


def token_counts(differs: np.ndarray, ties: np.ndarray | None = None) -> TokenCounts:
    """Count differing tokens (bool [codebooks, ...]) by codebook, and ties (bool)."""
    differing = differs.reshape(len(differs), -1).sum(axis=1)
    compared = np.full_like(differing, differs[0].size)
    return TokenCounts(compared, differing, 0 if ties is None else int(ties.sum()))


def token_message(
    found: TokenDifferences,
    tokens: tuple[np.ndarray, np.ndarray],
    margins: np.ndarray,
    values: tuple[np.ndarray, np.ndarray],
) -> str:
    """Say where the first non-finite value and the first token without an excuse are.

    Args:
        values: floats of the reference and of the export.
    """
    parts = [nonfinite_message(*values)]
    if found.unexplained.any():
        where = tuple(int(i) for i in np.argwhere(found.unexplained)[0])
        parts.append(
            f"first unexplained token at {where}: reference {tokens[0][where]}, export"
            f" {tokens[1][where]}, {margin_words(margins[where])}"
        )
    return "; ".join(part for part in parts if part)


def no_ties(shape: tuple[int, ...]) -> np.ndarray:
    """Return margins of a reference that gave none: nothing that differs is a tie."""
    return np.full(shape, np.inf)
