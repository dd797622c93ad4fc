"""From a wheel and from an editable install: everything runs, and nothing is harmed."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from tests.support.installs import Environment, built_wheel, copied_source, environment
from vampnet_onnx.configs.packaged import CLIP, DEMO_SET

OURS = ("checkpoints", "commands", "configs", "export", "models", "pipeline", "reports", "web")
NEVER = (*OURS, "verify", "face", "training", "tests", "docs")
SMALL_TEST = "tests/configs/test_files.py"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copied_source(tmp_path_factory.mktemp("source") / "repository")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel, from a copy in which an earlier build left modules that are gone since."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = copied_source(folder / "repository")
    for name in ("models/gone.py", "vampnet_onnx/commands/gone.py"):
        left = copy / "build" / "lib" / name
        left.parent.mkdir(parents=True)
        left.touch()
    return built_wheel(copy, folder)


@pytest.fixture(scope="module")
def from_wheel(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return environment(tmp_path_factory.mktemp("from-wheel") / "venv", wheel)


@pytest.fixture(scope="module")
def editable(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return environment(tmp_path_factory.mktemp("editable") / "venv", "--editable", source)


@pytest.fixture(params=["from_wheel", "editable"])
def installed(request: pytest.FixtureRequest) -> Environment:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Environment)
    return found


@pytest.fixture(params=["root", "elsewhere"])
def place(request: pytest.FixtureRequest, source: Path, tmp_path: Path) -> Path:
    return source if request.param == "root" else tmp_path


def runs(installed: Environment, *command: object, cwd: Path, says: str) -> None:
    done = installed.run(*command, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    assert says in done.stdout


def test_the_command_runs_by_its_name(installed: Environment, place: Path) -> None:
    runs(installed, installed.script, "doctor", cwd=place, says="onnxruntime")


def test_the_command_runs_as_a_module(installed: Environment, place: Path) -> None:
    runs(
        installed, installed.python, "-m", "vampnet_onnx", "--help", cwd=place, says="release"
    )


def test_pytest_finds_the_tests(installed: Environment, source: Path, place: Path) -> None:
    pytest_ = (
        installed.python,
        "-m",
        "pytest",
        "--collect-only",
        "-q",
        "-p",
        "no:cacheprovider",
    )
    runs(installed, *pytest_, source / SMALL_TEST, cwd=place, says="test_staging_is_removed")


def test_training_runs_in_the_root(installed: Environment, source: Path) -> None:
    runs(installed, installed.python, "-m", "training", "--help", cwd=source, says="evaluate")


def test_what_runs_is_what_was_installed(
    from_wheel: Environment, editable: Environment, source: Path
) -> None:
    where = ("-c", "import vampnet_onnx.configs as found; print(found.__file__)")
    for installed, home in ((from_wheel, from_wheel.packages), (editable, source)):
        found = installed.run(installed.python, *where, cwd=source).stdout
        assert found.startswith(str(home)), found


def test_a_wheel_puts_one_name_beside_other_packages(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"vampnet_onnx"}
    assert "vampnet_onnx/py.typed" in names
    assert "vampnet_onnx/configs/gates.toml" in names
    assert f"vampnet_onnx/checkpoints/{DEMO_SET}/{CLIP}" in names
    assert {"vampnet_onnx/web/src/index.js", "vampnet_onnx/web/demo/index.html"} <= {*names}


def test_a_wheel_holds_every_module_that_is_packaged(wheel: Path, source: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.endswith(".py")}
    rooms = (*OURS, "verify")
    here = {
        f"vampnet_onnx/{path.relative_to(source).as_posix()}"
        for room in rooms
        for path in (source / room).rglob("*.py")
    }
    here |= {f"vampnet_onnx/{path.name}" for path in (source / "face").glob("*.py")}
    assert packed == here and len(here) > 100


def test_a_build_leaves_the_source_as_it_was(wheel: Path, source: Path) -> None:
    """And finds nothing there: the wheel's source held what an earlier build left."""
    left = (wheel.parent / "repository" / "build").rglob("*")
    assert {path.name for path in left if path.is_file()} == {"gone.py"}
    assert not (source / "build").exists()


def test_nothing_of_ours_lands_beside_other_packages(from_wheel: Environment) -> None:
    there = {path.name for path in from_wheel.packages.iterdir()}
    assert "vampnet_onnx" in there and not there & set(NEVER)


def another_project(folder: Path) -> None:
    """Write packages of names that folders here have, which say so when they are imported."""
    for name in OURS:
        (folder / name).mkdir()
        text = f"raise ImportError('{name} of another project')\n"
        (folder / name / "__init__.py").write_text(text, "utf-8")


@pytest.mark.parametrize("where", ["beside", "in the working folder"])
def test_packages_of_another_project_do_no_harm(
    from_wheel: Environment, tmp_path: Path, where: str
) -> None:
    place = from_wheel.packages if where == "beside" else tmp_path
    another_project(place)
    (tmp_path / "configs").mkdir(exist_ok=True)
    (tmp_path / "configs" / "defaults.toml").write_text("model = 3\n", "utf-8")
    try:
        theirs = from_wheel.run(from_wheel.python, "-c", "import models", cwd=tmp_path)
        assert "models of another project" in theirs.stderr
        make = (from_wheel.python, "-m", "vampnet_onnx", "make-checkpoint")
        runs(from_wheel, *make, "made", cwd=tmp_path, says="random weights")
        code = "import vampnet_onnx as v; print(v.export_checkpoints.__name__)"
        runs(
            from_wheel, from_wheel.python, "-c", code, cwd=tmp_path, says="export_checkpoints"
        )
    finally:
        for name in OURS if where == "beside" else ():
            (place / name / "__init__.py").unlink()
            (place / name).rmdir()
