"""The order of the rooms, read from the import statements themselves."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from vampnet_onnx.verify.subjects.registry import SUBJECTS

ROOT = Path(__file__).parents[1]

# Folder: what it may import of ours.  `configs` is plain data and may be read by all.
ALLOWED: dict[str, set[str]] = {
    "checkpoints": set(),
    "configs": set(),
    "models": {"configs"},
    "export": {"configs", "models"},
    "pipeline": {"configs"},
    "reports": {"configs"},
    "verify": {"configs", "models", "pipeline", "export", "reports"},
    "web": set(),
    "commands": {"configs", "models", "pipeline", "export", "reports", "verify"},
    "face": {"configs", "models", "pipeline", "export", "reports", "verify", "commands"},
    "training": {"configs", "models", "export", "pipeline"},
}
# The same within verify/: room, or module of verify/ itself.
_SIDES = {"numbers", "subjects", "sides"}
ROOMS: dict[str, set[str]] = {
    "numbers": set(),
    "subjects": {"numbers"},
    "sides": {"numbers", "subjects"},
    "localisation": {"numbers"},
    "causes": {*_SIDES, "localisation"},
    "gates": {*_SIDES, "localisation", "causes"},
    "cluster": {*_SIDES, "gates"},
    "golden": _SIDES,
    "self_test": {*_SIDES, "localisation", "causes", "gates"},
    "bench": _SIDES,
    "search": {"numbers", "subjects"},
    "forms": {"subjects", "sides", "bench"},
    "versions": {*_SIDES, "localisation", "causes", "gates"},
    "verification": {*_SIDES, "localisation", "causes", "gates", "forms"},
    "matrix": {*_SIDES, "localisation", "causes", "gates", "verification"},
    "standing": {"subjects", "gates"},
    "told_run": set(),
    "told_history": set(),
    "comparison": {"localisation", "told_run", "versions"},
    "jobs": {
        *_SIDES,
        "gates",
        "cluster",
        "verification",
        "matrix",
        "standing",
        "told_run",
        "told_history",
    },
    "release": {*_SIDES, "gates", "verification", "standing", "told_run", "told_history"},
    "release_all": {"cluster", "release"},
}
# What any network is walked with, and what knows nothing of VampNet that it may import.
LIBRARY = ("localisation", "numbers")
GENERIC = (
    "configs.errors",
    "configs.files",
    "export.adapters",  # of whatever graph: an adapter file read
    "export.graph",
    "export.onnx_file",
    "export.passes.sharing",
    "export.with_paths",
    "pipeline.files.mel_scale",
    *(f"verify.{room}" for room in LIBRARY),
)
PACKAGED = [folder for folder in ALLOWED if folder != "training"]
WITHOUT_TORCH = ("configs", "pipeline", "reports")
MODULES = sorted(
    path
    for folder in ALLOWED
    for path in (ROOT / folder).rglob("*.py")
    if "node_modules" not in path.parts  # of npm
)


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path) -> Iterator[str]:
    """Yield the name of every module a file imports; ours from their folder on."""
    package = relative(path).removesuffix(".py").split("/")[:-1]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            found = [".".join([*base, *([node.module] if node.module else [])])]
            # The name may be a package's module.
            found += [f"{found[0]}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name.removeprefix("vampnet_onnx.") for name in found)


def folder_of(path: Path) -> str:
    return relative(path).split("/")[0]


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_a_module_imports_only_what_its_folder_may(path: Path) -> None:
    folder = folder_of(path)
    ours = {name.split(".")[0] for name in imports(path)} & set(ALLOWED)
    assert ours - {folder} <= ALLOWED[folder]


def room_of(path: Path) -> str:
    return path.relative_to(ROOT / "verify").with_suffix("").parts[0]


IN_VERIFY = [
    path for path in MODULES if folder_of(path) == "verify" and room_of(path) != "__init__"
]


def test_every_room_of_verify_has_its_place_in_the_order() -> None:
    assert {room_of(path) for path in IN_VERIFY} == set(ROOMS)


@pytest.mark.parametrize("path", IN_VERIFY, ids=relative)
def test_a_room_of_verify_imports_only_what_stands_before_it(path: Path) -> None:
    named = (name.split(".") for name in imports(path))
    found = {parts[1] for parts in named if parts[0] == "verify" and len(parts) > 1}
    assert found - {room_of(path)} <= ROOMS[room_of(path)]


@pytest.mark.parametrize("path", [p for p in IN_VERIFY if room_of(p) in LIBRARY], ids=relative)
def test_the_walk_is_a_library_that_knows_nothing_of_vampnet(path: Path) -> None:
    ours = {name for name in imports(path) if name.split(".")[0] in ALLOWED}
    assert [n for n in ours if not n.startswith(GENERIC) and n != "verify"] == []
    text = path.read_text("utf-8").replace("vampnet_onnx", "").replace("vampnet-onnx", "")
    assert "vampnet" not in text.lower()


def compared_names(path: Path) -> Iterator[str]:
    """Yield comparisons of somebody's name with a component's, whatever they are called."""
    components = {name for subject in SUBJECTS for name in subject.names}
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Compare):
            constants = {n.value for n in ast.walk(node) if isinstance(n, ast.Constant)}
            known = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)} & {
                "TRANSFORMERS"
            }
            attributes = {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)}
            if attributes & {"name", "component", "id"} and (constants & components or known):
                yield ast.unparse(node)


@pytest.mark.parametrize(
    "path", [p for p in IN_VERIFY if room_of(p) not in ("subjects", "self_test")], ids=relative
)
def test_no_component_is_special_outside_of_its_subject(path: Path) -> None:
    assert list(compared_names(path)) == []


@pytest.mark.parametrize("folder", WITHOUT_TORCH)
def test_what_runs_without_torch_never_imports_it(folder: str) -> None:
    paths = [path for path in MODULES if folder_of(path) == folder]
    assert paths
    for path in paths:
        heavy = {n.split(".")[0] for n in imports(path)} & {"torch", "onnx", "onnx_ir"}
        assert not heavy, relative(path)


@pytest.mark.parametrize(
    "module",
    [
        "configs.config",
        "configs.manifest",
        "configs.artifacts",
        "reports",
        "__main__",
        "program",
    ],
)
def test_importing_what_runs_without_torch_does_not_load_it(module: str) -> None:
    """What a module imports may import torch in turn, so the interpreter is asked."""
    heavy = "{'torch', 'onnx', 'matplotlib'} & {*sys.modules}"
    code = f"import sys, vampnet_onnx.{module}; sys.exit(bool({heavy}))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60).returncode == 0


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_everything_public_says_what_it_is(path: Path) -> None:
    tree = ast.parse(path.read_text("utf-8"))
    assert ast.get_docstring(tree), "the module has no docstring"
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    for node in tree.body:
        if isinstance(node, kinds) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{node.name} has no docstring"


def test_every_folder_of_ours_is_packaged() -> None:
    """A folder that is not listed would be missing from the wheel."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    folders = {
        ".".join(("vampnet_onnx", *path.parent.relative_to(ROOT).parts)).replace(".face", "")
        for path in MODULES
        if folder_of(path) in PACKAGED
    }
    assert set(project["packages"]) == folders
    assert project["package-dir"] == {"vampnet_onnx": "face"} | {
        f"vampnet_onnx.{folder}": folder for folder in PACKAGED if folder != "face"
    }


def test_no_folder_at_the_top_hides_the_installed_package() -> None:
    """In the root, a folder or module of that name is found before what is installed."""
    assert not list(ROOT.glob("vampnet_onnx*.py")) and not (ROOT / "vampnet_onnx").exists()
