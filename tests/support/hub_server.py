"""A model hub on loopback: the endpoints of fetching and committing, and how to misbehave."""

from __future__ import annotations

import base64
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
from typing import Any
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
        head: the commit that main is at; `past` has the files of earlier ones.
        token: without it the repository is not there; empty for none.
        read_only: refuse commits.
        stored: large files that were sent, by SHA-256.
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
    head: str = COMMIT
    past: dict[str, dict[str, bytes]] = field(default_factory=dict)
    token: str = ""
    read_only: bool = False
    stored: dict[str, bytes] = field(default_factory=dict)
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

    def sent(self) -> list[str]:
        """Return what was sent: commits and large files, in their order."""
        return [
            seen.path
            for seen in self.requests
            if seen.method == "PUT" or (seen.method == "POST" and "/commit/" in seen.path)
        ]

    def at(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """Return the commit that a revision means, and its files."""
        if revision in ("main", self.head):
            return self.head, self.files
        return (revision, self.past[revision]) if revision in self.past else None

    def commit(self, change: dict[str, bytes | None]) -> None:
        """Make a commit; what is None is deleted."""
        self.past[self.head] = dict(self.files)
        self.files = {**self.files, **change}  # type: ignore[dict-item]
        self.files = {path: data for path, data in self.files.items() if data is not None}
        self.head = hashlib.sha1(f"{self.head}{sorted(self.files)}".encode()).hexdigest()

    def digest(self, path: str, data: bytes | None = None) -> str:
        data = self.files[path] if data is None else data
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
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # it has servers of its own
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    huggingface_hub.close_session()
    yield
    huggingface_hub.close_session()
    assert not home.exists()


def from_the_start(monkeypatch: pytest.MonkeyPatch, hub: Hub) -> None:
    """Make a hub the one that the library was told of when it was imported.

    The oldest one that we take reads what a commit answers by that.
    """
    template = f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Keep the tests' output clean; `Hub.requests` is the log."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def _answer(self) -> None:
        url = unquote(urlsplit(self.path).path).lstrip("/")
        self.hub.requests.append(
            Seen(self.command, "/" + url, self.headers["Range"], self.headers["Authorization"])
        )
        sent = self._sent()
        if url.startswith("upload/"):  # its address is all that it takes
            if "upload" in self.hub.refusals:
                return self._refuse(*self.hub.refusals["upload"])
            self.hub.stored[url.removeprefix("upload/")] = sent
            return self._send(200, b"", {})
        if self.hub.token and self.headers["Authorization"] != f"Bearer {self.hub.token}":
            return self._refuse(401, "RepoNotFound")
        api = f"api/models/{self.hub.repo}/"
        listing, resolve = f"{api}tree/", f"{self.hub.repo}/resolve/"
        if self.command == "POST":
            return self._take(url, sent)
        if url.startswith(f"{api}revision/"):
            return self._tell(url.removeprefix(f"{api}revision/"))
        if url.startswith(listing):
            self._list(url.removeprefix(listing))
        elif url.startswith(resolve):
            revision, _, path = url.removeprefix(resolve).partition("/")
            self._resolve(revision, path)
        elif url.startswith("blobs/"):
            path = url.removeprefix("blobs/")
            self._send_file(path, self.hub.files[path], {})
        else:
            self._refuse(401 if "api/" not in url else 404, "RepoNotFound")
        return None

    def _sent(self) -> bytes:
        if self.headers["Transfer-Encoding"] != "chunked":
            return self.rfile.read(int(self.headers["Content-Length"] or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _tell(self, revision: str) -> None:
        """Describe a commit and its files."""
        found = self.hub.at(revision)
        if found is None:
            return self._refuse(404, "RevisionNotFound")
        commit, files = found
        siblings = []
        for path, data in files.items():
            digest, size = self.hub.digest(path, data), len(data)
            large = path not in self.hub.small
            lfs = {"sha256": digest, "size": size, "pointerSize": 1} if large else None
            siblings.append({"rfilename": path, "size": size, "blobId": digest, "lfs": lfs})
        about = {"id": self.hub.repo, "sha": commit, "siblings": siblings}
        return self._send_json(about)

    def _take(self, url: str, sent: bytes) -> None:
        """Answer what the library asks and sends on the way to a commit."""
        if url == "api/validate-yaml":
            return self._send_json({"errors": [], "warnings": []})
        if self.hub.read_only:
            return self._refuse(403, "")
        if "/preupload/" in url:
            asked = [file["path"] for file in json.loads(sent)["files"]]
            return self._send_json(
                {
                    "files": [
                        {
                            "path": path,
                            "uploadMode": "lfs" if path.endswith(".onnx") else "regular",
                            "shouldIgnore": False,
                        }
                        for path in asked
                    ]
                }
            )
        if url.endswith("/info/lfs/objects/batch"):
            asked = json.loads(sent)["objects"]
            return self._send_json(
                {"transfer": "basic", "objects": [*map(self._place, asked)]}
            )
        assert "/commit/" in url, url
        change: dict[str, bytes | None] = {}
        header, *lines = map(json.loads, sent.splitlines())
        if header["value"].get("parentCommit", self.hub.head) != self.hub.head:
            return self._refuse(412, "")
        for line in lines:
            path = line["value"]["path"]
            if line["key"] == "file":
                change[path] = base64.b64decode(line["value"]["content"])
                self.hub.small.add(path)
            elif line["key"] == "lfsFile":
                change[path] = self.hub.stored[line["value"]["oid"]]
            else:
                assert line["key"] == "deletedFile"
                change[path] = None
        self.hub.commit(change)
        where = f"{self.hub.url}/{self.hub.repo}/commit/{self.hub.head}"
        return self._send_json({"commitUrl": where, "commitOid": self.hub.head})

    def _place(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Say where a large file is to be sent, if it is not here."""
        if asked["oid"] in self.hub.stored:
            return asked
        address = f"{self.hub.url}/upload/{asked['oid']}"
        return {**asked, "actions": {"upload": {"href": address, "header": {}}}}

    def _send_json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _list(self, revision: str) -> None:
        if "api" in self.hub.refusals:
            return self._refuse(*self.hub.refusals["api"])
        found = self.hub.at(revision)
        if found is None:
            return self._refuse(404, "RevisionNotFound")
        entries = [
            {"type": "file", "path": path, "size": len(data), "oid": "0" * 40}
            for path, data in found[1].items()
        ]
        return self._send(200, json.dumps(entries).encode(), {})

    def _resolve(self, revision: str, path: str) -> None:
        found = self.hub.at(revision)
        if found is None:
            return self._refuse(404, "RevisionNotFound")
        if path in self.hub.refusals:
            return self._refuse(*self.hub.refusals[path])
        commit, files = found
        if path not in files:
            return self._refuse(404, "EntryNotFound")
        data = files[path]
        about: dict[str, str | None] = {
            "X-Repo-Commit": commit,
            "ETag": f'"{self.hub.digest(path, data)}"',
        }
        if path not in self.hub.small:
            about["X-Linked-Etag"] = about["ETag"]
            about["X-Linked-Size"] = str(len(data))
        about |= self.hub.headers
        headers = {name: value for name, value in about.items() if value is not None}
        if self.hub.cdn and path not in self.hub.small:
            return self._send(
                302, b"", {**headers, "Location": f"{self.hub.cdn}/blobs/{path}"}
            )
        return self._send_file(path, data, headers)

    def _send_file(self, path: str, data: bytes, headers: dict[str, str]) -> None:
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
