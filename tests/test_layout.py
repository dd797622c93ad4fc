"""The tests are laid out as the code is: a module's tests are found by its name."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
ROOT = TESTS.parent
FILES = sorted(path for path in TESTS.rglob("*.py") if "upstream_stub" not in path.parts)

# Files that are about more than one module, and what about.
ABOUT_MORE = {
    "test_architecture.py": "imports, names and docstrings of all folders",
    "test_ci.py": "action.yml, docs/ci and .github: what a CI runs",
    "test_damaged_files.py": "every reader of ours, on files in which something was changed",
    "test_layout.py": "the tests themselves",
    "commands/test_hints.py": "every command that is printed, of whatever command",
    "face/test_documents.py": "what the README and other documents say",
    "face/test_install.py": "what an install gives, of whatever folder",
    "face/test_names.py": "names of files and encodings that any command may meet",
    "face/test_public.py": "the names that `import vampnet_onnx` gives",
    "face/test_without_posix.py": "commands where the system has nothing of POSIX alone",
    "pipeline/test_without_extras.py": "pipeline and commands where an extra is missing",
    "pipeline/test_without_torch.py": "pipeline and commands where torch is missing",
    "web/test_module.py": "the ES module of web/, which is not Python",
}


def name_of(path: Path) -> str:
    return path.relative_to(TESTS).as_posix()


def about(path: Path) -> list[Path]:
    """Return what a file of tests may be about: a module, or a package."""
    folder = ROOT / path.relative_to(TESTS).parent
    name = path.stem.removeprefix("test_")
    places = (folder / f"{name}.py", folder / f"__{name}__.py", folder / name)
    return [place for place in places if place.exists()]


TEST_FILES = [path for path in FILES if path.name.startswith("test_")]


@pytest.mark.parametrize("path", TEST_FILES, ids=name_of)
def test_a_file_of_tests_is_named_after_the_module_it_is_about(path: Path) -> None:
    assert bool(about(path)) != (name_of(path) in ABOUT_MORE), (
        "either name the module it is about, or say in ABOUT_MORE what else it is"
    )


def test_every_exception_is_a_file_of_tests() -> None:
    assert set(ABOUT_MORE) <= {name_of(path) for path in TEST_FILES}
    assert len(TEST_FILES) > 80


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_nobody_imports_from_a_file_of_tests(path: Path) -> None:
    """What several of them need is in tests/support, or a fixture of a conftest."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "tests are no package"
            names.append(str(node.module))
    ours = [name for name in names if name.split(".")[0] == "tests"]
    assert all(name.startswith("tests.support.") for name in ours), ours


def test_every_helper_is_used() -> None:
    helpers = {path.stem for path in FILES if path.parent.name == "support"}
    imported = {
        node.module.removeprefix("tests.support.")
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module
        if node.module.startswith("tests.support.")
    }
    assert helpers == imported
