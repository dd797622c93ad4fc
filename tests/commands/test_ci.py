"""The commands ci baseline, ci verdict and ci comment; tests/test_ci.py runs them in a CI."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command_line import Cli, refused
from tests.support.github_server import REPO, GitHubServer, serve_github
from tests.support.report_samples import failing_report, passing_report
from tests.support.versions import published, verification_of
from vampnet_onnx.configs.verification import write_verification
from vampnet_onnx.reports import write_reports


def test_a_baseline_is_put_into_a_folder(cli: Cli, tmp_path: Path) -> None:
    home = tmp_path / "mine"
    version = published(home, tmp_path)
    refused(cli("ci", "baseline", home, "--into", tmp_path / "b"), "no verified version")
    write_verification(version, verification_of(version))
    told = cli("ci", "baseline", home, "--into", tmp_path / "b")
    assert told.code == 0 and f"{version} is in {tmp_path / 'b'}" in told.out
    told = cli("ci", "baseline", tmp_path / "b", "--into", tmp_path / "b")
    assert told.code == 0 and f"{tmp_path / 'b'} was there already" in told.out


@pytest.mark.parametrize("words", [["ci"], ["ci", "verdict"]], ids=["ci", "verdict"])
def test_the_help_says_in_which_order_to_run_what(cli: Cli, words: list[str]) -> None:
    assert "export, verify, compare, ci verdict" in " ".join(cli(*words, "--help").out.split())


def test_the_verdict_is_the_exit_code(cli: Cli, tmp_path: Path) -> None:
    write_reports(passing_report(), tmp_path / "verify")
    told = cli("ci", "verdict", tmp_path)
    assert told.code == 0 and told.out.endswith("PASS: vampnet-onnx\n")
    write_reports(failing_report(), tmp_path / "compare")
    told = cli("ci", "verdict", tmp_path, "--name", "coarse 2")
    assert told.code == 1 and told.out.endswith("FAIL: coarse 2\n")
    assert "c2f fails" in told.out
    comment = (tmp_path / "comment.md").read_text("utf-8")
    assert comment.startswith("<!-- vampnet-onnx ci: coarse 2 -->\n")
    refused(cli("ci", "verdict", tmp_path, "--name", "a --> b"), "--name a --> b")
    refused(cli("ci", "verdict", tmp_path, "--link", "https://a) @b"), "is no address")
    refused(cli("ci", "verdict", tmp_path / "nowhere"), "no such folder of reports")


def test_a_comment_goes_where_the_run_says(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_reports(passing_report(), tmp_path / "verify")
    assert cli("ci", "verdict", tmp_path).code == 0
    file, event = tmp_path / "comment.md", tmp_path / "event.json"
    monkeypatch.setenv("GITHUB_REPOSITORY", REPO)
    monkeypatch.setenv("GITHUB_EVENT_PATH", str(event))
    with serve_github(GitHubServer()) as server:
        monkeypatch.setenv("GITHUB_API_URL", server.url)
        event.write_text("{}")
        told = cli("ci", "comment", file)
        assert told.code == 0 and "nothing to comment on" in told.err and not server.requests
        event.write_text('{"pull_request": {"number": 5}}')
        told = cli("ci", "comment", file)
        assert told.code == 0 and server.comments[0]["html_url"] in told.out
        server.may_write = False
        told = cli("ci", "comment", file)
        assert told.code == 0 and "the token may not comment" in told.err
        refused(cli("ci", "comment", event), "is no comment of ci verdict")
        refused(cli("ci", "comment", tmp_path / "none"), "make it with ci verdict")
        monkeypatch.setenv("GITHUB_REPOSITORY", "team/none")
        refused(cli("ci", "comment", file), "HTTP 404")
