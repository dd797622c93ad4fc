"""The layering of ARCHITECTURE.md, read from the import statements themselves."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Folder: what it may import of ours.  `configs` is plain data and may be read by all.
ALLOWED: dict[str, set[str]] = {
    "checkpoints": set(),
    "configs": set(),
    "models": {"configs"},
    "export": {"configs", "models"},
    "pipeline": {"configs"},
    "reports": {"configs"},
    "verify": {"configs", "models", "pipeline", "export", "reports"},
    "training": {"configs", "models", "export", "pipeline"},
    "commands": {"configs", "models", "pipeline", "export", "reports", "verify"},
}
WITHOUT_TORCH = ("configs", "pipeline", "reports")
LONGEST_MODULE = 480  # about 400
MODULES = sorted(path for folder in ALLOWED for path in (ROOT / folder).rglob("*.py"))
MODULES.append(ROOT / "vampnet_onnx.py")


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path) -> Iterator[str]:
    """Yield the full name of every module a file imports, at any depth."""
    package = relative(path).removesuffix(".py").split("/")[:-1]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            yield ".".join([*base, *([node.module] if node.module else [])])


def folder_of(path: Path) -> str:
    return relative(path).split("/")[0]


@pytest.mark.parametrize("path", MODULES[:-1], ids=relative)
def test_a_module_imports_only_what_its_folder_may(path: Path) -> None:
    folder = folder_of(path)
    ours = {name.split(".")[0] for name in imports(path)} & set(ALLOWED)
    assert ours - {folder} <= ALLOWED[folder]


@pytest.mark.parametrize("folder", WITHOUT_TORCH)
def test_what_runs_without_torch_never_imports_it(folder: str) -> None:
    for path in (ROOT / folder).rglob("*.py"):
        heavy = {n.split(".")[0] for n in imports(path)} & {"torch", "onnx", "onnx_ir"}
        assert not heavy, relative(path)


@pytest.mark.parametrize(
    "module",
    [
        "configs.config",
        "configs.manifest",
        "pipeline.session",
        "pipeline.artifacts",
        "reports",
    ],
)
def test_importing_what_runs_without_torch_does_not_load_it(module: str) -> None:
    """What a module imports may import torch in turn, so the interpreter is asked."""
    code = f"import sys, {module}; sys.exit('torch' in sys.modules or 'onnx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60).returncode == 0


def test_showing_help_loads_neither_torch_nor_onnx() -> None:
    code = (
        "import sys, vampnet_onnx; sys.exit('torch' in sys.modules or 'onnx' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60).returncode == 0


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_everything_public_says_what_it_is(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    assert ast.get_docstring(tree), "the module has no docstring"
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    for node in tree.body:
        if isinstance(node, kinds) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{node.name} has no docstring"


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_a_module_stays_within_what_one_can_read(path: Path) -> None:
    lines = len(path.read_text("utf-8").splitlines())
    assert lines <= LONGEST_MODULE


def test_every_folder_of_ours_is_packaged() -> None:
    """A folder that is not listed would be missing from the wheel."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    listed = set(project["tool"]["setuptools"]["packages"])
    folders = {relative(path.parent).replace("/", ".") for path in MODULES[:-1]}
    assert listed == folders
