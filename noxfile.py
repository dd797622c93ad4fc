"""Sessions for developers and CI; venv and pip, pinned by constraints.txt."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import nox

nox.options.default_venv_backend = "venv"
nox.options.sessions = ["lint", "tests"]

PINNED = ("-c", "constraints.txt")

LOWEST = ("cluster", "export", "onsets", "openvino", "plots", "test")

OLDEST = Path("build", "oldest")
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

# What the packages call on the way to a result; torch, NumPy and librosa are there already.
# Of what else they import, tests/support/published/absent.py stands in.
CALLED = (
    "einops",
    "flatten-dict",
    "importlib-resources",
    "julius",
    "loralib",
    "pyloudnorm",
    "six",
    "torchaudio",
)
# Whole sets that the session compares on, besides the golden ones of the tests.
SETS = ("tests/golden/a", "tests/golden/b", "checkpoints/demo", "tiny")


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
    """Run the tests on the oldest Python and the lowest declared version of everything.

    What those ask for in turn (protobuf, ml_dtypes, sympy) is as new as they allow.
    """
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


@nox.session(venv_backend="none")
def oldest(session: nox.Session) -> None:
    """Build build/oldest/bin/python with ONNX Runtime 1.18, which ``--runtimes oldest`` finds.

    It takes NumPy 1, and so an interpreter of its own.
    """
    names = ("python3.11", "python3.12", "python3.10", "python3.9")
    python = next(
        (found for name in names if (found := shutil.which(name)) and _runs(found)), None
    )
    if python is None:
        session.error(f"ONNX Runtime 1.18 needs one of {', '.join(names)}")
    session.run(python, "-m", "venv", "--clear", str(OLDEST), external=True)
    pip = (str(OLDEST / "bin" / "python"), "-m", "pip", "install")
    session.run(*pip, "onnxruntime==1.18.*", "numpy<2", external=True)


@nox.session
def published(session: nox.Session) -> None:
    """Compare everything with the published packages as they are, on a current torch.

    Their repositories are cloned from github.com, or, given after --, from elsewhere: clones
    of vampnet, lac and audiotools, in any order.
    """
    project = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["project"]
    packages = project["optional-dependencies"]["upstream"]
    addresses = session.posargs or [need.partition("git+")[2] for need in packages]
    home = Path(session.create_tmp()).resolve()
    session.install(*PINNED, ".[test]")
    session.install("--no-deps", *CALLED)
    clones = []
    for address in addresses:
        clone = home / f"packages-{len(clones)}"
        shutil.rmtree(clone, ignore_errors=True)
        session.run("git", "clone", "--quiet", address, str(clone), external=True)
        session.run("git", "-C", str(clone), "log", "-1", "--format=%H %cs", external=True)
        clones.append(str(clone))
    ours = _site_of(session, "python")
    # Its compiled part may be of another torch; everything called has a form in Python.
    shutil.rmtree(ours / "torchaudio" / "lib", ignore_errors=True)
    # An interpreter of their own, beside the one that the tests run in.
    session.run("python", "-m", "venv", "--clear", "--without-pip", str(home / "venv"))
    scripts = home / "venv" / ("Scripts" if os.name == "nt" else "bin")
    python = str(scripts / "python")
    absent = Path("tests", "support", "published").resolve()
    lines = [str(ours), *clones, str(absent), "import absent"]
    path = _site_of(session, python) / "published.pth"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    sides = Path("tests", "verify", "sides")
    files = [str(sides / f"test_{name}.py") for name in ("upstream", "upstream_worker")]
    session.run("python", "-m", "pytest", *files, env={"VAMPNET_ONNX_PUBLISHED": python})
    _compare(session, home, python)


@nox.session
def web(session: nox.Session) -> None:
    """Check the ES module of web/ under Node, and its page in Chromium, if that is there.

    Both have to make the tokens that Python makes, and Node the audio; and in both, files
    compute what they compute here.
    """
    if shutil.which("npm") is None:
        session.error("Node 20 and npm are needed: apt-get install nodejs npm")
    session.install(*PINNED, ".[test]")
    made = Path(session.create_tmp()).resolve() / "set"
    shutil.rmtree(made, ignore_errors=True)
    session.run("python", "tests/web/make_set.py", str(made))
    session.chdir("web")
    session.run("npm", "ci", external=True)
    session.run("npm", "run", "check", external=True)
    session.run("npm", "test", env={"VAMPNET_ONNX_WEB_SET": str(made)}, external=True)
    session.run("npm", "pack", "--dry-run", external=True)
    session.chdir("..")
    session.run("python", "-m", "pytest", "tests/verify/sides/runtimes/test_javascript.py")


def _runs(python: str) -> bool:
    """Whether an interpreter is there: version managers have a script for every one."""
    return subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0


def _site_of(session: nox.Session, python: str) -> Path:
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(str(session.run(python, "-c", where, silent=True, external=True)).strip())


def _compare(session: nox.Session, home: Path, python: str) -> None:
    """Export sets, verify them against the packages, record new ones, hold ours to them."""
    tool = "vampnet-onnx"
    for left in ("artifacts", "recorded", "tiny", "report"):
        shutil.rmtree(home / left, ignore_errors=True)
    session.run(tool, "make-checkpoint", str(home / "tiny"), "--like", "tiny", "--seed", "1")
    for given in SETS:
        folder = home / given if given == "tiny" else Path(given)
        name, upstream = folder.name, ("--upstream-python", python)
        source = ("--checkpoint", str(folder))
        made, recorded = home / "artifacts" / name, home / "recorded" / name
        session.run(tool, "export", *source, "--artifacts", str(made.parent))
        report = ("--report", str(home / "report" / name))
        against = ("--reference", "upstream", *upstream)
        few = ("--seeds", "0,1")
        session.run(tool, "verify", str(made), *source, *against, *few, *report)
        recorded.parent.mkdir(exist_ok=True)
        session.run(tool, "golden", "record", str(recorded), *source, *upstream)
        session.run(tool, "golden", "check", str(recorded))
        session.run(tool, "golden", "check", str(recorded), "--artifacts", str(made))


def _named(requirement: str) -> str:
    return re.split(r"[<>=!~ ]", requirement)[0].lower()
