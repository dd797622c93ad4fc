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
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlencode

from .errors import EnvironmentLacksError, InputError, said
from .files import read_json, replacing

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
        release = self._json("GET", f"releases/{which}")
        found = {asset["name"]: asset["url"] for asset in release["assets"]}
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
            while block := answer.read(_BLOCK):
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
            found = self._json("GET", f"{place}?per_page={_PAGE}&page={page}")
            for comment in found:
                if comment["user"]["type"] == "Bot" and comment["body"].startswith(mark):
                    own = comment["url"]
            if len(found) < _PAGE:
                break
            page += 1
        written = self._json("PATCH" if own else "POST", own or place, {"body": text})
        return str(written["html_url"])

    def pull_request(self, event: Mapping[str, Any]) -> int | None:
        """Return the number of the pull request that an event is about, or None.

        A run that was started by another run's end does not know it: it is the one whose
        branch and commit are those of the other run.  What the other run says of itself is not
        asked, for that may be anything.
        """
        if "pull_request" in event:
            return int(event["pull_request"]["number"])
        run = event.get("workflow_run")
        if not run or run["event"] != "pull_request" or run["head_repository"] is None:
            return None
        head = f"{run['head_repository']['owner']['login']}:{run['head_branch']}"
        found = self._json("GET", "pulls?" + urlencode({"state": "open", "head": head}))
        numbers = [pull["number"] for pull in found if pull["head"]["sha"] == run["head_sha"]]
        return int(numbers[0]) if numbers else None

    def _json(self, method: str, place: str, body: object = None) -> Any:
        with self._answer(method, place, body) as answer:
            return json.load(answer)

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
        request = urllib.request.Request(url, data, {"Accept": accept}, method=method)
        if self.token:
            request.add_unredirected_header("Authorization", f"Bearer {self.token}")
        try:
            return urllib.request.urlopen(request, timeout=_TIMEOUT_S)
        except HTTPError as error:
            with error:
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
    return dict(read_json(Path(path))) if path else {}
