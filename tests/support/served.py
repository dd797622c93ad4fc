"""Scripts that call the command line, which answers in the process of the tests.

A process of its own for every command would load torch a dozen times and make every graph
afresh.  On the PATH of the script is a program of our name that hands on what it was asked.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.command_line import Cli

_PROGRAM = """#!{python} -SE
import json, os, socket, sys
asked = socket.socket(socket.AF_UNIX)
asked.connect({address!r})
asked.sendall(json.dumps([os.getcwd(), dict(os.environ), sys.argv[1:]]).encode() + b"\\n")
code, out, err = json.loads(asked.makefile().readline())
sys.stdout.write(out)
sys.stdout.flush()
sys.stderr.write(err)
sys.exit(code)
"""


class Served:
    """Runs scripts, and the commands in them by a function.

    Attributes:
        commands: every command that was called, with its arguments.
    """

    def __init__(self, cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._cli, self._patch = cli, monkeypatch
        self.commands: list[list[str]] = []
        # A socket's name must be short.
        address = tempfile.mkdtemp(prefix="served-") + "/s"
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(address)
        self._listening.listen()
        program = folder / "vampnet-onnx"
        folder.mkdir()
        program.write_text(_PROGRAM.format(python=sys.executable, address=address))
        program.chmod(0o755)
        self._path = folder, Path(sys.executable).parent
        self._address = Path(address)

    def close(self) -> None:
        self._listening.close()
        self._address.unlink()
        self._address.parent.rmdir()

    def bash(self, script: str, *, cwd: Path, env: Mapping[str, str]) -> tuple[int, str]:
        """Run a script as GitHub does; returns its exit code and what it printed."""
        path = os.pathsep.join([*map(str, self._path), os.environ["PATH"]])
        with tempfile.TemporaryFile("w+") as printed:
            line = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
            running = subprocess.Popen(
                line,
                cwd=cwd,
                env={**env, "PATH": path},
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
            )
            while running.poll() is None:
                if select.select([self._listening], [], [], 0.02)[0]:
                    self._answer()
            printed.seek(0)
            return running.returncode, printed.read()

    def _answer(self) -> None:
        asked, _ = self._listening.accept()
        with asked, asked.makefile("rw") as stream, self._patch.context() as patch:
            cwd, environment, arguments = json.loads(stream.readline())
            self.commands.append(arguments)
            patch.chdir(cwd)
            for name in set(os.environ) - set(environment):
                patch.delenv(name)
            for name, value in environment.items():
                patch.setenv(name, value)
            result = self._cli(*arguments)
            stream.write(json.dumps([result.code, result.out, result.err]) + "\n")
