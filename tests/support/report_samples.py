"""Small reports made by hand: one passes, one has excused ties, one fails with NaN."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from vampnet_onnx.reports import (
    Case,
    Cause,
    Component,
    DepthPoint,
    FormPoint,
    Forms,
    Gate,
    HeatMap,
    Report,
    Run,
    RuntimeColumn,
    Runtimes,
    Scatter,
    Source,
    UnsupportedCell,
    Verdict,
)


def passing_report() -> Report:
    """Return a report of two components in which every gate holds, and of forms."""
    report = _report(
        Verdict.PASS,
        "Both components compute what the reference computes on all 14 cases.",
        [_transformer("coarse", Verdict.PASS, _gates("coarse")), _decoder()],
    )
    return report.model_copy(update={"forms": [forms()]})


def forms(*more: FormPoint) -> Forms:
    """Return a network in three forms: one faster, one of which that is not sure."""
    points = (
        form_point("fp32", 1000, 1e-12, None, 1.0, 1.0),
        form_point("int8", 270, 1.5e-3, 2.6, 2.5, 2.7),
        form_point("w4", 150, 0.03, None, 0.9, 1.4),
    )
    return Forms(name="coarse", frames=173, rounds=9, threads=2, points=[*points, *more])


def form_point(
    form: str, megabytes: int, nats: float, faster: float | None, low: float, high: float
) -> FormPoint:
    return FormPoint(
        form=form,
        bytes=megabytes * 10**6,
        kl_nats=nats,
        disagreement=0.01,
        seconds=0.25,
        faster=faster,
        faster_low=low,
        faster_high=high,
    )


def ambiguous_report() -> Report:
    """Return a report in which three tokens differ where the reference's own top two tie."""
    excused = Gate(
        name="token_agreement",
        verdict=Verdict.AMBIGUOUS,
        value=0.99964,
        limit=1.0,
        direction="at least",
        unit="",
        reason="the tokens are the product; only ties of the reference may differ",
        worst_case="coarse-b2-l173",
        message="3 of 8,304 tokens differ, all within the reference's top-two margin of 1e-4.",
    )
    gates = [gate for gate in _gates("coarse") if gate.name != excused.name]
    return _report(
        Verdict.AMBIGUOUS,
        "The export agrees with the reference except for 3 tokens where the reference itself"
        " is tied.",
        [_transformer("coarse", Verdict.AMBIGUOUS, [excused, *gates]), _decoder()],
    )


def failing_report() -> Report:
    """Return a report with values that are not finite and a gate that was never measured."""
    gates = _gates("c2f")
    broken = [
        gates[0].model_copy(
            update={
                "verdict": Verdict.FAIL,
                "value": math.nan,
                "message": "First module with finite inputs and non-finite output:"
                " transformer.layers.3.self_attn.\nFirst node: Softmax_217.",
            }
        ),
        gates[1].model_copy(update={"verdict": Verdict.FAIL, "value": 31.0}),
        gates[2].model_copy(update={"verdict": Verdict.FAIL, "value": None}),
        gates[3],
    ]
    component = _transformer("c2f", Verdict.FAIL, broken, rows=14, broken=True)
    report = _report(
        Verdict.FAIL,
        "c2f fails: 31 logits of the export are NaN where the reference is finite.",
        [_transformer("coarse", Verdict.PASS, _gates("coarse")), component, _decoder()],
    )
    return report.model_copy(update={"version": "", "notes": ["Nothing was published."]})


def _report(verdict: Verdict, line: str, components: list[Component]) -> Report:
    return Report(
        model="vampnet-tiny",
        version="v3",
        verdict=verdict,
        verdict_line=line,
        random_weights=True,
        notes=["GPU kernels were not exercised: this run used the CPU."],
        reference="models/ on torch 2.9.1, pinned to the published packages by golden data",
        seeds=[0, 1, 2, 3, 4, 5, 6],
        opset=18,
        toolchain={
            "python": "3.12.3",
            "torch": "2.9.1",
            "onnx": "1.19.1",
            "onnxruntime": "1.23.2",
        },
        sources=[
            Source(name="coarse.pth", sha256="5a" * 32, size=1_330_114_945, label="random"),
            Source(name="codec.pth", sha256="c7" * 32, size=306_700_000, label="random"),
        ],
        components=components,
    )


def _gates(name: str) -> list[Gate]:
    """Return four gates that hold, named as the real ones are."""
    worst = f"{name}-b2-l173"
    return [
        _gate("logits_relative_l2", 8.31e-7, 1e-5, "float32 sums in another order", worst),
        _gate("nonfinite_values", 0, 0, "NaN never counts as equal to NaN", worst),
        _gate(
            "token_agreement", 1, 1, "the tokens are the product", worst, direction="at least"
        ),
        _gate(
            "output_variation",
            0.73,
            1e-3,
            "a graph that ignores its input must not pass",
            f"{name}-b1-l57",
            direction="at least",
        ),
    ]


def _gate(
    name: str,
    value: float,
    limit: float,
    reason: str,
    case: str,
    *,
    direction: str = "at most",
    unit: str = "",
) -> Gate:
    return Gate(
        name=name,
        verdict=Verdict.PASS,
        value=value,
        limit=limit,
        direction=direction,
        unit=unit,
        reason=reason,
        worst_case=case,
    )


def _transformer(
    name: str, verdict: Verdict, gates: list[Gate], *, rows: int = 4, broken: bool = False
) -> Component:
    shapes = [(1, 57), (1, 86), (2, 173), (2, 174), (3, 1), (1, 512), (4, 85)]
    agreement = 1.0 if verdict is Verdict.PASS else 0.99964
    relative = math.nan if broken else 8.31e-7
    cases = [
        Case(
            id=f"{name}-b{batch}-l{length}",
            seed=seed,
            batch=batch,
            length=length,
            verdict=Verdict.PASS,
            metrics={
                "logits_relative_l2": 1e-7 * (seed + 1),
                "logits_max_abs": 2.1e-6 * (seed + 1),
                "token_agreement": 1.0,
            },
        )
        for seed, (batch, length) in enumerate(shapes)
    ]
    worst = {**cases[2].metrics, "logits_relative_l2": relative, "token_agreement": agreement}
    cases[2] = cases[2].model_copy(
        update={
            "verdict": verdict,
            "metrics": worst,
            "ambiguous": 3 if verdict is Verdict.AMBIGUOUS else 0,
            "nonfinite_export": 31 if broken else 0,
            "message": "NaN from frame 126 on" if broken else "",
        }
    )
    reference = [8 * math.sin(i * 1.7) + 3 * math.cos(i * 0.31) for i in range(300)]
    export = [r * (1 + 4e-7 * math.sin(i * 12.9)) for i, r in enumerate(reference)]
    if broken:
        export[17] = math.nan
        export[40] = math.inf
    return Component(
        name=name,
        file=f"{name}.onnx",
        sha256=("91" if rows == 4 else "e4") * 32,
        verdict=verdict,
        gates=gates,
        cases=cases,
        metrics={
            "logits_relative_l2": relative,
            "logits_max_abs": 1.47e-5,
            "token_agreement": agreement,
        },
        accuracy_per_codebook=[agreement if i == 2 else 1.0 for i in range(rows)],
        heat_map=HeatMap(
            case=f"{name}-b2-l173",
            quantity="largest absolute error of the logits",
            rows=[f"codebook {i}" for i in range(rows)],
            columns_per_cell=2,
            values=[[_error(i, t, broken) for t in range(87)] for i in range(rows)],
        ),
        scatter=Scatter(
            case=f"{name}-b2-l173", quantity="logits", reference=reference, export=export
        ),
    )


def _error(codebook: int, cell: int, broken: bool) -> float:
    if broken and codebook in (3, 4) and cell >= 60 + codebook:
        return math.nan
    if (cell * 7 + codebook * 3) % 19 == 0:
        return 0.0
    wave = math.sin(cell / 9 + codebook) + math.sin(cell * 1.3) + codebook / 3
    return 1e-6 * 10 ** (0.55 * wave)


def _decoder() -> Component:
    cases = [
        Case(
            id=f"decoder-{seed}",
            seed=seed,
            batch=1 + seed % 2,
            length=44_100 * (seed + 1),
            verdict=Verdict.PASS,
            metrics={"snr": 118.4 - seed, "audio_max_abs": 3.1e-6},
        )
        for seed in range(7)
    ]
    return Component(
        name="codec_decoder",
        variant="fp16",
        file="codec_decoder.fp16.onnx",
        sha256="0b" * 32,
        verdict=Verdict.PASS,
        gates=[
            _gate(
                "snr",
                112.4,
                90,
                "well below the rounding of 16-bit audio",
                "decoder-6",
                direction="at least",
                unit="dB",
            ),
            _gate("audio_max_abs", 3.1e-6, 1e-4, "three steps of 16-bit audio", "decoder-2"),
        ],
        cases=cases,
        metrics={"snr": 112.4, "audio_max_abs": 3.1e-6},
        heat_map=HeatMap(
            case="decoder-6",
            quantity="largest absolute error of the audio",
            rows=["channel 0"],
            columns_per_cell=2048,
            column_unit="samples",
            values=[[3.1e-6 * abs(math.sin(t / 5)) for t in range(150)]],
        ),
    )


def explained_report() -> Report:
    """Return a report in which two components failed for one cause, with times and a walk.

    A generation follows from coarse, which a walk explains; one value of it is not finite.
    """
    report = failing_report()
    depth = [
        DepthPoint(module=f"transformer.layers.{i}", error=10.0 ** min(i - 9, -2), own=1e-8)
        for i in range(12)
    ]
    depth[4] = depth[4].model_copy(update={"own": 3e-3})
    depth[11] = depth[11].model_copy(update={"error": math.inf, "own": math.nan})
    why = Cause(
        component="c2f",
        case="c2f-b2-l173",
        module="transformer.layers.4",
        node="MatMul_7",
        operator="MatMul",
        error=3e-3,
        what="weight transformer.layers.4.w scaled by 1.01",
        command="vampnet-onnx localise artifacts/v1 --case c2f-b2-l173",
        depth=depth,
    )
    follows = Cause(
        component="generation", consequence_of="c2f", command="vampnet-onnx verify a"
    )
    coarse, c2f, decoder = report.components
    lost = _gate("tokens", 3, 0, "tokens are the product", "coarse-b2-l173")
    lost = lost.model_copy(update={"verdict": Verdict.FAIL})
    whole = coarse.model_copy(
        update={
            "name": "generation",
            "verdict": Verdict.FAIL,
            "causes": [follows],
            "gates": [lost],
            "heat_map": None,
        }
    )
    broken = c2f.model_copy(update={"causes": [why], "seconds": 12.5})
    cases = [case.model_copy(update={"seconds": 0.25}) for case in decoder.cases]
    return report.model_copy(
        update={
            "components": [whole, coarse, broken, decoder.model_copy(update={"cases": cases})],
            "run": Run(
                date="2026-02-03T04:05:06+00:00",
                seconds=130.2,
                processor="Some Processor 9000",
                cores=2,
                commit="0123456789abcdef0123456789abcdef01234567",
                previous="v2",
            ),
        }
    )


def matrix_report() -> Report:
    """Return a matrix: a cell that fails, one that is declared, a runtime that is skipped."""
    report = explained_report()
    (failing,) = [part for part in report.components if part.id == "c2f"]
    wrong = failing.model_copy(update={"runtime": "oldest"})
    right = _decoder().model_copy(update={"runtime": "default"})
    columns = [
        RuntimeColumn(name="default", what="ONNX Runtime 1.31", skipped=""),
        RuntimeColumn(name="oldest", what="ONNX Runtime 1.18", skipped=""),
        RuntimeColumn(name="openvino", what="", skipped="pip install openvino"),
    ]
    known = UnsupportedCell(
        component=right.file_id, runtime="oldest", reason="no kernel", said="no kernel for Mul"
    )
    rows = [wrong.file_id, right.file_id]
    table = Runtimes(columns=columns, rows=rows, unsupported=[known])
    return report.model_copy(update={"components": [wrong, right], "runtimes": table})


SAMPLES = [
    passing_report,
    ambiguous_report,
    failing_report,
    explained_report,
    matrix_report,
]


HOSTILE = "<script>alert(1)</script> \"'|`*_ &amp; ]]> \x1b[31m \x00 \u202e\nnext {{ 7*7 }}"


every_sample = pytest.mark.parametrize("sample", SAMPLES, ids=lambda s: s.__name__)


Sample = Callable[[], Report]


def hostile_report() -> Report:
    """Return a failing report with hostile text wherever text can stand."""
    report = failing_report()
    text = {"name": HOSTILE, "message": HOSTILE}
    gate = (
        report.components[1]
        .gates[0]
        .model_copy(update={**text, "reason": HOSTILE, "unit": HOSTILE, "worst_case": HOSTILE})
    )
    case = (
        report.components[1]
        .cases[2]
        .model_copy(update={"id": HOSTILE, "message": HOSTILE, "metrics": {HOSTILE: 1.0}})
    )
    heat = report.components[1].heat_map
    assert heat is not None
    part = report.components[1].model_copy(
        update={
            **dict.fromkeys(("name", "variant", "file", "sha256"), HOSTILE),
            "gates": [gate],
            "cases": [case],
            "heat_map": heat.model_copy(
                update={"case": HOSTILE, "quantity": HOSTILE, "rows": [HOSTILE] * 14}
            ),
        }
    )
    return report.model_copy(
        update={
            **dict.fromkeys(("model", "version", "verdict_line", "reference"), HOSTILE),
            "notes": [HOSTILE],
            "toolchain": {HOSTILE: HOSTILE},
            "sources": [report.sources[0].model_copy(update={"name": HOSTILE})],
            "components": [part],
            "forms": [
                forms(form_point(HOSTILE, 1, math.nan, None, math.inf, -math.inf)).model_copy(
                    update={"name": HOSTILE}
                )
            ],
        }
    )


def gate_of(value: float | None, limit: float, direction: str, unit: str) -> Gate:
    return Gate(
        name="g",
        verdict=Verdict.FAIL,
        value=value,
        limit=limit,
        direction=direction,
        unit=unit,
        reason="",
        worst_case="",
    )
