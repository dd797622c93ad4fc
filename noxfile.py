"""Sessions for developers and CI; venv and pip, pinned by constraints.txt."""

import re
import shutil
import tomllib
from pathlib import Path

import nox

nox.options.default_venv_backend = "venv"
nox.options.sessions = ["lint", "tests"]

PINNED = ("-c", "constraints.txt")

LOWEST = ("export", "onsets", "plots", "test")

UPSTREAM = Path("build", "upstream")
# The published packages' own pins contradict each other (torch 2.4.1 here, newer there)
# and pull in beat tracking and a web interface, so they are installed without dependencies.
UPSTREAM_NEEDS = (
    "torch==2.4.1",
    "torchaudio==2.4.1",
    "numpy>=1.23,<2",
    "argbind>=0.3.2",
    "einops",
    "ffmpy",
    "flatten-dict",
    "huggingface-hub",
    "importlib-resources",
    "ipython",
    "julius",
    "librosa",
    "loralib",
    "markdown2",
    "matplotlib>=3.5",
    "pyloudnorm",
    "pystoi",
    "pytorch-ignite",
    "randomname",
    "rich",
    "scipy",
    "soundfile",
    "tensorboard",
    "torch-stoi",
    "tqdm",
)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests."""
    session.install(*PINNED, ".[test]")
    session.run("python", "-m", "pytest", "-n", "2", "--dist", "loadfile", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, formatting and types."""
    session.install(*PINNED, ".[lint]")  # not editable: there mypy sees Any
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")


@nox.session(python="3.11")
def lowest(session: nox.Session) -> None:
    """Run the tests on the oldest Python and the lowest declared version of everything."""
    project = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    asked = [*project["dependencies"], *(need for e in LOWEST for need in extras[e])]
    found = (re.match(r"([\w.-]+)>=([\w.]+)", need) for need in asked)
    pins = Path(session.create_tmp(), "lowest.txt")
    pins.write_text("".join(f"{m[1]}=={m[2]}\n" for m in found if m))
    session.install("-c", str(pins), ".[test]")
    session.run("python", "-m", "pytest", "-n", "2", "--dist", "loadfile", *session.posargs)


@nox.session
def demo(session: nox.Session) -> None:
    """Release the embedded demo, as a newcomer would, from the built wheel."""
    session.install(*PINNED, ".[export]")
    session.chdir(session.create_tmp())
    session.run("vampnet-onnx", "release", *session.posargs)


@nox.session(venv_backend="none")
def upstream(session: nox.Session) -> None:
    """Build build/upstream/bin/python with the published packages (needs github.com).

    Requirements given after -- replace those of the same name.
    """
    names = ("python3.11", "python3.10", "python3.9")
    python = next((found for name in names if (found := shutil.which(name))), None)
    if python is None:
        session.error(f"the published packages need one of {', '.join(names)}")
    project = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["project"]
    packages = project["optional-dependencies"]["upstream"]
    given = {_named(need): need for need in (*UPSTREAM_NEEDS, *session.posargs)}
    session.run(python, "-m", "venv", "--clear", str(UPSTREAM), external=True)
    pip = (str(UPSTREAM / "bin" / "python"), "-m", "pip", "install")
    session.run(*pip, *given.values(), external=True)
    session.run(*pip, "--no-deps", *packages, external=True)
    session.log(f"give it as: --upstream-python {UPSTREAM / 'bin' / 'python'}")


def _named(requirement: str) -> str:
    return re.split(r"[<>=!~ ]", requirement)[0].lower()
