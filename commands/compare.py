"""``vampnet-onnx compare``: two artifact versions."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from vampnet_onnx.configs.config import load_gates
from vampnet_onnx.configs.extras import require_export_tools

from .options import Json, Unsealed
from .output import out, print_json, progress_bar, spinner

if TYPE_CHECKING:
    from vampnet_onnx.verify.versions import ComponentChange, VersionChange


def compare(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="A version, a model or a store.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="The version to judge.")],
    adapter: Annotated[
        str | None, typer.Option(help="Adapter to switch on in the new version, by name.")
    ] = None,
    unsealed: Unsealed = False,
    as_json: Json = False,
) -> None:
    """Compare two artifact versions: what they take and give, and what they compute.

    Signatures, sizes, passes and toolchains come from the manifests; outputs are compared over
    seeded cases with the metrics and limits of the gates, the old version taken as right.
    Exit code 1 means that a gate failed, or that the new one lacks what the old one has.

    Examples:
      vampnet-onnx compare artifacts/mine/v1 artifacts/mine/v2

      vampnet-onnx compare merged styled --adapter music-box
    """
    require_export_tools()
    from vampnet_onnx.configs.artifacts import open_artifacts
    from vampnet_onnx.verify.versions import compare_versions

    with spinner("checking hashes"):
        opened = [open_artifacts(path, unsealed=unsealed) for path in (old, new)]
    with progress_bar() as bar:
        found = compare_versions(*opened, gates=load_gates(), adapter=adapter, progress=bar)
    if as_json:
        unsealed_files = [name for artifacts in opened for name in artifacts.changed]
        print_json(
            {"holds": found.holds, "unsealed": unsealed_files, **dataclasses.asdict(found)}
        )
    else:
        for artifacts in opened:
            for name in artifacts.changed:
                out.print(f"  unsealed: no manifest vouches for {name} as it is")
        _print(found)
    raise typer.Exit(0 if found.holds else 1)


def _print(found: VersionChange) -> None:
    for tool, (was, now) in found.toolchain.items():
        out.print(f"  {tool} {was} is now {now}", markup=False)
    if found.sources_differ:
        out.print("  made from other checkpoint files")
    for name in found.only_old:
        out.print(f"  {name} is missing in the new version", style="red", markup=False)
    for name in found.only_new:
        out.print(f"  {name} is new", markup=False)
    table = Table("component", "bytes", "difference", "", box=None, pad_edge=False)
    for change in found.components:
        sizes = dict.fromkeys((str(change.bytes_old), str(change.bytes_new)))
        same = "same file" if change.same_file else ""
        row = (change.name, " to ".join(sizes), _difference(change), same)
        table.add_row(*row, style=None if change.holds else "red")
    out.print(table)
    for change in found.components:
        for line in (*change.signature, *change.dims, *change.passes, change.message):
            if line:
                out.print(f"  {change.name}: {line}", markup=False)
        for gate in change.gates:
            if not gate.holds:
                out.print(
                    f"  {change.name}: {gate.name} is {gate.value:.3g}, limit {gate.limit:g},"
                    f" {gate.worst_case}",
                    markup=False,
                )
    verdict = "agrees with the old version" if found.holds else "departs from the old version"
    out.print(f"the new version {verdict}", style="green" if found.holds else "red")


def _difference(change: ComponentChange) -> str:
    if not change.gates:
        return "not comparable"
    return ", ".join(f"{gate.name} {gate.value:.3g}" for gate in change.gates)
