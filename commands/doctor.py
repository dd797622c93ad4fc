"""``vampnet-onnx doctor``: what the environment has and lacks."""

import os
import platform
import shutil
from pathlib import Path
from typing import NamedTuple

import typer
from rich.markup import escape

from vampnet_onnx.configs.extras import (
    EXPORT_REMEDY,
    EXPORT_TOOLS,
    OPTIONAL,
    declared_versions,
    installed_version,
    is_declared,
    is_installed,
    shadowing,
)
from vampnet_onnx.configs.machine import cores

from .options import Json
from .output import out, print_json

_ALWAYS = {"numpy": "numpy", "onnxruntime": "onnxruntime", "soundfile": "soundfile"}
_SMALL_DISK = 5_000_000_000


class Finding(NamedTuple):
    """One thing looked at, whether it is enough, and what to do if it is not.

    What is left out is not there, and only some of the work needs it: that is enough.
    """

    what: str
    found: str
    ok: bool
    remedy: str = ""
    left_out: bool = False


def doctor(as_json: Json = False) -> None:
    """Say what this environment has, what it lacks, and how to mend it.

    Versions are held to those that this package declares, and a package that something else
    of the same name stands in front of is named. Exit code 3 means that something is missing
    or will not do.
    """
    findings = examine()
    if as_json:
        print_json([finding._asdict() for finding in findings])
    else:
        for finding in findings:
            mark = "[green]ok  [/green]" if finding.ok else "[red]LACK[/red]"
            mark = "[dim]-   [/dim]" if finding.left_out else mark
            out.print(f"  {mark}  {finding.what:14} {escape(finding.found)}")
            if not finding.ok:
                out.print(f"        {'':14} {finding.remedy}", markup=False)
    raise typer.Exit(0 if all(finding.ok for finding in findings) else 3)


def examine() -> list[Finding]:
    """Look at everything the commands need."""
    here = Path.cwd()
    free = shutil.disk_usage(here).free
    return [
        Finding("python", platform.python_version(), True),
        *(_package(*names) for names in (_ALWAYS | EXPORT_TOOLS).items()),
        *(_optional(package) for package in OPTIONAL),
        *_providers(),
        Finding("cores", str(cores()), True),
        Finding(
            "disk here",
            f"{free / 1e9:.1f} GB free",
            free >= _SMALL_DISK,
            "a released-size model needs 3 GB of artifacts beside 3 GB of checkpoints",
        ),
        Finding("folder here", str(here), os.access(here, os.W_OK), "not writable"),
        Finding("hub", os.environ.get("HF_ENDPOINT", "the library's own"), True),
    ]


def _providers() -> list[Finding]:
    """Say what ONNX Runtime can run on here; two packages of it overwrite each other."""
    if not is_installed("onnxruntime"):
        return []
    from vampnet_onnx.pipeline.version.providers import installed_runtimes, providers_here

    packages, found = installed_runtimes(), ", ".join(providers_here())
    if len(packages) < 2:
        return [Finding("providers", found, True)]
    names = " ".join(packages)
    way = f"keep one: pip uninstall --yes {names}, then install that one again"
    return [Finding("providers", f"{found}, of {' and '.join(packages)} at once", False, way)]


def _package(package: str, module: str) -> Finding:
    if not is_installed(module):
        return Finding(package, "not installed", False, EXPORT_REMEDY)
    return _judged(package, module)


def _judged(package: str, module: str) -> Finding:
    """Hold an installed package to the versions that ours declares."""
    name, version = installed_version(package, module)
    found = version if name == package else f"{version} ({name})"
    other = shadowing(name, module)
    if other is not None:
        way = f"move {other} away, or run from another folder; it is imported instead"
        return Finding(package, f"{found}, hidden by {other}", False, way)
    wanted = declared_versions(package)
    way = f"install one that is {wanted}: pip install '{name}{wanted}'"
    return Finding(package, found, is_declared(package, version), way)


def _optional(package: str) -> Finding:
    if is_installed(package):
        return _judged(package, package)
    extra, purpose, _ = OPTIONAL[package]
    way = f"pip install 'vampnet-onnx[{extra}]'"
    found = f"not installed; only {purpose} need it: {way}"
    return Finding(package, found, True, left_out=True)
