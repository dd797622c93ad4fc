"""Recorded sets: checkpoints with what the published packages computed with them.

A set is a folder of ``codec.pth``, ``coarse.pth``, ``c2f.pth``, ``reference.npz`` with keys
``kind/.../name`` and ``reference.json`` with the parameters of the cases.  Everything before
a key's last slash is its case.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from vampnet_onnx.configs.config import VerifySection
from vampnet_onnx.configs.errors import InputError
from vampnet_onnx.configs.manifest import ComponentRecord
from vampnet_onnx.models import ModelSet
from vampnet_onnx.verify.numbers.margins import code_margins
from vampnet_onnx.verify.numbers.ties import top_two_margin
from vampnet_onnx.verify.subjects.computed import Computed
from vampnet_onnx.verify.subjects.registry import Case

from .models import Reference

ARRAYS = "reference.npz"
PARAMETERS = "reference.json"

# Kind of recorded case, and names of its input and outputs, by component.
_RECORDED_AS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "codec_encoder": ("encode", "audio", ("codes", "latents")),
    "codec_decoder": ("decode", "codes", ("audio",)),
    "coarse": ("coarse", "codes", ("logits",)),
    "c2f": ("c2f", "codes", ("logits",)),
    "coarse.latents": ("coarse", "latents", ("logits",)),
    "c2f.latents": ("c2f", "latents", ("logits",)),
}


class RecordedSet:
    """An opened set; arrays are read when asked for."""

    def __init__(self, folder: Path) -> None:
        """Open the set in a folder.

        Raises:
            InputError: it holds none, or a damaged one.
        """
        self.folder = folder
        try:
            self.header: dict[str, Any] = json.loads((folder / PARAMETERS).read_text("utf-8"))
            self.parameters: dict[str, Any] = self.header["cases"]
            self._data: Any = np.load(folder / ARRAYS, allow_pickle=False)
            self.keys: list[str] = list(self._data.files)
        except FileNotFoundError as error:
            raise InputError(
                f"{folder}: no recorded set ({Path(error.filename).name} is missing); record"
                " one with 'vampnet-onnx golden record'"
            ) from error
        except (
            ValueError,
            KeyError,
            AttributeError,
            TypeError,
            OSError,
            zipfile.BadZipFile,
        ) as error:
            raise InputError(f"{folder}: a damaged recorded set ({error})") from error

    def __contains__(self, key: str) -> bool:
        return key in self.keys

    def array(self, key: str) -> np.ndarray:
        """Return a recorded array.

        Raises:
            InputError: it is not there, or damaged.
        """
        try:
            found: np.ndarray = self._data[key]
        except KeyError as error:
            raise InputError(f"{self.folder / ARRAYS}: {key} is missing") from error
        except (ValueError, OSError, zipfile.BadZipFile) as error:
            raise InputError(f"{self.folder / ARRAYS}: {key} is damaged ({error})") from error
        return found

    @cached_property
    def cases(self) -> list[str]:
        """Every case that has arrays, in the recorded order."""
        return list(dict.fromkeys(key.rpartition("/")[0] for key in self.keys))


class RecordedReference:
    """A recorded set as oracle: it computes nothing, and knows the recorded cases only."""

    def __init__(self, recorded: RecordedSet, models: ModelSet) -> None:
        """Take the set and our models of its checkpoint.

        Of the models only the codec's tables are used, for margins, and their float64
        version where the recorded rounding has to be estimated.
        """
        self._recorded = recorded
        self._models = models

    @property
    def description(self) -> str:
        """What reports say of it."""
        header = self._recorded.header
        return f"recorded set {header.get('set')!r} (torch {header.get('torch')})"

    @cached_property
    def in_float64(self) -> Reference:
        """Our models in float64: no set records double precision."""
        return Reference(self._models).in_float64

    def knows(self, component: ComponentRecord) -> bool:
        """Whether sets record components of this kind."""
        return component.id in _RECORDED_AS

    def cases(self, component: ComponentRecord, matrix: VerifySection) -> list[Case]:
        """Return the recorded cases; the matrix has no say."""
        return self.recorded_cases(component)

    def recorded_cases(self, component: ComponentRecord) -> list[Case]:
        """Return the recorded cases of a component; their seeds are their numbers.

        Raises:
            InputError: the set has none of the component.
        """
        kind, name, _ = _RECORDED_AS.get(component.id, ("", "", ()))
        found = [case for case in self._recorded.cases if case.split("/")[0] == kind]
        if not found:
            raise InputError(
                f"{self._recorded.folder}: the recorded set has no cases of {component.id};"
                f" give --component for what it has: {', '.join(_RECORDED_AS)}"
            )
        return [self._case(component, case, name) for case in found]

    def inputs(self, case: Case, component: ComponentRecord) -> dict[str, np.ndarray]:
        """Return a case's recorded input."""
        name = _RECORDED_AS[component.id][1]
        return {name: self._recorded.array(f"{self.recorded_case(case, component)}/{name}")}

    def run(self, component: ComponentRecord, inputs: Mapping[str, np.ndarray]) -> Computed:
        """Look up what was recorded for a component's recorded input."""
        kind, name, outputs = _RECORDED_AS[component.id]
        for case in self._recorded.cases:
            same = case.split("/")[0] == kind and np.array_equal(
                self._recorded.array(f"{case}/{name}"), inputs[name]
            )
            if same:
                found = {out: self._recorded.array(f"{case}/{out}") for out in outputs}
                return Computed(found, self._margins(component, found))
        raise ValueError(f"no recorded case of {component.id} has this input")

    def recorded_case(self, case: Case, component: ComponentRecord) -> str:
        """Return the name under which a case is recorded, such as ``coarse/0``."""
        return f"{_RECORDED_AS[component.id][0]}/{case.seed}"

    def _case(self, component: ComponentRecord, case: str, name: str) -> Case:
        shape = self._recorded.array(f"{case}/{name}").shape
        index = int(case.split("/")[1])
        books = shape[1] if component.name == "codec_decoder" else 0
        return Case(component.id, index, shape[0], shape[-1], books)

    def _margins(
        self, component: ComponentRecord, outputs: Mapping[str, np.ndarray]
    ) -> np.ndarray | None:
        if "logits" in outputs:
            return top_two_margin(outputs["logits"], axis=1)
        if component.name != "codec_encoder" or self._models.codec is None:
            return None
        quantizer = self._models.codec.quantizer
        tables = [
            quantizer.book(i).codebook.weight.numpy()
            for i in range(len(quantizer.codebook_dims))
        ]
        return code_margins(outputs["latents"], tables)
