"""``vampnet-onnx doctor``: what the environment has and lacks."""

import os
import platform
import shutil
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import typer
from rich.markup import escape

from vampnet_onnx.configs.extras import EXPORT_REMEDY, EXPORT_TOOLS, OPTIONAL, is_installed
from vampnet_onnx.configs.machine import cores

from .options import Json
from .output import out, print_json

_ALWAYS = {"numpy": "numpy", "onnxruntime": "onnxruntime", "soundfile": "soundfile"}
_SMALL_DISK = 5_000_000_000


class Finding(NamedTuple):
    """One thing looked at, whether it is enough, and what to do if it is not."""

    what: str
    found: str
    ok: bool
    remedy: str = ""


def doctor(as_json: Json = False) -> None:
    """Say what this environment has, what it lacks, and how to mend it.

    Exit code 3 means that something is missing.
    """
    findings = examine()
    if as_json:
        print_json([finding._asdict() for finding in findings])
    else:
        for finding in findings:
            mark = "[green]ok  [/green]" if finding.ok else "[red]LACK[/red]"
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


def _package(package: str, module: str) -> Finding:
    if not is_installed(module):
        return Finding(package, "not installed", False, EXPORT_REMEDY)
    return Finding(package, metadata.version(package), True)


def _optional(package: str) -> Finding:
    if is_installed(package):
        return Finding(package, metadata.version(package), True)
    extra, purpose, _ = OPTIONAL[package]
    way = f"pip install 'vampnet-onnx[{extra}]'"
    return Finding(package, f"not installed; only {purpose} need it: {way}", True)
