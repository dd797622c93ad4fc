"""A model hub on loopback: the few endpoints that fetching uses, with knobs to misbehave."""

from __future__ import annotations

import hashlib
import json
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import huggingface_hub
import pytest
from huggingface_hub import constants

COMMIT = "c0ffee" + "0" * 34


@dataclass(frozen=True)
class Seen:
    """A request that arrived."""

    method: str
    path: str
    range: str | None
    authorization: str | None


@dataclass
class Hub:
    """What the server holds, how it misbehaves and what it was asked.

    Attributes:
        repo: the only repository.
        files: content by path.
        small: paths described by git's SHA-1 instead of SHA-256.
        cuts: for each of the next downloads, after how many bytes the connection ends.
        reset: end connections with a reset instead of an orderly close.
        stall: after a cut's bytes, keep the connection open until the server stops.
        ranges: whether range requests are honoured.
        corrupt: paths whose bytes do not match the hash.
        refusals: status and error code by path.
        headers: headers of descriptions to override; those that are None are left out.
        cdn: the address of another server that large files are on.
        requests: everything asked so far.
        url: where it listens.
    """

    repo: str
    files: dict[str, bytes]
    small: set[str] = field(default_factory=set)
    cuts: list[int] = field(default_factory=list)
    reset: bool = False
    stall: bool = False
    ranges: bool = True
    corrupt: set[str] = field(default_factory=set)
    refusals: dict[str, tuple[int, str]] = field(default_factory=dict)
    headers: dict[str, str | None] = field(default_factory=dict)
    cdn: str = ""
    requests: list[Seen] = field(default_factory=list)
    url: str = ""
    stopping: threading.Event = field(default_factory=threading.Event)

    def downloads(self) -> list[Seen]:
        return [
            seen for seen in self.requests if seen.method == "GET" and "/api/" not in seen.path
        ]

    def digest(self, path: str) -> str:
        data = self.files[path]
        if path in self.small:
            return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        return hashlib.sha256(data).hexdigest()


@contextmanager
def serve(hub: Hub) -> Iterator[Hub]:
    """Serve a hub on 127.0.0.1 at a free port."""

    class Handler(_Handler):
        pass

    Handler.hub = hub
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        hub.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def own_world(monkeypatch: pytest.MonkeyPatch, home: Path) -> Iterator[None]:
    """Keep a person's token, cache, proxies and offline switch out of a test."""
    monkeypatch.setattr(constants, "HF_HOME", str(home))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    # Otherwise the first request of a process asks the public hub how to name its caller.
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    huggingface_hub.close_session()
    yield
    huggingface_hub.close_session()
    assert not home.exists()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Keep the tests' output clean; `Hub.requests` is the log."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        url = unquote(urlsplit(self.path).path).lstrip("/")
        self.hub.requests.append(
            Seen(self.command, "/" + url, self.headers["Range"], self.headers["Authorization"])
        )
        listing, resolve = f"api/models/{self.hub.repo}/tree/", f"{self.hub.repo}/resolve/"
        if url.startswith(listing):
            self._list(url.removeprefix(listing))
        elif url.startswith(resolve):
            revision, _, path = url.removeprefix(resolve).partition("/")
            self._resolve(revision, path)
        elif url.startswith("blobs/"):
            self._send_file(url.removeprefix("blobs/"), {})
        else:
            self._refuse(401 if "api/" not in url else 404, "RepoNotFound")

    def _list(self, revision: str) -> None:
        if "api" in self.hub.refusals:
            return self._refuse(*self.hub.refusals["api"])
        if revision not in ("main", COMMIT):
            return self._refuse(404, "RevisionNotFound")
        entries = [
            {"type": "file", "path": path, "size": len(data), "oid": "0" * 40}
            for path, data in self.hub.files.items()
        ]
        return self._send(200, json.dumps(entries).encode(), {})

    def _resolve(self, revision: str, path: str) -> None:
        if revision not in ("main", COMMIT):
            return self._refuse(404, "RevisionNotFound")
        if path in self.hub.refusals:
            return self._refuse(*self.hub.refusals[path])
        if path not in self.hub.files:
            return self._refuse(404, "EntryNotFound")
        about: dict[str, str | None] = {
            "X-Repo-Commit": COMMIT,
            "ETag": f'"{self.hub.digest(path)}"',
        }
        if path not in self.hub.small:
            about["X-Linked-Etag"] = about["ETag"]
            about["X-Linked-Size"] = str(len(self.hub.files[path]))
        about |= self.hub.headers
        headers = {name: value for name, value in about.items() if value is not None}
        if self.hub.cdn and path not in self.hub.small:
            return self._send(
                302, b"", {**headers, "Location": f"{self.hub.cdn}/blobs/{path}"}
            )
        return self._send_file(path, headers)

    def _send_file(self, path: str, headers: dict[str, str]) -> None:
        data = self.hub.files[path]
        if path in self.hub.corrupt:
            data = data[:-1] + bytes([data[-1] ^ 1])
        wanted = self.headers["Range"]
        if self.command == "HEAD" or not (wanted and self.hub.ranges):
            return self._send(200, data, headers)
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        headers = {**headers, "Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
        return self._send(206, data[start:], headers)

    def _refuse(self, status: int, code: str) -> None:
        self._send(status, b"", {"X-Error-Code": code} if code else {})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if status in (200, 206) and self.hub.cuts and "/api/" not in self.path:
            self.wfile.write(body[: self.hub.cuts.pop(0)])
            self._hang_up()
        else:
            self.wfile.write(body)

    def _hang_up(self) -> None:
        self.wfile.flush()
        if self.hub.stall:
            self.hub.stopping.wait()
        if self.hub.reset:
            # A reset would overtake bytes the reader has not taken yet.
            self.hub.stopping.wait(0.2)
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.rfile.close()
            self.connection.close()
        self.close_connection = True
