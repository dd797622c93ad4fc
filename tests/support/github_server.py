"""GitHub's API on loopback: releases, and comments of a pull request."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

REPO = "team/models"
TOKEN = "token-of-the-run"


@dataclass
class GitHubServer:
    """What the server holds and what it was asked.

    Attributes:
        comments: of whatever pull request; ids are places in this list.
        pulls: open pull requests, as the API lists them.
        assets: files of the release ``v1``, by name.
        says: body of every answer, where it is not what the API says; and status and headers.
        may_write: whether the token may comment.
        requests: method, path and Authorization of everything that was asked.
    """

    comments: list[dict[str, Any]] = field(default_factory=list)
    pulls: list[dict[str, Any]] = field(default_factory=list)
    assets: dict[str, bytes] = field(default_factory=dict)
    says: tuple[int, bytes, dict[str, str]] | None = None
    may_write: bool = True
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    url: str = ""

    def add(self, body: str, kind: str = "Bot") -> None:
        """Add a comment of a program, or of a person (``User``)."""
        url = f"{self.url}/repos/{REPO}/issues/comments/{len(self.comments)}"
        page = f"https://example.invalid/{len(self.comments)}"
        self.comments.append(
            {"url": url, "html_url": page, "body": body, "user": {"type": kind}}
        )


@contextmanager
def serve_github(server: GitHubServer) -> Iterator[GitHubServer]:
    """Run the server until the end of the block."""
    handler = type("Handler", (_Handler,), {"server_state": server})
    listening = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.url = f"http://127.0.0.1:{listening.server_port}"
    thread = threading.Thread(target=listening.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    server_state: GitHubServer

    def log_message(self, format: str, *args: object) -> None:
        """Keep the tests' output clean; `GitHubServer.requests` is the log."""

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PATCH(self) -> None:
        self._answer()

    def _answer(self) -> None:
        state, url = self.server_state, urlsplit(self.path)
        state.requests.append((self.command, self.path, self.headers["Authorization"]))
        asked = {name: values[0] for name, values in parse_qs(url.query).items()}
        place = url.path.removeprefix(f"/repos/{REPO}/")
        length = int(self.headers["Content-Length"] or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        if state.says is not None:
            status, said, headers = state.says
            return self._send(status, said, **headers)
        if url.path.startswith("/elsewhere/"):
            return self._send(200, state.assets[url.path.removeprefix("/elsewhere/")])
        if self.command != "GET" and not state.may_write:
            return self._send(403, {"message": "Resource not accessible by integration"})
        if self.command == "PATCH":
            comment = state.comments[int(place.rpartition("/")[2])]
            comment["body"] = body["body"]
            return self._send(200, comment)
        if self.command == "POST":
            state.add(body["body"])
            return self._send(201, state.comments[-1])
        if place.startswith("issues/"):
            size, page = int(asked["per_page"]), int(asked["page"])
            return self._send(200, state.comments[size * (page - 1) : size * page])
        if place == "pulls":
            found = [pull for pull in state.pulls if pull["head"]["label"] == asked["head"]]
            return self._send(200, found)
        if place in ("releases/tags/v1", "releases/latest"):
            at = f"{state.url}/repos/{REPO}/releases/assets"
            return self._send(
                200,
                {"assets": [{"name": name, "url": f"{at}/{name}"} for name in state.assets]},
            )
        if place.startswith("releases/assets/"):  # files are elsewhere
            there = f"{state.url}/elsewhere/{place.rpartition('/')[2]}"
            return self._send(302, b"", Location=there)
        return self._send(404, {"message": "Not Found"})

    def _send(self, status: int, body: object, **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)
