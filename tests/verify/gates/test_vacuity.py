"""A gate that could not fail is no gate: it fails itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.checked import COMPONENTS, Outputs, failed, gate
from tests.support.exports import exported, record_of, saved, session
from tests.support.records import matrix
from tests.support.sets import GoldenSet
from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.config import Gates, load_gates
from vampnet_onnx.configs.manifest import ComponentRecord
from vampnet_onnx.export.export_set import component_record
from vampnet_onnx.models import ModelSet, open_models
from vampnet_onnx.reports import Component
from vampnet_onnx.verify.gates.component import check_component
from vampnet_onnx.verify.gates.vacuity import Sensitivity, input_sensitivity
from vampnet_onnx.verify.sides.models import Reference
from vampnet_onnx.verify.sides.oracle import Sides
from vampnet_onnx.verify.subjects.case import Case
from vampnet_onnx.verify.subjects.registry import subject_of

ANY = Case("any", 0, 1, 1)
Run = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]


def runner(path: Any) -> Run:
    found = session(path)
    names = [item.name for item in found.get_outputs()]
    return lambda inputs: dict(zip(names, found.run(None, dict(inputs)), strict=True))


def checked(
    artifacts: Artifacts, name: str, nano: Any, *, run: Run | None = None, **more: Any
) -> Component:
    record = record_of(artifacts, name)
    sides = Sides(record, Reference(open_models(nano)), run or runner(artifacts.path(record)))
    given = {"gates": load_gates(), **more}
    return check_component(sides, matrix=matrix(frames=[1, 60]), **given)


# Two sides.


@pytest.mark.parametrize("name", ["codec_encoder", "codec_decoder", "coarse", "c2f"])
def test_a_reference_compared_with_itself_fails(
    nano: Any, nano_artifacts: Artifacts, name: str
) -> None:
    models, record = open_models(nano), record_of(nano_artifacts, name)

    def same(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        given = Reference(models, lambda *_: dict(inputs))
        return {n: a.copy() for n, a in given.run(record, ANY).outputs.items()}

    result = checked(nano_artifacts, name, nano, run=same)
    failed = [g.name for g in result.gates if g.verdict == "FAIL"]
    assert failed == ["identical_sides"]
    assert "compared with itself" in gate(result, "identical_sides").message


def test_an_export_that_gives_the_references_own_arrays_fails(
    nano: Any, nano_artifacts: Artifacts
) -> None:
    record = record_of(nano_artifacts, "coarse")

    class Handing(Reference):
        def run(self, *arguments: Any) -> Any:
            self.last = super().run(*arguments)
            return self.last

    reference = Handing(open_models(nano))

    def handed(_inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {"logits": reference.last.outputs["logits"][:]}

    small = matrix(seeds=[0], frames=[1], batches=[1])
    sides = Sides(record, reference, handed)
    result = check_component(sides, matrix=small, gates=load_gates())
    assert gate(result, "identical_sides").verdict == "FAIL"


# Limits.


def loosened(kind: str, name: str, limit: float) -> Gates:
    return load_gates({kind: {name: {"limit": limit}}})


@pytest.mark.parametrize(
    "component, kind, name, limit",
    [
        ("coarse", "transformer", "relative_l2", 10.0),
        ("coarse", "transformer", "tokens_unexplained", 1e9),
        ("codec_decoder", "codec_decoder", "snr_db", -60.0),
        ("codec_decoder", "codec_decoder", "max_abs", 3.0),
        ("codec_encoder", "codec_encoder", "tokens_unexplained", 1e9),
    ],
)
def test_a_limit_that_a_shuffled_output_holds_is_named(
    nano: Any, nano_artifacts: Artifacts, component: str, kind: str, name: str, limit: float
) -> None:
    result = checked(nano_artifacts, component, nano, gates=loosened(kind, name, limit))
    found = gate(result, "vacuous_limits")
    assert found.verdict == "FAIL" and name in found.message
    assert found.value == 1


# Inputs.


@pytest.fixture(scope="module")
def drawn(golden_a_models: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder, found = tmp_path_factory.mktemp("drawn"), {}
    for name in ("sampler", "mask_generator"):
        graph = exported(golden_a_models, name)
        path = saved(graph, folder)
        record = component_record(graph, _file(), None)
        found[name] = (record, runner(path))
    return found


@pytest.fixture(scope="module")
def golden_a_models(golden_a: GoldenSet) -> Any:
    return golden_a.models


def _file() -> Any:
    from vampnet_onnx.configs.manifest import FileRecord

    return FileRecord(name="x.onnx", sha256="0" * 64, size=1)


def sensitivity(record: ComponentRecord, run: Run) -> Sensitivity:
    like = subject_of(record).cases(record, matrix(frames=[5]))[-1]
    return input_sensitivity(
        Sides(record, Reference(ModelSet(Path(), None, {}, ())), run), like, 1e-3
    )


@pytest.mark.parametrize("name", ["sampler", "mask_generator"])
def test_every_input_of_a_sound_graph_is_seen_to_matter(drawn: Any, name: str) -> None:
    record, run = drawn[name]
    found = sensitivity(record, run)
    assert found.value >= 1e-3, found.message


@pytest.mark.parametrize(
    "name, ignored",
    [
        (name, item)
        for name, items in {
            "sampler": (
                "logits",
                "codes",
                "step",
                "temperature",
                "mask_temperature",
                "sample_cutoff",
                "top_k",
                "top_p",
                "typical_filtering",
                "typical_mass",
                "typical_min_tokens",
                "exponential",
                "uniform",
                "at_start",
            ),
            "mask_generator": (
                "prefix_frames",
                "combine_or",
                "dropout",
                "roll",
                "uniform",
                "upper_codebook_mask",
                "onset_frames",
                "rand_mask_cosine",
            ),
        }.items()
        for item in items
    ],
)
def test_an_input_that_is_ignored_is_named(drawn: Any, name: str, ignored: str) -> None:
    record, run = drawn[name]
    first: dict[Any, np.ndarray] = {}

    def deaf(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        value = inputs[ignored]
        return run({**inputs, ignored: first.setdefault(value.shape, value)})

    found = sensitivity(record, deaf)
    assert not found.value >= 1e-3
    assert ignored in found.message


def test_an_input_whose_shape_alone_counts_is_listed_as_such() -> None:
    assert subject_of("mask_generator").untried == {"codes"}


@pytest.mark.parametrize("name", COMPONENTS)
def test_outputs_that_ignore_the_input_fail(
    check: Callable[..., Component], name: str
) -> None:
    def constant(_inputs: Mapping[str, np.ndarray], found: Outputs) -> Outputs:
        return {key: np.ones_like(value) for key, value in found.items()}

    assert "input_sensitivity" in failed(check(name, constant))


def test_an_output_that_ignores_the_input_fails_even_if_another_does_not(
    check: Callable[..., Component],
) -> None:
    def constant_codes(_inputs: Mapping[str, np.ndarray], found: Outputs) -> Outputs:
        return {**found, "codes": np.ones_like(found["codes"])}

    assert "input_sensitivity" in failed(check("codec_encoder", constant_codes))


def test_sensitivity_of_nan_is_nan_whichever_output_it_is_in(
    check: Callable[..., Component],
) -> None:
    for output in ("codes", "latents"):

        def spoil(_i: Mapping[str, np.ndarray], found: Outputs, o: str = output) -> Outputs:
            return {**found, o: found[o] * np.float32(math.nan)}

        result = check("codec_encoder", spoil, seeds=[0], frames=[29], batches=[1])
        assert "input_sensitivity" in failed(result), output
