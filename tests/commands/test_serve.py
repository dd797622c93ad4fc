"""The command serve: a page until it is stopped."""

from __future__ import annotations

import signal
from pathlib import Path
from urllib.request import urlopen

from tests.support.command_line import Cli, process
from vampnet_onnx.configs.artifacts import Artifacts


def test_a_page_is_served_until_an_interrupt(
    generator_artifacts: Artifacts, tmp_path: Path
) -> None:
    for build in ("ort-wasm-simd-threaded", "ort-wasm-simd-threaded.jsep"):
        (tmp_path / f"{build}.mjs").touch()
        (tmp_path / f"{build}.wasm").touch()
    for module in ("ort.wasm.min.mjs", "ort.all.min.mjs"):
        (tmp_path / module).touch()
    options = ("--port", 0, "--ort-web", tmp_path)
    with process("serve", generator_artifacts.folder, *options) as running:
        assert running.stdout is not None
        address = running.stdout.readline().strip()
        with urlopen(address, timeout=30) as found:
            assert b"<title>Variations" in found.read()
        running.send_signal(signal.SIGINT)
        assert running.wait(timeout=30) == 0


def test_what_is_missing_is_said_first(cli: Cli, tmp_path: Path) -> None:
    result = cli("serve", tmp_path, "--ort-web", tmp_path)
    assert result.code == 3 and "npm install" in result.err
