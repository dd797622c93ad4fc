"""What is asked of GitHub, of a server on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.github_server import REPO, TOKEN, GitHubServer, serve_github
from vampnet_onnx.configs.errors import EnvironmentLacksError, InputError
from vampnet_onnx.configs.github import GitHub, RefusedError, github, github_event

MARK = "<!-- a mark -->"


@pytest.fixture
def server() -> Iterator[GitHubServer]:
    with serve_github(GitHubServer()) as serving:
        yield serving


@pytest.fixture
def asked(server: GitHubServer) -> GitHub:
    return GitHub(server.url, REPO, TOKEN)


def test_a_comment_is_written_once_and_then_replaced(
    server: GitHubServer, asked: GitHub
) -> None:
    for number in range(120):  # more than a page
        server.add(f"talk {number}", "User")
    server.add(f"{MARK}\nby a person", "User")
    first = asked.keep_comment(5, f"{MARK}\none")
    assert asked.keep_comment(5, f"{MARK}\ntwo") == first
    asked.keep_comment(5, "<!-- another mark -->\nthree")
    bodies = [comment["body"] for comment in server.comments[120:]]
    assert bodies == [
        f"{MARK}\nby a person",
        f"{MARK}\ntwo",
        "<!-- another mark -->\nthree",
    ]
    assert {header for _, _, header in server.requests} == {f"Bearer {TOKEN}"}
    assert TOKEN not in repr(asked)


def test_what_is_refused_says_so(server: GitHubServer, asked: GitHub) -> None:
    with pytest.raises(InputError, match="65536 characters"):
        asked.keep_comment(5, MARK + "x" * 65_536)
    server.may_write = False
    with pytest.raises(RefusedError, match=r"HTTP 403.*GITHUB_TOKEN") as caught:
        asked.keep_comment(5, MARK)
    assert caught.value.status == 403


def test_a_deleted_account_and_an_empty_comment_are_not_ours(
    server: GitHubServer, asked: GitHub
) -> None:
    server.add(f"{MARK}\nonce")
    server.comments[0]["user"] = None
    server.add(MARK)
    server.comments[1]["body"] = None
    asked.keep_comment(5, f"{MARK}\none")
    assert server.comments[2]["body"] == f"{MARK}\none"


NO_ANSWERS = {
    "page": b"<html>hello</html>",
    "null": b"null",
    "number": b"1",
    "binary": b"\xff\xfe\x00",
    "other": b'[{"name": 1}]',
    "half": b'{"a":',
}


@pytest.mark.parametrize("body", NO_ANSWERS.values(), ids=NO_ANSWERS)
def test_an_answer_that_is_not_githubs_is_one_message(
    server: GitHubServer, asked: GitHub, tmp_path: Path, body: bytes
) -> None:
    server.says = 200, body, {}
    with pytest.raises(InputError, match="as GitHub does"):
        asked.keep_comment(5, MARK)
    with pytest.raises(InputError, match="as GitHub does"):
        asked.asset("v1", "a.zip", tmp_path / "a.zip")
    with pytest.raises(InputError, match="as GitHub does"):
        asked.pull_request(run_of())


def test_an_answer_that_breaks_off_is_the_environments_fault(
    server: GitHubServer, asked: GitHub
) -> None:
    server.says = 200, b'{"assets":', {"Content-Length": "1000", "Connection": "close"}
    with pytest.raises(EnvironmentLacksError, match="broke off"):
        asked.keep_comment(5, MARK)


LIMITED = {
    "header": (403, b"{}", {"x-ratelimit-remaining": "0"}),
    "words": (403, b'{"message": "You have exceeded a secondary rate limit"}', {}),
    "status": (429, b"{}", {}),
}


@pytest.mark.parametrize("says", LIMITED.values(), ids=LIMITED)
def test_a_rate_limit_is_not_a_refusal(
    server: GitHubServer, asked: GitHub, says: tuple[int, bytes, dict[str, str]]
) -> None:
    server.says = says
    with pytest.raises(EnvironmentLacksError, match=r"rate limit.*later"):
        asked.keep_comment(5, MARK)


def test_an_address_that_is_none_is_the_environments_fault() -> None:
    for api in ("garbage", "http://[", "ftp:/x"):
        with pytest.raises(
            EnvironmentLacksError, match="check the network and GITHUB_API_URL"
        ):
            GitHub(api, REPO, TOKEN).keep_comment(5, MARK)


def test_a_file_of_a_release_comes_without_the_token(
    server: GitHubServer, asked: GitHub, tmp_path: Path
) -> None:
    server.assets = {"a.zip": b"content"}
    for tag in ("v1", "latest"):
        asked.asset(tag, "a.zip", tmp_path / tag)
        assert (tmp_path / tag).read_bytes() == b"content"
    sent = {path: header for _, path, header in server.requests}
    assert sent["/elsewhere/a.zip"] is None
    with pytest.raises(InputError, match=r"has no file b\.zip \(it has a\.zip\)"):
        asked.asset("v1", "b.zip", tmp_path / "b")
    with pytest.raises(RefusedError, match="HTTP 404"):
        asked.asset("v/2", "a.zip", tmp_path / "b")
    assert not (tmp_path / "b").exists()


def run_of(**changed: object) -> dict[str, object]:
    run = {
        "event": "pull_request",
        "head_branch": "topic",
        "head_sha": "abc",
        "head_repository": {"owner": {"login": "someone"}},
    }
    return {"workflow_run": run | changed}


def test_the_pull_request_of_an_event_is_found(server: GitHubServer, asked: GitHub) -> None:
    assert asked.pull_request({}) is None
    assert asked.pull_request({"pull_request": {"number": 7}}) == 7
    label = "someone:topic"
    server.pulls = [
        {"number": 8, "head": {"label": label, "sha": "older"}},
        {"number": 9, "head": {"label": label, "sha": "abc"}},
    ]
    assert asked.pull_request(run_of()) == 9
    assert asked.pull_request(run_of(head_sha="other")) is None  # it has moved on
    assert asked.pull_request(run_of(head_repository=None)) is None  # the fork is gone
    assert asked.pull_request(run_of(event="push")) is None


@pytest.mark.parametrize(
    "event",
    [
        {"pull_request": {}},
        {"pull_request": []},
        {"pull_request": {"number": "../../x"}},
        {"pull_request": {"number": "7"}},
        {"pull_request": {"number": None}},
        {"pull_request": {"number": -1}},
        {"workflow_run": 1},
        {"workflow_run": []},
        {"workflow_run": "x"},
        run_of(head_repository={"owner": None}),
        run_of(head_sha=3),
    ],
    ids=str,
)
def test_an_event_that_is_none_is_named(asked: GitHub, event: dict[str, object]) -> None:
    with pytest.raises(InputError, match="no event of GitHub"):
        asked.pull_request(event)


def test_an_event_of_nothing_has_no_pull_request(asked: GitHub) -> None:
    assert asked.pull_request({"pull_request": None, "workflow_run": None}) is None


def test_a_server_that_is_not_there_is_the_environments_fault() -> None:
    with serve_github(GitHubServer()) as gone:
        pass
    with pytest.raises(EnvironmentLacksError, match="GITHUB_API_URL"):
        GitHub(gone.url, REPO).pull_request(run_of())


def test_the_environment_says_where(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("REPOSITORY", "API_URL", "TOKEN", "EVENT_PATH"):
        monkeypatch.delenv(f"GITHUB_{name}", raising=False)
    assert github_event() == {}
    with pytest.raises(InputError, match="OWNER/NAME"):
        github()
    monkeypatch.setenv("GITHUB_REPOSITORY", REPO)
    assert github() == GitHub("https://api.github.com", REPO)
    event = tmp_path / "event.json"
    event.write_text('{"number": 3}')
    monkeypatch.setenv("GITHUB_EVENT_PATH", str(event))
    assert github_event() == {"number": 3}
    for none in ("[]", '"x"', "null", "1"):
        event.write_text(none)
        with pytest.raises(InputError, match="no event of GitHub"):
            github_event()
