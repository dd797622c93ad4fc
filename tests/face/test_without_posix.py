"""Commands run where the system has none of what POSIX systems alone have."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from tests.support.audio_files import tone, wav
from tests.support.blocked import FACE, python_without

MODULES = ("resource", "fcntl", "termios", "pwd", "grp")
# os.getuid stays: platformdirs takes it here, and elsewhere has a module without it.
# Temporary folders are of this test alone: nothing locks them now, so that others sweep them.
TAKEN_AWAY = """
import os, signal
os.environ["TMPDIR"] = os.getcwd()
os.environ["USERNAME"] = "somebody"  # as the other systems have it; torch asks for it
for name in ("sched_getaffinity", "geteuid", "fchmod", "chown", "mkfifo"):
    delattr(os, name)
for name in ("SIGALRM", "SIGHUP", "ITIMER_REAL", "setitimer", "getitimer", "alarm"):
    delattr(signal, name)
"""
# One command after the other, as loading torch takes longer than any of them.
COMMANDS = (
    TAKEN_AWAY
    + """
import shlex
commands, sys.argv[1:] = sys.argv[1:], []
import vampnet_onnx.__main__ as face
for command in commands:
    sys.argv[1:] = shlex.split(command)
    try:
        face.main()
    except SystemExit as ended:
        assert not ended.code, (command, ended.code)
"""
)


def test_what_is_taken_away_is_gone(tmp_path: Path) -> None:
    for use in (
        *(f"import {name}" for name in MODULES),
        *("os.sched_getaffinity(0)", "signal.setitimer"),
    ):
        done = python_without(MODULES, TAKEN_AWAY + use, cwd=tmp_path)
        assert done.returncode == 1, use
        assert "ModuleNotFoundError" in done.stderr or "AttributeError" in done.stderr


def test_commands_run_without_what_posix_alone_has(
    nano: Path, exported_a: Path, config: Path, tmp_path: Path
) -> None:
    wav(str(tmp_path / "in.wav"), tone())
    artifacts = shlex.quote(str(exported_a))
    commands = (
        "doctor",
        f"export --checkpoint {shlex.quote(str(nano))} --component coarse --out store",
        f"verify store --config {shlex.quote(str(config))} --report report",
        f"encode in.wav codes.npz --artifacts {artifacts}",
        f"decode codes.npz back.wav --artifacts {artifacts}",
        f"vamp in.wav out.wav --artifacts {artifacts} --sampling-steps 2 --json",
    )
    done = python_without(MODULES, COMMANDS, *commands, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    result = json.loads(done.stdout[done.stdout.index("{\n") :])
    assert result["peak_memory_bytes"] is None and result["files"] == ["out.wav"]


def test_a_refusal_is_one_message_there_too(tmp_path: Path) -> None:
    done = python_without(MODULES, TAKEN_AWAY + FACE, "verify", "none", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
