"""``vampnet-onnx bench``: PyTorch against ONNX Runtime."""

import dataclasses

from rich.table import Table

from vampnet_onnx.configs.extras import require_export_tools
from vampnet_onnx.configs.machine import cores

from .options import ArtifactsArgument, Checkpoint, Codec, Json, Threads
from .output import out, print_json, print_version, progress_bar, spinner, version_facts


def bench(
    artifacts: ArtifactsArgument,
    checkpoint: Checkpoint = None,
    codec: Codec = None,
    threads: Threads = 0,
    as_json: Json = False,
) -> None:
    """Time every network on ONNX Runtime and, given a checkpoint, on PyTorch beside it.

    Rounds alternate between the two in one run; medians of five are printed, a batch of one at
    three lengths. ONNX Runtime's threads do not spin between rounds.

    Example:
      vampnet-onnx bench artifacts --checkpoint checkpoints/mine
    """
    require_export_tools()
    import torch

    from vampnet_onnx.configs.artifacts import open_artifacts
    from vampnet_onnx.configs.verification import version_to_use
    from vampnet_onnx.export.toolchain import toolchain
    from vampnet_onnx.models import Checkpoints
    from vampnet_onnx.verify.bench import ROUNDS, bench_networks

    with spinner("checking hashes"):
        chosen = version_to_use(artifacts)
        opened = open_artifacts(chosen.folder)
    with progress_bar() as bar:
        given = None if checkpoint is None else Checkpoints(checkpoint, codec=codec)
        timings = bench_networks(opened, given, threads=threads, progress=bar)
    tools = toolchain()
    print_version(chosen)
    facts = {
        **version_facts(chosen),
        "rounds": ROUNDS,
        "cores": cores(),
        "torch_threads": torch.get_num_threads(),
        "onnxruntime_threads": threads or "its choice",
        "spinning": False,
        "toolchain": tools,
    }
    if as_json:
        rows = [{**dataclasses.asdict(t), "ratio": t.ratio} for t in timings]
        print_json({**facts, "timings": rows})
        return
    table = Table(
        "component", "frames", "torch ms", "onnx ms", "times as fast", box=None, pad_edge=False
    )
    for item in timings:
        torch_ms = "" if item.torch_ms is None else f"{item.torch_ms:.2f}"
        ratio = "" if item.ratio is None else f"{item.ratio:.2f}"
        table.add_row(item.component, str(item.frames), torch_ms, f"{item.onnx_ms:.2f}", ratio)
    out.print(table)
    out.print(
        f"  torch {tools['torch']}, onnxruntime {tools['onnxruntime']};"
        f" {facts['cores']} cores, {facts['torch_threads']} threads of torch,"
        f" {facts['onnxruntime_threads']} of ONNX Runtime, no spinning; medians of {ROUNDS}"
    )
