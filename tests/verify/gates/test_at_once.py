"""Both sides at work at once: the same report, the same errors, the same interrupts."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch

from tests.support.exports import record_of
from tests.support.records import matrix
from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.config import load_gates
from vampnet_onnx.configs.interrupts import Interrupted
from vampnet_onnx.configs.runtime import Runtime
from vampnet_onnx.models import ModelSet
from vampnet_onnx.reports import Component
from vampnet_onnx.verify.gates import at_once
from vampnet_onnx.verify.gates.at_once import Threads, in_threads
from vampnet_onnx.verify.gates.component import check_component
from vampnet_onnx.verify.sides.export import open_export
from vampnet_onnx.verify.sides.models import Reference
from vampnet_onnx.verify.sides.oracle import Sides
from vampnet_onnx.verify.subjects.case import Arrays, Computed, Outputs, RunExport

_SIZES: dict[str, list[int]] = {"seeds": [0, 1], "frames": [1, 13, 40], "batches": [1, 3]}


@pytest.fixture
def run(models: ModelSet, nano_artifacts: Artifacts) -> Callable[..., Component]:
    """Verify one component with so many sides at work, something of a side changed."""

    def verify(
        name: str,
        threads: Threads | None,
        *,
        export: Callable[[RunExport], RunExport] = lambda plain: plain,
        reference: type[Reference] = Reference,
        **options: Any,
    ) -> Component:
        record = record_of(nano_artifacts, name)
        plain, mismatches, _ = open_export(nano_artifacts, record, Runtime(threads=1))
        sides = Sides(record, reference(models), export(plain), mismatches)
        gates = load_gates()
        with (threads or Threads(1, 1)).of_torch():
            return check_component(
                sides,
                matrix=matrix(**_SIZES),
                gates=gates,
                run_cases=in_threads(sides, gates, threads) if threads else None,
                **options,
            )

    return verify


@pytest.mark.parametrize(
    "name", ["codec_encoder", "codec_decoder", "coarse", "coarse.latents", "c2f"]
)
def test_reports_are_the_same_however_many_are_at_work(
    run: Callable[..., Component], name: str
) -> None:
    expected = run(name, None)
    assert expected.verdict == "PASS" and len(expected.cases) > 1
    for count in (1, 2, 4):
        assert found(run(name, Threads(count, 1))) == found(expected)


def test_both_sides_are_at_work_at_the_same_time(run: Callable[..., Component]) -> None:
    together = threading.Barrier(2, timeout=60)

    class Waiting(Reference):
        def run(self, *arguments: Any) -> Computed:
            if threading.current_thread().name.startswith("side"):
                together.wait()
            return super().run(*arguments)

    def waiting(plain: RunExport) -> RunExport:
        def compute(inputs: Outputs) -> Arrays:
            if threading.current_thread().name.startswith("side"):
                together.wait()
            return plain(inputs)

        return compute

    result = run("coarse", Threads(2, 1), reference=Waiting, export=waiting)
    assert result.verdict == "PASS" and not together.broken


def test_an_error_of_the_reference_is_raised_and_one_of_the_export_is_reported(
    run: Callable[..., Component],
) -> None:
    class Broken(Reference):
        def run(self, *arguments: Any) -> Computed:
            raise KeyError("the reference's own")

    class Overflowing(Reference):
        def run(self, *arguments: Any) -> Computed:
            raise FloatingPointError("logits")

    def broken(_plain: RunExport) -> RunExport:
        def compute(_inputs: Outputs) -> Arrays:
            raise RuntimeError("the export's own")

        return compute

    for threads in (None, Threads(2, 1)):
        with pytest.raises(KeyError, match="the reference's own"):
            run("coarse", threads, reference=Broken)
    expected = run("coarse", None, export=broken)
    assert expected.verdict == "FAIL" and "the export's own" in expected.gates[0].message
    same = run("coarse", Threads(2, 1), export=broken)
    assert found(same) == found(expected)
    expected = run("coarse", None, reference=Overflowing)
    assert "the reference failed: logits" in expected.gates[0].message
    same = run("coarse", Threads(2, 1), reference=Overflowing)
    assert found(same) == found(expected)


def found(component: Component) -> Any:
    """Return all but how long it took; as JSON, since a NaN is not itself."""
    return json.loads(component.model_dump_json(exclude={"cases": {"__all__": {"seconds"}}}))


@pytest.mark.parametrize("done", [1, 5])
def test_an_interrupt_keeps_what_was_judged_and_leaves_nobody_at_work(
    run: Callable[..., Component], done: int
) -> None:
    def stop(now: int, _total: int) -> None:
        if now == done:
            raise Interrupted

    result = run("coarse", Threads(2, 1), progress=stop)
    assert result.interrupted and len(result.cases) == done
    whole = run("coarse", None)
    assert found(result)["cases"] == found(whole)["cases"][:done]
    assert not [t for t in threading.enumerate() if t.name.startswith("side")]


def test_the_first_failure_ends_the_others(run: Callable[..., Component]) -> None:
    def silent(plain: RunExport) -> RunExport:
        return lambda inputs: {name: array * 0 for name, array in plain(inputs).items()}

    result = run("coarse", Threads(2, 1), export=silent, exit_first=True)
    assert result.verdict == "FAIL" and len(result.cases) == 1
    assert not [t for t in threading.enumerate() if t.name.startswith("side")]


@pytest.mark.parametrize(
    "cores, wanted, expected",
    [
        (1, 0, (1, 1)),
        (2, 0, (2, 1)),
        (2, 1, (2, 1)),
        (2, 2, (1, 2)),
        (2, 8, (1, 8)),
        (8, 0, (4, 2)),
        (16, 1, (4, 1)),
        (16, 8, (2, 8)),
    ],
)
def test_no_more_threads_than_cores_unless_asked_for(
    monkeypatch: pytest.MonkeyPatch, cores: int, wanted: int, expected: tuple[int, int]
) -> None:
    monkeypatch.setattr(at_once, "cores", lambda: cores)
    assert Threads.of(wanted) == Threads(*expected)


def test_pytorch_has_the_threads_of_one_side_and_gets_its_own_back(
    run: Callable[..., Component],
) -> None:
    before, seen = torch.get_num_threads(), set[int]()

    class Counting(Reference):
        def run(self, *arguments: Any) -> Computed:
            seen.add(torch.get_num_threads())
            return super().run(*arguments)

    run("coarse", Threads(2, 3), reference=Counting)
    assert seen == {3} and torch.get_num_threads() == before
