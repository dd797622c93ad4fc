"""Benches as data, for what renders them."""

from __future__ import annotations

from vampnet_onnx.reports.timings import Bench, Contender, Ratio, Row, Spread, Timing


def timing(contestant: str, median: float, ratio: Ratio | None = None) -> Timing:
    half = 0.01 * median
    return Timing(
        contestant=contestant,
        seconds=Spread(median=median, low=median - half, high=median + half),
        rounds=[median] * 5,
        ratio=ratio,
        audio_seconds_a_second=10 / median,
        of_sgemm=0.5,
        peak_memory=3_210_000_000,
    )


def sample_bench(*, stopped: str = "", name: str = "coarse") -> Bench:
    """A clear ratio, one that is not, and a job of two phases."""
    clear = Ratio(value=1.25, low=1.24, high=1.26)
    unclear = Ratio(value=None, low=0.9, high=1.1)
    return Bench(
        model="demo",
        files="artifacts/demo/v1",
        verified=True,
        random_weights=False,
        processor="A processor",
        cores=2,
        command="vampnet-onnx bench artifacts/demo",
        contestants=[
            Contender(name=one, what=f"{one} 1.0", python="3.11", source="abc")
            for one in ("onnx", "torch", "beside")
        ],
        rows=[
            Row(
                part="components",
                what=name,
                cores=2,
                audio_s=10.0,
                frames=575,
                flops=10**11,
                sgemm_flops=2e11,
                timings=[
                    timing("onnx", 1.0),
                    timing("torch", 1.25, clear),
                    timing("beside", 1.0, unclear),
                ],
            ),
            *(
                Row(
                    part="vamp",
                    what=phase,
                    cores=2,
                    timings=[timing("onnx", took), timing("torch", 1.25 * took, clear)],
                )
                for phase, took in (("encode", 2.0), ("decode", 3.0), ("total", 5.0))
            ),
            Row(part="export", what="first: total", cores=2, timings=[timing("onnx", 50.0)]),
        ],
        stopped=stopped,
    )
