"""Sessions for developers and CI; venv and pip, pinned by constraints.txt."""

import nox

nox.options.default_venv_backend = "venv"
nox.options.sessions = ["lint", "tests"]

PINNED = ("-c", "constraints.txt")


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests."""
    session.install(*PINNED, ".[test]")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, formatting and types."""
    session.install(*PINNED, "-e", ".[lint]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")


@nox.session
def demo(session: nox.Session) -> None:
    """Release the embedded demo, as a newcomer would, from the built wheel."""
    session.install(*PINNED, ".[export]")
    session.chdir(session.create_tmp())
    session.run("vampnet-onnx", "release", *session.posargs)
