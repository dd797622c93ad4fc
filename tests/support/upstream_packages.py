"""Interpreters that have stand-ins for the published packages, or lack them."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

PUBLISHED = "VAMPNET_ONNX_PUBLISHED"  # names the python that has the packages themselves
STUB = Path(__file__).with_name("upstream_stub")
TOLERANCE = 5e-5  # the reference's own float32 rounding; threads differ here


def python_with(folder: Path, *paths: Path) -> Path:
    """Write a program that is this interpreter with other folders on its path."""
    script = folder / "python"
    path = os.pathsep.join(str(item) for item in paths)
    settings = f"OMP_NUM_THREADS=1 PYTHONPATH={shlex.quote(path)}"
    script.write_text(f'#!/bin/sh\n{settings} exec {shlex.quote(sys.executable)} "$@"\n')
    script.chmod(0o755)
    return script


def changed_stub(folder: Path, module: str, *changes: tuple[str, str]) -> Path:
    """Copy the stand-ins and replace text in a module of their ``vampnet``."""
    packages = folder / "packages"
    shutil.copytree(STUB, packages)
    path = packages / "vampnet" / module
    text = path.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return packages
