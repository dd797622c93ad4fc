"""The page served on loopback: it, the module, the runtime and one version, and nothing else.

What is served is a table from addresses to files, so that no address reaches another file.
Artifacts were held to their hashes when they were opened, and the page hashes them again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from shutil import copyfileobj
from urllib.parse import urlsplit

from vampnet_onnx.configs.artifacts import Artifacts
from vampnet_onnx.configs.errors import EnvironmentLacksError, InputError
from vampnet_onnx.configs.manifest import MANIFEST_NAME
from vampnet_onnx.configs.packaged import CLIP, DEMO_SET, packaged_set

HOST = "127.0.0.1"
ORT_VERSION = "1.30.0"  # that package.json pins, too
_ORT_FILES = (
    "ort.wasm.min.mjs",
    "ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm",
    # With WebGPU.
    "ort.all.min.mjs",
    "ort-wasm-simd-threaded.jsep.mjs",
    "ort-wasm-simd-threaded.jsep.wasm",
)
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".wasm": "application/wasm",
    ".flac": "audio/flac",
}
_HEADERS = {
    # Threads of WebAssembly share memory, which browsers allow to isolated pages alone.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'self' data: blob:;"
    " script-src 'self' 'wasm-unsafe-eval' blob:; style-src 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}

Files = Mapping[str, Path]


@dataclass(frozen=True)
class Page:
    """A page that is served.

    Attributes:
        server: listens already; `serve_forever` answers.
    """

    server: ThreadingHTTPServer

    @property
    def address(self) -> str:
        """Where a browser finds it."""
        return f"http://{HOST}:{self.server.server_port}/"


def page_of(artifacts: Artifacts, *, port: int, ort_web: Path | None = None) -> Page:
    """Listen on loopback.

    Args:
        artifacts: an opened version with generators.
        port: 0 takes a free one.
        ort_web: folder of the package onnxruntime-web; that of ``npm ci`` if left out.

    Raises:
        InputError: the version holds no generator, or the port is in use.
        EnvironmentLacksError: there is no onnxruntime-web.
    """
    if artifacts.manifest.component("coarse.generator") is None:
        raise InputError(
            f"{artifacts.folder}: holds no coarse.generator, which the page plays; export it:"
            " vampnet-onnx export --checkpoint DIR --generator"
        )
    files = _files(artifacts, runtime_folder(ort_web))
    try:
        server = ThreadingHTTPServer((HOST, port), partial(_Answers, files))
    except (OSError, OverflowError) as error:
        raise InputError(f"--port {port}: cannot be listened on ({error})") from error
    return Page(server)


def runtime_folder(given: Path | None) -> Path:
    """Return the folder of onnxruntime-web's files.

    Raises:
        EnvironmentLacksError: one is not there.
    """
    package = given or _here() / "node_modules" / "onnxruntime-web"
    for folder in (package / "dist", package):
        if all((folder / name).is_file() for name in _ORT_FILES):
            return folder
    raise EnvironmentLacksError(
        f"{package}: holds no onnxruntime-web ({_ORT_FILES[0]} and the rest); install it"
        f" (npm install --ignore-scripts --prefix ort onnxruntime-web@{ORT_VERSION}) and add"
        " --ort-web ort/node_modules/onnxruntime-web"
    )


def _here() -> Path:
    return Path(str(resources.files("vampnet_onnx.web")))


def _files(artifacts: Artifacts, ort: Path) -> Files:
    parts = [path for name in ("src", "demo") for path in (_here() / name).iterdir()]
    names = [MANIFEST_NAME, *(file.name for file in artifacts.manifest.files())]
    return {
        **{f"/{path.parent.name}/{path.name}": path for path in parts},
        **{f"/ort/{name}": ort / name for name in _ORT_FILES},
        **{f"/artifacts/{name}": artifacts.folder / name for name in names},
        "/example": packaged_set(DEMO_SET) / CLIP,
    }


class _Answers(BaseHTTPRequestHandler):
    """Answers requests for the files of a table."""

    def __init__(self, files: Files, *request: object) -> None:
        self._files = files
        super().__init__(*request)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        """Send a file."""
        self._answer(with_content=True)

    def do_HEAD(self) -> None:
        """Say what would be sent."""
        self._answer(with_content=False)

    def _answer(self, *, with_content: bool) -> None:
        host = self.headers.get("Host", "").rpartition(":")[0]
        if host not in (HOST, "localhost"):  # another site's name that points here
            return self._say(HTTPStatus.FORBIDDEN)
        address = urlsplit(self.path).path
        if address == "/":
            return self._say(HTTPStatus.FOUND, Location="/demo/index.html")
        path = self._files.get(address)
        if path is None or not path.is_file():
            return self._say(HTTPStatus.NOT_FOUND)
        with path.open("rb") as stream:
            kind = _TYPES.get(path.suffix, "application/octet-stream")
            size = str(path.stat().st_size)
            self._say(HTTPStatus.OK, **{"Content-Type": kind, "Content-Length": size})
            if with_content:
                copyfileobj(stream, self.wfile)
        return None

    def _say(self, status: HTTPStatus, **headers: str) -> None:
        self.send_response(status)
        length = {} if status == HTTPStatus.OK else {"Content-Length": "0"}
        for name, value in {**_HEADERS, **length, **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing of a request."""
