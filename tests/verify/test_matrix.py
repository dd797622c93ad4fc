"""The execution matrix: what a runtime gets wrong is seen, whatever way it is wrong."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.support.exports import only
from tests.support.html_page import Page
from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.config import load_gates
from vampnet_onnx.configs.errors import EnvironmentLacksError, InputError
from vampnet_onnx.configs.interrupts import Interrupted
from vampnet_onnx.configs.invocation import Given
from vampnet_onnx.configs.matrix import Declared, MatrixPlan, load_matrix
from vampnet_onnx.configs.runtime import Runtime
from vampnet_onnx.models import Checkpoints
from vampnet_onnx.pipeline.version.session import Opened, Session
from vampnet_onnx.reports import Component, Report, Verdict
from vampnet_onnx.reports.pages import render_html, render_markdown
from vampnet_onnx.verify import matrix
from vampnet_onnx.verify.matrix import verify_on_runtimes
from vampnet_onnx.verify.sides.models import Reference
from vampnet_onnx.verify.sides.runtimes.backend import (
    Backend,
    GraphElsewhere,
    Running,
    chosen_backends,
)
from vampnet_onnx.verify.subjects.case import Case, Computed

Outputs = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Planted:
    """ONNX Runtime with a defect between it and whoever asks."""

    name: str
    open: Callable[[Path], Opened]
    missing: str = ""

    def lacks(self) -> str:
        return self.missing

    @contextmanager
    def start(self, threads: int) -> Iterator[Running]:
        yield Running("planted", "1.0", self.open)


def changed(name: str, change: Callable[[Outputs], Mapping[str, np.ndarray]]) -> Planted:
    def opened(path: Path) -> Opened:
        session = Session(path, Runtime(threads=1))
        return GraphElsewhere(path, lambda inputs: change(session.run(inputs)), name)

    return Planted(name, opened)


def sound(name: str) -> Planted:
    return changed(name, dict)


def refusing(name: str, words: str) -> Planted:
    def opened(path: Path) -> Opened:
        raise InputError("cannot load") from RuntimeError(words)

    return Planted(name, opened)


Matrix = Callable[..., Report]


@pytest.fixture(scope="module")
def run(nano: Path) -> Matrix:
    def over(
        artifacts: Artifacts,
        *backends: Backend,
        rows: Sequence[str],
        plan: MatrixPlan | None = None,
        cases: Sequence[Case] = (),
        seconds: float | None = None,
        progress: Callable[[str, int, int], None] = lambda *_: None,
    ) -> Report:
        wanted = plan or load_matrix()
        return verify_on_runtimes(
            artifacts,
            Checkpoints(nano),
            backends=backends,
            plan=wanted,
            matrix=wanted.section(threads=1),
            gates=load_gates(),
            toolchain={},
            given=Given(artifacts.folder, nano),
            only=tuple(rows),
            cases=cases,
            localise_seconds=seconds,
            progress=progress,
        )

    return over


def cell(report: Report, component: str, runtime: str) -> Component:
    (found,) = [c for c in report.components if c.id == f"{component} on {runtime}"]
    return found


def failed(report: Report) -> list[str]:
    return [c.id for c in report.components if c.verdict is Verdict.FAIL]


def test_the_runtimes_of_this_process_agree_and_the_reference_runs_once(
    run: Matrix, nano_artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[str]()
    original = Reference.run

    def counted(self: Reference, record: object, case: Case) -> Computed:
        asked.append(case.id)
        return original(self, record, case)  # type: ignore[arg-type]

    monkeypatch.setattr(Reference, "run", counted)
    names = ["default", "threads2", "basic", "off", "parallel", "saved", "onnx-reference"]
    rows = ["codec_encoder", "codec_decoder", "coarse", "c2f"]
    report = run(nano_artifacts, *chosen_backends(names), rows=rows)
    assert report.verdict is Verdict.PASS and failed(report) == []
    assert [c.id for c in report.components] == [f"{r} on {n}" for r in rows for n in names]
    assert all(len(c.cases) >= 2 and c.gates for c in report.components)
    assert len(asked) == len(set(asked)), "the reference computed a case twice"
    assert "4 rows on default, threads2" in report.verdict_line
    said = f"a sample of {len(asked)} cases that verifies runtimes, not the files"
    assert f"{said} (without audit and modules)" in report.verdict_line


def test_a_version_that_does_not_count_as_verified_is_told_first(
    run: Matrix, nano_artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that was changed counts for nothing, whatever the version earned before."""

    def told(artifacts: Artifacts) -> str:
        report = run(artifacts, sound("default"), rows=["coarse"])
        assert report.runtimes is not None
        for text in (render_markdown(report), render_html(report)):
            said = re.search(r"does not\s+count as verified", text)
            assert bool(said) == bool(report.runtimes.verify_first)
            assert said is None or said.start() < text.index(
                "compared with" if text[0] == "#" else "<main"
            )
        return report.runtimes.verify_first

    assert told(nano_artifacts).startswith("vampnet-onnx verify ")
    monkeypatch.setattr(matrix, "read_verification", lambda folder: object())
    assert told(nano_artifacts) == ""
    changed = dataclasses.replace(nano_artifacts, changed=("coarse.onnx",))
    assert told(changed).startswith("vampnet-onnx verify ")


def test_a_whole_generation_runs_on_a_runtime_part_by_part(
    run: Matrix, generation_artifacts: Artifacts
) -> None:
    """onnx.reference does not run the sampler, as is declared: that part runs as usual."""
    backends = [*chosen_backends(["default", "onnx-reference"]), zeros("zeros")]
    report = run(generation_artifacts, *backends, rows=["generation", "sampler", "coarse"])
    assert {c.component: c.runtime for c in report.runtimes.unsupported} == {  # type: ignore[union-attr]
        "sampler": "onnx-reference"
    }
    assert cell(report, "generation", "onnx-reference").verdict is Verdict.PASS
    assert cell(report, "generation", "onnx-reference").metrics["token_accuracy"] == 1
    assert set(failed(report)) >= {"generation on zeros", "coarse on zeros"}
    (cause,) = cell(report, "generation", "zeros").causes
    assert "coarse on zeros" in (cause.consequence_of, *cause.others)


def zeros(name: str) -> Planted:
    return changed(name, lambda found: {n: np.zeros_like(a) for n, a in found.items()})


def other_layout(name: str) -> Planted:
    """It hands the last two axes out in memory order, under the shape that was asked for."""
    return changed(
        name,
        lambda found: {
            n: np.ascontiguousarray(a.swapaxes(-1, -2)).reshape(a.shape)
            for n, a in found.items()
        },
    )


def turned(name: str) -> Planted:
    return changed(name, lambda found: {n: a.swapaxes(-1, -2) for n, a in found.items()})


def stale(name: str) -> Planted:
    """It gives what the run before gave."""
    before = list[Outputs]()

    def late(found: Outputs) -> Outputs:
        before.append(found)
        return before[-2] if len(before) > 1 else found

    return changed(name, late)


def one_buffer(name: str) -> Planted:
    """It writes every result into the memory of the one before."""
    memory = dict[tuple[str, tuple[int, ...]], np.ndarray]()

    def written(found: Outputs) -> Outputs:
        for n, array in found.items():
            memory.setdefault((n, array.shape), np.empty_like(array))[...] = array
        return {n: memory[n, array.shape] for n, array in found.items()}

    return changed(name, written)


def renamed(name: str) -> Planted:
    return changed(name, lambda found: {f"{n}_0": a for n, a in found.items()})


def half(name: str) -> Planted:
    """It computes floats with three digits."""

    def rounded(found: Outputs) -> Outputs:
        return {
            n: a.astype(np.float16).astype(np.float32) if a.dtype == np.float32 else a
            for n, a in found.items()
        }

    return changed(name, rounded)


@pytest.mark.parametrize(
    "defect",
    [other_layout, turned, stale, one_buffer, renamed, half, zeros],
    ids=lambda d: d.__name__,
)
@pytest.mark.parametrize("component", ["coarse", "codec_encoder"])
def test_what_a_runtime_gets_wrong_fails_its_cell_and_no_other(
    run: Matrix,
    nano_artifacts: Artifacts,
    defect: Callable[[str], Planted],
    component: str,
) -> None:
    report = run(nano_artifacts, sound("right"), defect("wrong"), rows=[component])
    assert report.verdict is Verdict.FAIL
    assert failed(report) == [f"{component} on wrong"]
    (cause,) = cell(report, component, "wrong").causes
    assert "--runtimes wrong" in cause.command


def test_openvino_left_to_its_own_choice_of_bf16_is_caught(
    run: Matrix, nano_artifacts: Artifacts
) -> None:
    """The defect that `openvino` asks for float32 against, on processors that have it."""
    openvino = pytest.importorskip("openvino")
    core = openvino.Core()
    if "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("OpenVINO computes no bf16 on this processor")

    def opened(path: Path) -> Opened:
        compiled = core.compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "bf16"})
        names = [item.get_any_name() for item in compiled.outputs]

        def compute(inputs: Mapping[str, np.ndarray]) -> Outputs:
            found = compiled(dict(inputs), share_outputs=False)
            return {name: found[name] for name in names}

        return GraphElsewhere(path, compute, "bf16")

    rows = ["codec_encoder", "codec_decoder", "coarse", "c2f"]
    backends = [*chosen_backends(["openvino"]), Planted("bf16", opened)]
    report = run(nano_artifacts, *backends, rows=rows)
    assert failed(report) == [f"{row} on bf16" for row in rows]


def declared(error: str, versions: str = "") -> MatrixPlan:
    known = Declared(
        runtime="x", component="coarse", versions=versions, error=error, reason="it is known"
    )
    return load_matrix().model_copy(update={"unsupported": [known]})


def test_a_declared_cell_that_does_not_run_is_no_failure_and_says_why(
    run: Matrix, nano_artifacts: Artifacts
) -> None:
    backends = [sound("default"), refusing("x", "no kernel for Gelu")]
    report = run(nano_artifacts, *backends, rows=["coarse"], plan=declared("no kernel"))
    assert (
        report.verdict is Verdict.PASS and "1 cell declared not to run" in report.verdict_line
    )
    report = run(nano_artifacts, *backends, rows=["coarse"], plan=declared("no k", "<1"))
    assert failed(report) == ["coarse on x"], "the declaration is of earlier versions"
    report = run(nano_artifacts, *backends, rows=["coarse"], plan=declared("no k", ">=1"))
    (found,) = report.runtimes.unsupported  # type: ignore[union-attr]
    assert (found.component, found.reason) == ("coarse", "it is known")
    assert found.said == "no kernel for Gelu"


@pytest.mark.parametrize(
    ("backend", "says"),
    [
        (sound("x"), "it runs and holds its gates; take it out"),
        (refusing("x", "out of memory"), "fails of something else than 'no kernel': out of"),
        (zeros("x"), "fails of something else"),
    ],
    ids=["works", "other-words", "runs-wrong"],
)
def test_a_declared_cell_that_works_or_fails_of_something_else_is_a_failure(
    run: Matrix, nano_artifacts: Artifacts, backend: Planted, says: str
) -> None:
    report = run(nano_artifacts, backend, rows=["coarse"], plan=declared("no kernel"))
    assert failed(report) == ["coarse on x"] and report.verdict is Verdict.FAIL
    (cause,) = cell(report, "coarse", "x").causes
    assert says in cause.what and "configs/runtimes.toml" in cause.what


def test_a_file_that_is_not_loaded_fails_with_node_and_operator(
    run: Matrix, nano_artifacts: Artifacts
) -> None:
    """Here it says nothing of the node, so that is sought by cutting the graph off."""

    def opened(path: Path) -> Opened:
        session = Session(path, Runtime(threads=1))
        if b"Softmax" in path.read_bytes():
            raise InputError("cannot load") from RuntimeError("what is this?")
        return session

    backends = [sound("default"), Planted("x", opened)]
    report = run(nano_artifacts, *backends, rows=["coarse"])
    (cause,) = cell(report, "coarse", "x").causes
    assert cause.operator == "Softmax" and cause.node and cause.module
    assert cause.what == "what is this?"
    for text in (render_markdown(report), render_html(report)):
        assert "Softmax" in text and "not told" not in text


def test_what_fails_on_the_usual_runtime_too_is_laid_to_the_file(
    run: Matrix, nano_artifacts: Artifacts
) -> None:
    report = run(nano_artifacts, zeros("default"), zeros("x"), rows=["coarse"])
    (cause,) = cell(report, "coarse", "x").causes
    assert cause.consequence_of == "coarse on default"


def test_the_module_that_a_runtime_gets_wrong_is_named(
    run: Matrix, nano_artifacts: Artifacts
) -> None:
    """Parts are cut out and run there: what normalises is wrong, whatever file it is in."""

    def opened(path: Path) -> Opened:
        session = Session(path, Runtime(threads=1))
        wrong = b"Softmax" in path.read_bytes()

        def compute(inputs: Mapping[str, np.ndarray]) -> Outputs:
            found = session.run(inputs)
            return {n: a * np.float32(1.01) for n, a in found.items()} if wrong else found

        return GraphElsewhere(path, compute, "x")

    backends = [sound("default"), Planted("x", opened)]
    report = run(nano_artifacts, *backends, rows=["coarse"], seconds=60)
    (cause,) = cell(report, "coarse", "x").causes
    assert "self_attn" in cause.module and cause.error, cause.model_dump()


def test_what_is_not_installed_is_skipped_with_the_line_that_installs_it(
    run: Matrix, nano_artifacts: Artifacts
) -> None:
    install = "pip install 'gone[all]' && gone --up | sh"
    missing = dataclasses.replace(sound("gone"), missing=install)
    report = run(nano_artifacts, sound("default"), missing, rows=["coarse"])
    assert report.verdict is Verdict.PASS and "skipped: gone" in report.verdict_line
    page, text = render_html(report), render_markdown(report)
    assert f"- gone: skipped: `{install}`\n" in text.replace("\\|", "|")
    assert text.count("pip install") == page.count("pip install") == 1
    assert f"skipped: {install}" in Page(page).text
    assert '<span class="option">--up</span>' in page, "an option breaks at its hyphens"
    again = dataclasses.replace(missing, name="too")
    with pytest.raises(EnvironmentLacksError) as lacks:
        run(nano_artifacts, missing, again, rows=["coarse"])
    assert str(lacks.value) == (
        f"none of the runtimes is installed: gone: {install}; too: {install}"
    )


def test_where_everything_is_declared_not_to_run_nothing_passes(
    run: Matrix, nano_artifacts: Artifacts
) -> None:
    with pytest.raises(InputError, match="nothing to compare"):
        run(nano_artifacts, refusing("x", "no kernel"), rows=["coarse"], plan=declared("no k"))


def test_an_interrupt_leaves_the_cells_that_were_judged(
    run: Matrix, nano_artifacts: Artifacts
) -> None:
    def stop(_: str, done: int, of: int) -> None:
        if done == 1:
            raise Interrupted

    backends = [sound("default"), sound("x")]
    report = run(nano_artifacts, *backends, rows=["coarse", "c2f"], progress=stop)
    assert report.verdict is Verdict.INTERRUPTED and report.unfinished == ["coarse", "c2f"]
    assert [c.id for c in report.components] == ["coarse on default"]
    assert "interrupted before coarse was done" in report.verdict_line
    assert "not run" in render_markdown(report) and "not run" in render_html(report)


def test_one_case_can_be_run_again(run: Matrix, nano_artifacts: Artifacts) -> None:
    case = Case("coarse", 7, 1, 5)
    report = run(nano_artifacts, sound("default"), rows=(), cases=[case])
    assert [c.id for c in report.components[0].cases] == [case.id]
    with pytest.raises(InputError, match="codebooks must be 0"):
        wrong = dataclasses.replace(case, codebooks=3)
        run(nano_artifacts, sound("default"), rows=(), cases=[wrong])


def test_forms_are_rows_of_their_own_and_those_that_are_heard_are_none(
    run: Matrix, forms_a: Path
) -> None:
    from tests.support.sets import GOLDEN
    from vampnet_onnx.configs.artifacts import open_artifacts

    opened = only(open_artifacts(forms_a), "coarse", "coarse.int8")
    plan = load_matrix()
    report = verify_on_runtimes(
        opened,
        Checkpoints(GOLDEN / "a"),
        backends=chosen_backends(["default", "off"]),
        plan=plan,
        matrix=plan.section(seeds=[3], threads=1),
        gates=load_gates(),
        toolchain={},
        given=Given(opened.folder),
        progress=lambda *_: None,
    )
    assert report.runtimes is not None and report.runtimes.rows == ["coarse", "coarse.int8"]
    assert failed(report) == [] and report.seeds == [3]
