"""``vampnet-onnx compare``: two artifact versions."""

from __future__ import annotations

import dataclasses
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vampnet_onnx.configs.config import load_gates
from vampnet_onnx.configs.extras import require_export_tools

from .options import Bf16, Json, Provider, Runs, Tf32, Unsealed
from .output import (
    err,
    here,
    newest_of,
    out,
    print_json,
    print_report,
    progress_bar,
    spinner,
)

if TYPE_CHECKING:
    from vampnet_onnx.verify.localisation.changes import Change
    from vampnet_onnx.verify.versions import ComponentChange, VersionChange

_SHOWN = 12  # changes of a component


def compare(
    old: Annotated[
        Path,
        typer.Argument(metavar="OLD", help="A version, a model, a store or hub:USER/REPO."),
    ],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="The version to judge.")],
    adapter: Annotated[
        str | None, typer.Option(help="Adapter to switch on in the new version, by name.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write a report, as of verify.")
    ] = None,
    unsealed: Unsealed = False,
    provider: Provider = "cpu",
    runtime: Runs = "onnxruntime",
    tf32: Tf32 = False,
    bf16: Bf16 = False,
    as_json: Json = False,
) -> None:
    """Compare two artifact versions: their files, and what they compute.

    The files are read as they are: nodes, attributes and weights that differ are listed with
    what happened to them. Passes and toolchains come from the manifests; outputs are compared
    over seeded cases with the metrics and limits of the gates, the old version taken as right.
    Exit code 1 means that a gate failed, or that the new one lacks what the old one has.
    With --report, it is told as verify tells its own: a page, Markdown, JUnit and JSON.

    Examples:
      vampnet-onnx compare artifacts/mine/v1 artifacts/mine/v2

      vampnet-onnx compare artifacts/mine/v1 artifacts/mine/v2 --report report

      vampnet-onnx compare merged styled --adapter music-box
    """
    require_export_tools()
    from vampnet_onnx.configs.artifacts import open_artifacts
    from vampnet_onnx.configs.runtime import Runtime
    from vampnet_onnx.pipeline.version.providers import require_runtime
    from vampnet_onnx.reports import has_report, require_report_place, write_reports
    from vampnet_onnx.verify.comparison import comparison_report
    from vampnet_onnx.verify.versions import compare_versions

    asked = Runtime(runtime, provider, tf32=tf32, bf16=bf16)
    require_runtime(asked)
    started = time.monotonic()
    if report is not None:
        require_report_place(report)
    old, new = here(old), here(new)
    compared = newest_of(old, new)
    with spinner("checking hashes"):
        opened = [open_artifacts(path, unsealed=unsealed) for path in (old, new)]
    with progress_bar() as bar:
        found = compare_versions(
            *opened, gates=load_gates(), adapter=adapter, runtime=asked, progress=bar
        )
    files, replaced = dict[str, Path](), report is not None and has_report(report)
    if report is not None:
        told = comparison_report(
            found, *opened, started=started, adapter=adapter, runs=asked.words()
        )
        files = write_reports(told, report)
    unvouched = [str(made.folder / name) for made in opened for name in made.changed]
    if as_json:
        print_json(
            {
                "artifacts": compared,
                "holds": found.holds,
                "unsealed": unvouched,
                **_as_data(found),
                "report": {name: str(path) for name, path in files.items()},
            }
        )
    else:
        for name in unvouched:
            out.print(f"  unsealed: no manifest vouches for {name} as it is", markup=False)
        _print(found)
        err.print(f"  artifacts  {compared[0]} and {compared[1]}", markup=False)
        if files:
            print_report(files["html"], replaced=replaced)
    raise typer.Exit(0 if found.holds else 1)


def _print(found: VersionChange) -> None:
    for tool, (was, now) in found.toolchain.items():
        out.print(f"  {tool} {was} is now {now}", markup=False)
    if found.sources_differ:
        out.print("  made from other checkpoint files")
    moved = {c.name: c.opsets for c in found.components if c.opsets[0] != c.opsets[1]}
    for opsets in dict.fromkeys(moved.values()):
        names = [name for name, own in moved.items() if own == opsets]
        every = len(names) == len(found.components)
        of = "every file" if every else ", ".join(names)
        line = "  exported for opset {}, now for opset {}".format(*opsets)
        out.print(f"{line}: {of}", markup=False)
    for name in found.only_old:
        out.print(f"  {name} is missing in the new version", style="red", markup=False)
    for name in found.only_new:
        out.print(f"  {name} is new", markup=False)
    # What departs stands last, where a terminal ends.
    for change in sorted(found.components, key=lambda change: not change.holds):
        sizes = dict.fromkeys((str(change.bytes_old), str(change.bytes_new)))
        line = f"  {change.name:27} {' to '.join(sizes)} bytes, {_difference(change)}"
        out.print(line, style=None if change.holds else "red", markup=False)
        told = (*change.signature, *change.dims, *change.passes, change.message)
        for text in (*filter(None, told), *_graph_lines(change)):
            out.print(f"    {text}", markup=False)
        for gate in change.gates:
            if not gate.holds:
                out.print(
                    f"    {gate.name} is {gate.value:.3g}, limit {gate.limit:g}:"
                    f" {gate.worst_case}",
                    markup=False,
                )
    verdict = "agrees with the old version" if found.holds else "departs from the old version"
    kinds = {change.kind for part in found.components for change in part.graph}
    rewired = any(kind.startswith(("node", "opset")) for kind in kinds)
    if found.holds and rewired:
        verdict = "computes the same on the cases tried, but its graph differs"
    departing = [change.name for change in found.components if not change.holds]
    where = f" in {', '.join(departing)}" if departing else ""
    style = "green" if found.holds else "red"
    out.print(f"the new version {verdict}{where}", style=style, markup=False)


def _difference(change: ComponentChange) -> str:
    if change.same_file and change.holds:
        return "same file"
    if not change.gates:
        return "not comparable"
    return ", ".join(f"{gate.name} {gate.value:.3g}" for gate in change.gates)


def _graph_lines(change: ComponentChange) -> list[str]:
    """Say what differs in the files: structure first, then weights, the furthest first."""
    told = [item for item in change.graph if str(item) != _opset_line(change)]
    ranked = sorted(told, key=lambda item: (_is_known(item), -item.relative))
    lines = [
        f"{item.kind}: {item}"
        + (f" (relative L2 {item.relative:.2g})" if _is_known(item) else "")
        for item in ranked[:_SHOWN]
    ]
    more = len(ranked) - len(lines)
    return [*lines, f"and {more} changes more (--json has them all)"] if more else lines


def _opset_line(change: ComponentChange) -> str:
    """Return what is said of a file whose opset moved as its manifest says: told once."""
    return "opset is {1}, expected {0}".format(*change.opsets)


def _is_known(change: Change) -> bool:
    return not math.isnan(change.relative)


def _as_data(found: VersionChange) -> dict[str, Any]:
    """Return plain values; JSON has no NaN."""
    data = dataclasses.asdict(found)
    for item in (item for part in data["components"] for item in part["graph"]):
        item["relative"] = None if math.isnan(item["relative"]) else item["relative"]
    return data
