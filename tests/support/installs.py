"""Installing this project into scratch environments, from a copy of its source."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import venv
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
NOT_PACKAGED = ("training", "tests", "docs")
GOLDEN = ROOT / "tests" / "golden"
FILES = ("pyproject.toml", "setup.py", "README.md", "LICENSE")


def copied_source(target: Path) -> Path:
    """Copy what is packaged and what runs beside it, nothing that a build left behind.

    The recorded sets stay out: they are large, and nothing here reads them.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    folders = [*project["tool"]["setuptools"]["package-dir"].values(), *NOT_PACKAGED]
    for folder in folders:
        shutil.copytree(ROOT / folder, target / folder, ignore=_left_out)
    for name in FILES:
        shutil.copy(ROOT / name, target / name)
    return target


def _left_out(folder: str, names: list[str]) -> list[str]:
    if Path(folder) == ROOT / "checkpoints":  # others than the demo set are a person's own
        return [name for name in names if name not in ("__init__.py", "demo")]
    built = ("__pycache__", "node_modules")
    return [name for name in names if name in built or Path(folder, name) == GOLDEN]


def built_wheel(source: Path, target: Path) -> Path:
    """Build a wheel with the setuptools that is installed here."""
    _pip("wheel", "-q", "--no-deps", "--no-build-isolation", "-w", target, source)
    (wheel,) = target.glob("*.whl")
    return wheel


@dataclass(frozen=True)
class Environment:
    """A scratch environment that sees every package of this one but this project."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def script(self) -> Path:
        return self.folder / "bin" / "vampnet-onnx"

    @property
    def packages(self) -> Path:
        return next((self.folder / "lib").glob("python3*")) / "site-packages"

    def run(self, *command: object, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run a command as a person would: nothing of this process on its path."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PYTEST"))}
        return subprocess.run(
            [str(part) for part in command],
            cwd=cwd,
            env={**kept, "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "200", "TERM": "dumb"},
            capture_output=True,
            text=True,
            timeout=120,
        )


def environment(folder: Path, *arguments: object) -> Environment:
    """Make an environment and install into it what the arguments of pip say."""
    venv.create(folder, symlinks=True)
    made = Environment(folder)
    shared = folder / "shared"
    shared.mkdir()
    for place in (Path(entry) for entry in sys.path if entry.endswith("-packages")):
        for item in place.iterdir():
            ours = "vampnet_onnx" in item.name
            if not ours and not (shared / item.name).exists():
                (shared / item.name).symlink_to(item)
    (made.packages / "shared.pth").write_text(f"{shared}\n", "utf-8")
    _pip(
        *("--python", made.python, "install", "-q", "--no-deps", "--no-build-isolation"),
        *("--no-index", *arguments),
    )
    return made


def _pip(*arguments: object) -> None:
    command = [sys.executable, "-m", "pip", *(str(argument) for argument in arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
