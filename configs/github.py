"""What is asked of GitHub: a release's file, and one comment of ours on a pull request.

A run of GitHub Actions says by variables where its API is, which repository it is of and with
what token one asks (``GITHUB_API_URL``, ``GITHUB_REPOSITORY``, ``GITHUB_TOKEN``).
"""

import json
import os
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any, TypeVar
from urllib.error import HTTPError
from urllib.parse import quote, urlencode

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from .config import first_problem
from .errors import EnvironmentLacksError, InputError, said
from .files import read_json, replacing

_T = TypeVar("_T")

_TIMEOUT_S = 60
_PAGE = 100  # the most that the API gives at once
_LONGEST_COMMENT = 65_536  # characters; the API refuses more
_BLOCK = 1 << 20


class RefusedError(InputError):
    """GitHub answers with an error.

    Attributes:
        status: of HTTP.
    """

    def __init__(self, status: int, told: str) -> None:
        super().__init__(told)
        self.status = status


class _Asset(BaseModel):
    name: str
    url: str


class _Release(BaseModel):
    assets: list[_Asset]


class _User(BaseModel):
    type: str


class _Comment(BaseModel):
    """A comment; its user is null where the account was deleted."""

    user: _User | None
    body: str | None
    url: str


class _Written(BaseModel):
    html_url: str


class _Commit(BaseModel):
    sha: str


class _Pull(BaseModel):
    number: int = Field(strict=True, gt=0)
    head: _Commit


class _Owner(BaseModel):
    login: str


class _Repository(BaseModel):
    owner: _Owner


class _EndedRun(BaseModel):
    """Another run's end; its repository is null where the fork is gone."""

    event: str
    head_repository: _Repository | None
    head_branch: str | None
    head_sha: str


class _Numbered(BaseModel):
    number: int = Field(strict=True, gt=0)


class _Event(BaseModel):
    pull_request: _Numbered | None = None
    workflow_run: _EndedRun | None = None


@dataclass(frozen=True)
class GitHub:
    """One repository on GitHub, through its API."""

    api: str
    repo: str
    token: str = field(default="", repr=False)

    def asset(self, tag: str, name: str, target: Path) -> None:
        """Download a file of a release.

        Args:
            tag: of the release; ``latest`` is the newest that is no draft.

        Raises:
            InputError: there is no such release, or no such file in it.
            EnvironmentLacksError: GitHub cannot be reached.
        """
        which = "latest" if tag == "latest" else f"tags/{quote(tag, safe='')}"
        release = self._json(_Release, "GET", f"releases/{which}")
        found = {asset.name: asset.url for asset in release.assets}
        if name not in found:
            raise InputError(
                f"release {tag} of {self.repo}: has no file {name}"
                f" (it has {', '.join(found) or 'none'})"
            )
        with (
            replacing(target) as temporary,
            temporary.open("wb") as stream,
            self._answer("GET", found[name], accept="application/octet-stream") as answer,
        ):
            while block := self._read(answer, _BLOCK):
                stream.write(block)

    def keep_comment(self, number: int, text: str) -> str:
        """Write a comment on a pull request, in place of the last with the same first line.

        Only a comment that a program wrote is replaced: anybody can write a first line.

        Returns:
            Its address.

        Raises:
            RefusedError: the token may not write there, say.
            EnvironmentLacksError: GitHub cannot be reached.
        """
        if len(text) > _LONGEST_COMMENT:
            raise InputError(
                f"a comment may have {_LONGEST_COMMENT} characters, not {len(text)}"
            )
        mark = text.partition("\n")[0]
        place, page, own = f"issues/{number}/comments", 1, ""
        while True:
            found = self._json(list[_Comment], "GET", f"{place}?per_page={_PAGE}&page={page}")
            for comment in found:
                by_program = comment.user is not None and comment.user.type == "Bot"
                if by_program and (comment.body or "").startswith(mark):
                    own = comment.url
            if len(found) < _PAGE:
                break
            page += 1
        method = "PATCH" if own else "POST"
        return self._json(_Written, method, own or place, {"body": text}).html_url

    def pull_request(self, event: Mapping[str, Any]) -> int | None:
        """Return the number of the pull request that an event is about, or None.

        A run that was started by another run's end does not know it: it is the one whose
        branch and commit are those of the other run.  What the other run says of itself is not
        asked, for that may be anything.

        Raises:
            InputError: the event is none that GitHub writes.
        """
        try:
            told = _Event.model_validate(event)
        except ValidationError as error:
            raise InputError(
                f"GITHUB_EVENT_PATH: no event of GitHub ({first_problem(error)})"
            ) from error
        if told.pull_request is not None:
            return told.pull_request.number
        run = told.workflow_run
        if run is None or run.event != "pull_request" or run.head_repository is None:
            return None
        head = f"{run.head_repository.owner.login}:{run.head_branch}"
        place = "pulls?" + urlencode({"state": "open", "head": head})
        found = self._json(list[_Pull], "GET", place)
        return next((pull.number for pull in found if pull.head.sha == run.head_sha), None)

    def _json(self, kind: type[_T], method: str, place: str, body: object = None) -> _T:
        with self._answer(method, place, body) as answer:
            text = self._read(answer)
        try:
            return TypeAdapter(kind).validate_json(text)
        except ValidationError as error:
            raise InputError(
                f"{self.api}: does not answer {method} {place} as GitHub does"
                f" ({first_problem(error)}); check GITHUB_API_URL"
            ) from error

    def _read(self, answer: Any, size: int | None = None) -> bytes:
        try:
            return bytes(answer.read(size))
        except (OSError, HTTPException) as error:
            raise EnvironmentLacksError(
                f"{self.api}: the answer broke off ({said(error)}); run the same command again"
            ) from error

    def _answer(
        self,
        method: str,
        place: str,
        body: object = None,
        accept: str = "application/vnd.github+json",
    ) -> Any:
        """Ask for a place in the repository, or a whole address; the answer is to be closed.

        The token is not handed on where GitHub sends one elsewhere for a file.
        """
        whole = place.startswith(f"{self.api}/")
        url = place if whole else f"{self.api}/repos/{self.repo}/{place}"
        data = None if body is None else json.dumps(body).encode()
        try:
            request = urllib.request.Request(url, data, {"Accept": accept}, method=method)
            if self.token:
                request.add_unredirected_header("Authorization", f"Bearer {self.token}")
            return urllib.request.urlopen(request, timeout=_TIMEOUT_S)
        except HTTPError as error:
            with error:
                if _is_of_rate(error):
                    raise EnvironmentLacksError(
                        f"{self.api}: takes no more for now, its rate limit is reached"
                        f" (HTTP {error.code}); run the same command again later"
                    ) from error
                raise RefusedError(
                    error.code,
                    f"{self.repo} on {self.api}: {method} {place} is refused"
                    f" (HTTP {error.code}); check the name, and what GITHUB_TOKEN may do",
                ) from error
        except (OSError, HTTPException, ValueError) as error:
            raise EnvironmentLacksError(
                f"{self.api}: cannot be reached ({said(error)}); check the network and"
                " GITHUB_API_URL, then run the same command again"
            ) from error


def github() -> GitHub:
    """Return the repository that the environment names, as GitHub Actions does.

    Raises:
        InputError: it names none.
    """
    repo = os.environ.get("GITHUB_REPOSITORY", "")
    if not repo:
        raise InputError("GITHUB_REPOSITORY names no repository: set it to OWNER/NAME")
    api = os.environ.get("GITHUB_API_URL") or "https://api.github.com"
    return GitHub(api.rstrip("/"), repo, os.environ.get("GITHUB_TOKEN", ""))


def github_event() -> dict[str, Any]:
    """Return what set off this run of GitHub Actions; empty where nothing says it.

    Raises:
        InputError: it cannot be read.
    """
    path = os.environ.get("GITHUB_EVENT_PATH", "")
    event = read_json(Path(path)) if path else {}
    if not isinstance(event, dict):
        raise InputError(f"{path}: no event of GitHub (it holds no object)")
    return event


def _is_of_rate(error: HTTPError) -> bool:
    """Return whether GitHub refuses since too much was asked of it, not for good."""
    if error.code not in (403, 429):
        return False
    try:
        told = error.read(_BLOCK)
    except (OSError, HTTPException):  # the headers alone say it then
        told = b""
    spent = error.headers.get("x-ratelimit-remaining") == "0"
    return error.code == 429 or spent or b"rate limit" in told.lower()
