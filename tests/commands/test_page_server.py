"""The page's server: what it hands out, to whom, and nothing else."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest

from tests.support.exports import only
from vampnet_onnx.commands.page_server import ORT_VERSION, Page, page_of
from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.errors import EnvironmentLacksError, InputError
from vampnet_onnx.configs.packaged import CLIP, DEMO_SET, packaged_set

WEB = Path(__file__).parents[2] / "web"
ORT_FILES = (
    "ort.wasm.min.mjs",
    "ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm",
    "ort.all.min.mjs",
    "ort-wasm-simd-threaded.jsep.mjs",
    "ort-wasm-simd-threaded.jsep.wasm",
)


@pytest.fixture(scope="module")
def ort_web(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the package's, as far as the server looks."""
    folder = tmp_path_factory.mktemp("onnxruntime-web")
    (folder / "dist").mkdir()
    for name in ORT_FILES:
        (folder / "dist" / name).write_text(name, "utf-8")
    return folder


@pytest.fixture(scope="module")
def page(generator_artifacts: Artifacts, ort_web: Path) -> Iterator[Page]:
    page = page_of(generator_artifacts, port=0, ort_web=ort_web)
    thread = threading.Thread(target=page.server.serve_forever, args=(0.05,))
    thread.start()
    yield page
    page.server.shutdown()
    thread.join()
    page.server.server_close()


def answer(page: Page, address: str, **headers: str) -> tuple[HTTPResponse, bytes]:
    connection = HTTPConnection("127.0.0.1", page.server.server_port, timeout=10)
    connection.request("GET", address, headers=headers)
    found = connection.getresponse()
    content = found.read()
    connection.close()
    return found, content


def test_all_that_the_page_asks_for_is_there(
    page: Page, generator_artifacts: Artifacts
) -> None:
    folder = generator_artifacts.folder
    for address, path in {
        "/demo/index.html": WEB / "demo" / "index.html",
        "/src/index.js": WEB / "src" / "index.js",
        "/artifacts/manifest.json": folder / "manifest.json",
        "/artifacts/coarse.onnx.data": folder / "coarse.onnx.data",
        "/example": packaged_set(DEMO_SET) / CLIP,
    }.items():
        found, content = answer(page, address)
        assert found.status == 200 and content == path.read_bytes(), address
    assert {answer(page, f"/ort/{name}")[1].decode() for name in ORT_FILES} == {*ORT_FILES}
    found, _ = answer(page, "/")
    assert (found.status, found.headers["Location"]) == (302, "/demo/index.html")


def test_browsers_get_what_they_need_for_threads_and_load_nothing_from_elsewhere(
    page: Page,
) -> None:
    kinds = {
        "/demo/index.html": "text/html; charset=utf-8",
        "/src/worker.js": "text/javascript; charset=utf-8",
        "/ort/ort-wasm-simd-threaded.mjs": "text/javascript; charset=utf-8",
        "/ort/ort-wasm-simd-threaded.wasm": "application/wasm",
    }
    for address, kind in kinds.items():
        headers = answer(page, address)[0].headers
        assert headers["Content-Type"] == kind
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
        assert headers["Content-Security-Policy"].startswith("default-src 'self'")
    for path in (*(WEB / "demo").iterdir(), *(WEB / "src").iterdir()):
        text = path.read_text("utf-8").replace("https://example.org/", "")
        assert "http://" not in text and "https://" not in text, path


@pytest.mark.parametrize(
    "address",
    [
        "/artifacts/verification.json",
        "/artifacts/../server.py",
        "/artifacts/%2e%2e/manifest.json",
        "/src/../server.py",
        "/server.py",
        "/package.json",
        "//etc/passwd",
    ],
)
def test_nothing_else_is_there(page: Page, address: str) -> None:
    assert answer(page, address)[0].status == 404


def test_another_sites_name_that_points_here_gets_nothing(page: Page) -> None:
    port = page.server.server_port
    for host, status in {"localhost": 200, "127.0.0.1": 200, "evil.example": 403}.items():
        found, _ = answer(page, "/artifacts/manifest.json", Host=f"{host}:{port}")
        assert found.status == status, host


def test_only_loopback_is_listened_on(page: Page) -> None:
    assert page.server.server_address[0] == "127.0.0.1"
    assert page.address == f"http://127.0.0.1:{page.server.server_port}/"


def test_a_version_without_generators_is_refused_with_the_way_out(
    generator_artifacts: Artifacts, ort_web: Path
) -> None:
    without = only(generator_artifacts, "coarse", "c2f")
    with pytest.raises(InputError, match=r"holds no coarse\.generator.*export .*--generator"):
        page_of(without, port=0, ort_web=ort_web)


def test_a_port_in_use_is_refused(
    page: Page, generator_artifacts: Artifacts, ort_web: Path
) -> None:
    with pytest.raises(InputError, match=r"--port \d+: cannot be listened on"):
        page_of(generator_artifacts, port=page.server.server_port, ort_web=ort_web)


def test_without_the_runtime_the_line_that_installs_it_is_said(
    generator_artifacts: Artifacts, tmp_path: Path
) -> None:
    pinned = json.loads((WEB / "package.json").read_text("utf-8"))["devDependencies"]
    assert pinned["onnxruntime-web"] == ORT_VERSION
    with pytest.raises(EnvironmentLacksError, match=f"npm install .*web@{ORT_VERSION}"):
        page_of(generator_artifacts, port=0, ort_web=tmp_path)
