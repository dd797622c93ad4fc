"""What a CI runs: action.yml, the workflows of docs/ci, and this project's own.

The steps are run as they stand, in a scratch repository: once as the branch that others are
compared with, then as pull requests in which something is wrong.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from tests.support.actions import Job, Runner, parses, read_yaml
from tests.support.checked import weights_of
from tests.support.command_line import ROOT, Cli, vouch_for
from tests.support.github_server import REPO, TOKEN, GitHubServer, serve_github
from tests.support.hub_server import COMMIT, Hub, own_world, serve
from tests.support.served import Served
from vampnet_onnx.configs import config as config_module
from vampnet_onnx.configs import verification

DOCS = ROOT / "docs" / "ci"
OWN = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FOR_OTHERS = [DOCS / "github.yml", DOCS / "github-forks.yml"]
ACTION = "OWNER/vampnet-onnx"
INSTALLS = "python -m pip install"
W_1 = "transformer.layers.0.feed_forward.w_1"
NORM = "transformer.layers.0.norm_1"


# What is written.


@pytest.mark.parametrize(
    "schema, files",
    [
        ("github-actions", [ROOT / "action.yml"]),
        ("github-workflows", [*OWN, *FOR_OTHERS]),
        ("gitlab-ci", [DOCS / "gitlab.yml"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_files_hold_to_their_schema(schema: str, files: list[Path]) -> None:
    assert files
    line = ["-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", *map(str, files)]
    done = subprocess.run([sys.executable, *line], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_ten_lines_of_the_documentation_are_a_workflow(tmp_path: Path) -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", (DOCS / "README.md").read_text("utf-8"), re.S)
    assert len(block.splitlines()) <= 10
    (tmp_path / "checkpoints.yml").write_text(block)
    test_files_hold_to_their_schema("github-workflows", [tmp_path / "checkpoints.yml"])
    test_what_is_used_is_pinned_and_what_is_run_is_bash(tmp_path / "checkpoints.yml")


def steps_of(path: Path) -> list[dict[str, Any]]:
    content = read_yaml(path)
    if "runs" in content:
        return list(content["runs"]["steps"])
    return [step for job in content["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize(
    "path", [ROOT / "action.yml", *OWN, *FOR_OTHERS], ids=lambda path: path.name
)
def test_what_is_used_is_pinned_and_what_is_run_is_bash(path: Path) -> None:
    for step in steps_of(path):
        if "uses" in step:
            used = step["uses"]
            ours = used == "./" or used.startswith(ACTION)
            assert ours or re.fullmatch(r"actions/[\w/-]+@[0-9a-f]{40}", used), used
        else:
            assert parses(step["run"]), step
    text = path.read_text("utf-8")
    pins = re.findall(r"@([0-9a-f]{40})(.*)", text)
    assert all(re.fullmatch(r" # v\d+\.\d+\.\d+", said) for _, said in pins)


def test_every_input_of_the_action_says_what_it_is() -> None:
    action = read_yaml(ROOT / "action.yml")
    for name, value in {**action["inputs"], **action["outputs"]}.items():
        assert value["description"], name
    text = (ROOT / "action.yml").read_text("utf-8")
    assert set(re.findall(r"inputs\.([\w-]+)", text)) == set(action["inputs"])
    for step in action["runs"]["steps"]:
        assert ("shell" in step) == ("run" in step)


@pytest.mark.parametrize(
    "index, cuda, code, told",
    [
        ("", "", 0, ""),
        ("", "12.8", 0, "::warning::"),
        ("http://cpu.invalid/whl", "", 0, "--extra-index-url http://cpu.invalid/whl"),
        ("http://cpu.invalid/whl", "12.8", 1, "::error::"),
    ],
)
def test_cpu_wheels_of_torch_are_asked_for_and_held_to(
    tmp_path: Path, index: str, cuda: str, code: int, told: str
) -> None:
    """The line that installs runs with programs that say what they were asked."""
    (step,) = (s for s in steps_of(ROOT / "action.yml") if s.get("id") == "install")
    for name in ("python", "vampnet-onnx"):
        (tmp_path / name).write_text(
            f"#!/bin/sh\ncase $1 in -c) echo '{cuda}';; *) echo {name} \"$@\";; esac\n"
        )
        (tmp_path / name).chmod(0o755)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "GITHUB_ACTION_PATH": "/an action"}
    env |= {"CONSTRAINTS": "pins.txt", "TORCH_INDEX_URL": index}
    line = ["bash", "-eo", "pipefail", "-c", step["run"]]
    done = subprocess.run(line, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == code and told in done.stdout
    assert done.stdout.startswith("python -m pip install -c pins.txt")
    assert "/an action[export]" in done.stdout and (
        "--extra-index-url" in done.stdout
    ) == bool(index)
    assert ("vampnet-onnx doctor" in done.stdout) == (code == 0)


def test_every_session_that_a_workflow_calls_is_there() -> None:
    sessions = {
        node.name
        for node in ast.parse((ROOT / "noxfile.py").read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef)
        and any("session" in ast.unparse(decorator) for decorator in node.decorator_list)
    }
    called = set()
    for path in OWN:
        for job in read_yaml(path)["jobs"].values():
            named = [item["session"] for item in _included(job) if "session" in item]
            for step in job["steps"]:
                for name in re.findall(
                    r"nox -s (\S+)", step.get("run", "").replace("{ ", "{")
                ):
                    called |= set(named) if name.startswith("$") else {name}
    assert {"tests", "lint", "lowest", "web"} <= called <= sessions


def _included(job: dict[str, Any]) -> list[dict[str, str]]:
    return list(job.get("strategy", {}).get("matrix", {}).get("include", []))


def test_the_three_commands_are_the_same_everywhere() -> None:
    """What differs is how a configuration is given, and what keeps a script from ending."""
    found = []
    for path in (ROOT / "action.yml", DOCS / "gitlab.yml", DOCS / "check.sh"):
        text = path.read_text("utf-8")
        text = text.replace(
            '${CHECKPOINT:+--checkpoint "$CHECKPOINT"}', '--checkpoint "$CHECKPOINT"'
        )
        text = text.replace('${CONFIG:+--config "$CONFIG"} ', "")
        lines = re.findall(r"vampnet-onnx (?:export|verify|compare) .*?\.log", text)
        found.append([line for line in lines if "onnx-ci" in line])
    assert len(found[0]) == 3 and found[0] == found[1] == found[2]


# What it does.


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand a small matrix over one component in for what takes a minute."""
    shipped = config_module.shipped

    def smaller(name: str) -> dict[str, Any]:
        values = shipped(name)
        if name == "defaults.toml":
            values["verify"] |= {"seeds": [0], "frames": [13], "batches": [2], "threads": 1}
            values["export"] |= {"components": ["coarse"]}
        return values

    monkeypatch.setattr(config_module, "shipped", smaller)
    monkeypatch.setattr(verification, "shipped", smaller)


class Place:
    """A repository with a checkpoint, runs of its workflows, and GitHub."""

    def __init__(
        self, folder: Path, checkpoint: Path, served: Served, github: GitHubServer
    ) -> None:
        self.folder, self.checkpoint, self.served = folder, checkpoint, served
        self.github, self.number = github, 0

    def checkout(self, plant: Plant | None = None) -> Path:
        """Make a fresh checkout, and plant something in it."""
        self.number += 1
        self.workspace = self.folder / f"run-{self.number}"
        shutil.copytree(self.checkpoint, self.workspace / "checkpoints" / "mine")
        if plant is not None:
            plant(self.workspace)
        return self.workspace

    def runner(self, event: str, said: dict[str, Any], **more: Any) -> Runner:
        context = {"event_name": event, "token": TOKEN, "repository": REPO}
        context |= {"ref": "refs/heads/x", "run_id": self.number, "run_attempt": 1}
        variables = {
            "GITHUB_API_URL": self.github.url,
            "GITHUB_REPOSITORY": REPO,
            "GITHUB_RUN_ID": str(self.number),
            "GITHUB_SERVER_URL": "https://server",
            "GITHUB_SHA": "c0ffee",
        }
        place = (self.workspace, self.folder, self.served, context, said, variables)
        return Runner(*place, left_out=(INSTALLS,), **more)

    def push(self) -> Job:
        self.checkout()
        return self.runner("push", {}).workflow(DOCS / "github.yml", {ACTION: ROOT})

    def pull(
        self, plant: Plant | None = None, *, labels: tuple[str, ...] = (), **more: Any
    ) -> Job:
        """Run what a pull request runs."""
        self.checkout(plant)
        named = [{"name": name} for name in labels]
        said = {"pull_request": {"number": 5, "labels": named}}
        runner = self.runner("pull_request", said, **more)
        return runner.workflow(DOCS / "github.yml", {ACTION: ROOT})

    def action(self, event: str, plant: Plant | None = None, **given: str) -> Job:
        """Run the action alone, with inputs of its own."""
        self.checkout(plant)
        inputs = {name.replace("_", "-"): value for name, value in given.items()}
        done = Job()
        runner = self.runner(event, {})
        done.outputs = runner.action(ROOT, {"checkpoint": "checkpoints/mine"} | inputs, done)
        return done

    @property
    def comment(self) -> str:
        (only,) = self.github.comments
        return str(only["body"])


Plant = Callable[[Path], None]


@pytest.fixture
def place(
    tmp_path: Path, nano: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    if not hasattr(socket, "AF_UNIX"):
        pytest.skip("scripts reach the command line by a socket of Unix")
    with serve_github(GitHubServer()) as github:
        served = Served(cli, tmp_path / "bin", monkeypatch)
        yield Place(tmp_path, nano, served, github)
        served.close()


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the caches of a run on the main branch are kept for all tests."""
    return tmp_path_factory.mktemp("kept") / "caches"


@pytest.fixture
def later(place: Place, kept: Path) -> Place:
    """The same after a run of the main branch that passed."""
    if not kept.exists():
        assert not place.push().failed
        shutil.copytree(place.folder / "caches", kept)
    shutil.copytree(kept, place.folder / "caches", dirs_exist_ok=True)
    return place


def damaged(workspace: Path) -> None:
    """Scale a norm of the checkpoint, as a bad conversion does."""
    path = workspace / "checkpoints" / "mine" / "coarse.pth"
    content = torch.load(path, weights_only=True)
    content["state_dict"][f"{NORM}.weight"] *= 1.5
    torch.save(content, path)


def unreadable(workspace: Path) -> None:
    (workspace / "checkpoints" / "mine" / "coarse.pth").write_bytes(b"no checkpoint")


def altered(workspace: Path) -> None:
    """Scale a weight of what was exported, whatever the manifest says of it."""
    (folder,) = (workspace / "onnx-ci" / "artifacts").glob("*/v1")
    model = onnx.load(folder / "coarse.onnx")
    weight = weights_of(model, f"{W_1}.weight")
    array = numpy_helper.to_array(weight) * np.float32(1.01)
    weight.CopyFrom(numpy_helper.from_array(array, weight.name))
    onnx.save(model, folder / "coarse.onnx")


def exported_wrong(workspace: Path) -> None:
    """The same with a manifest that vouches for it, as if a tool had written it so."""
    altered(workspace)
    (folder,) = (workspace / "onnx-ci" / "artifacts").glob("*/v1")
    vouch_for(folder, lambda _record: None)


BEFORE_VERIFY = "Verify against the checkpoint"


def test_a_run_of_the_main_branch_makes_the_baseline(place: Place, kept: Path) -> None:
    done = place.push()
    shutil.copytree(place.folder / "caches", kept, dirs_exist_ok=True)
    assert not done.failed and "failure" not in done.outcomes.values()
    assert done.outputs["verdict"] == "PASS" and done.outputs["compare"] == "none"
    assert float(done.outputs["headroom"]) > 1
    assert (place.workspace / done.outputs["artifacts"] / "manifest.json").is_file()
    assert "it was compared with nothing yet" in done.summary.splitlines()[1]
    report = done.artifacts["vampnet-onnx-report"] / "report"
    badge = json.loads((report / "badge.json").read_text("utf-8"))
    assert badge["schemaVersion"] == 1 and badge["color"] == "brightgreen"
    assert badge["message"].startswith("PASS, ") and "to spare" in badge["message"]
    for name in ("verify/report.html", "verify/junit.xml", "export.log", "outcome.env"):
        assert (report / name).is_file()
    assert not place.github.comments and "vampnet-onnx-versions" not in done.artifacts
    caches = {
        path.name.rpartition("-Linux-")[0] for path in (place.folder / "caches").iterdir()
    }
    assert caches >= {"vampnet-onnx-graphs", "vampnet-onnx-baseline-vampnet-onnx"}
    again = place.push()
    assert again.outputs["compare"] == "PASS"
    history = again.artifacts["vampnet-onnx-report"] / "artifacts" / "mine" / "history.jsonl"
    assert len(history.read_text("utf-8").splitlines()) == 2
    assert again.outcomes["Make this version the next baseline"] == "success"
    assert again.outcomes["Keep the baseline"] == "skipped"  # it is the one that is kept
    assert again.outcomes["Keep graphs"] == "skipped"


def test_a_damaged_checkpoint_is_named_on_the_pull_request(later: Place, cli: Cli) -> None:
    done = later.pull(damaged)
    assert done.failed
    failed = [name for name, outcome in done.outcomes.items() if outcome == "failure"]
    assert failed == ["Compare with the last verified version", "Verdict", "1"]
    assert done.outcomes["Keep the baseline"] == "skipped"
    assert {k: done.outputs[k] for k in ("verdict", "verify", "compare")} == {
        "verdict": "FAIL",
        "verify": "PASS",  # the files are true to that checkpoint
        "compare": "FAIL",
    }
    assert later.comment == done.summary
    mark, title, _, against, _, what, much, *_ = later.comment.splitlines()
    assert mark == "<!-- vampnet-onnx ci: vampnet-onnx -->"
    assert title.startswith("## ❌ FAIL") and "may not land" in title
    assert against.startswith(
        "### ❌ FAIL: Against the last verified version, the new version departs"
    )
    assert what.startswith(
        f"- **coarse**, the error comes from {NORM}: **weight scaled by 1.5"
    )
    assert "relative_l2 is 0." in much and "must be at most 1e-5" in much
    link = f"server/{REPO}/actions/runs/{later.number})"
    assert "[The run, with the whole report](" in later.comment and link in later.comment
    assert "last verified version: made from another coarse.pth" in later.comment
    assert "Meant: give this pull request the label 'new checkpoint', and" in later.comment
    report = done.artifacts["vampnet-onnx-report"] / "report"
    assert json.loads((report / "badge.json").read_text("utf-8"))["color"] == "red"
    assert 'failures="1"' in (report / "compare" / "junit.xml").read_text("utf-8")

    # The commands of the comment run where the files are.
    elsewhere = later.checkout(damaged)
    shutil.copytree(done.artifacts["vampnet-onnx-versions"], elsewhere / "onnx-ci")
    (command,) = re.findall("`(vampnet-onnx localise .*?)`", later.comment)
    code, printed = later.served.bash(command, cwd=elsewhere, env=dict(os.environ))
    assert code == 1 and f"the error comes from {NORM}: weight scaled by 1.5" in printed

    # The next run of the pull request has one comment, too.
    assert not later.pull().failed
    assert later.comment.splitlines()[1].startswith("## ✅ PASS")


def test_a_departure_that_is_meant_is_told_and_lands(later: Place) -> None:
    done = later.pull(damaged, labels=("bug", "new checkpoint"))
    assert not done.failed
    assert done.outcomes["Compare with the last verified version"] == "failure"
    assert done.outputs["verdict"] == "PASS" and done.outputs["compare"] == "FAIL"
    assert "this may land" in later.comment and NORM in later.comment


def test_a_defect_of_the_export_is_named_by_both_checks(later: Place) -> None:
    done = later.pull(before={BEFORE_VERIFY: lambda: exported_wrong(later.workspace)})
    assert done.failed and done.outputs["verify"] == done.outputs["compare"] == "FAIL"
    assert float(done.outputs["headroom"]) < 1
    verified, compared = later.comment.split("### ❌ FAIL: Against the last verified version")
    assert "### ❌ FAIL: Against its checkpoint" in verified
    assert f"**coarse**, the error comes from {W_1}" in verified
    assert "weight scaled by 1.01" in verified and "weight scaled by 1.01" in compared
    assert (
        "localise onnx-ci/artifacts/mine/v1 --checkpoint checkpoints/mine --case" in verified
    )
    assert "look at the export" in compared


def test_a_file_that_was_changed_after_the_export_is_refused(later: Place) -> None:
    done = later.pull(before={BEFORE_VERIFY: lambda: altered(later.workspace)})
    assert done.failed and done.outputs["headroom"] == ""
    assert "not what the manifest vouches for" in later.comment.splitlines()[3]
    assert "its line above says what to put right" in later.comment
    assert "gh run download" not in later.comment  # no command to run


def test_a_checkpoint_that_cannot_be_read_is_told(later: Place) -> None:
    done = later.pull(unreadable)
    assert done.failed and done.outcomes[BEFORE_VERIFY] == "skipped"
    assert "Against its checkpoint, export: checkpoints/mine/coarse.pth: " in later.comment
    assert (done.artifacts["vampnet-onnx-report"] / "report" / "export.log").is_file()


def test_a_fork_has_the_summary_and_the_comment_of_the_second_workflow(later: Place) -> None:
    later.github.may_write = False
    done = later.pull(damaged)
    assert done.outcomes["Comment"] == "success" and not later.github.comments
    assert "docs/ci says what comments for forks" in done.log and NORM in done.summary
    later.github.may_write = True
    later.github.pulls = [{"number": 5, "head": {"label": "someone:topic", "sha": "abc"}}]
    ended = {
        "event": "pull_request",
        "id": 1,
        "conclusion": "failure",
        "head_branch": "topic",
        "head_sha": "abc",
        "head_repository": {"owner": {"login": "someone"}, "full_name": "someone/models"},
        "html_url": "https://server/run/1",
    }

    def comments() -> Job:
        later.checkout()
        runner = later.runner("workflow_run", {"workflow_run": ended})
        return runner.workflow(DOCS / "github-forks.yml", {})

    # What the fork wrote itself is never posted.
    report = done.artifacts["vampnet-onnx-report"] / "report"
    forged = (report / "comment.md").read_text("utf-8").splitlines()[0] + "\n@everyone"
    (report / "comment.md").write_text(forged)
    found = report / "compare" / "report.json"
    sound = found.read_bytes()
    found.write_text("{}")
    assert comments().failed and not later.github.comments
    found.write_bytes(sound)
    assert not comments().failed
    assert NORM in later.comment and "❌ FAIL" in later.comment and "@" not in later.comment


def test_checkpoints_of_a_hub_are_fetched_once(
    later: Place, nano: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {path.name: path.read_bytes() for path in nano.iterdir()}
    given = {"checkpoint": "checkpoints/fetched", "fetch_repo": "somebody/music"}
    given["fetch_revision"] = COMMIT
    with (
        own_world(monkeypatch, later.folder / "hf"),
        serve(Hub("somebody/music", files)) as hub,
    ):
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        first = later.action("schedule", **given)
        asked = len(hub.downloads())
        again = later.action("schedule", **given)
        wrong = later.action("schedule", **given | {"fetch_revision": "0" * 40})
    assert not first.failed and not again.failed and again.outputs["verdict"] == "PASS"
    assert asked == 3 == len(hub.downloads())
    assert wrong.failed and "fetch: somebody/music" in wrong.summary


def test_a_baseline_is_a_folder_or_a_file_of_a_release(
    later: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    (good,) = (later.folder / "caches").glob("vampnet-onnx-baseline-*/onnx-ci/baseline")
    remote = later.folder / "server" / REPO
    subprocess.run(["git", "init", "-q", "--bare", str(remote)], check=True)

    def badge() -> str:
        """Return the colour of the badge on its branch, where nothing else is."""
        git = ["git", "-C", str(remote)]
        listed = subprocess.check_output([*git, "ls-tree", "--name-only", "badge"], text=True)
        assert listed.split() == ["badge.json"]
        shown = subprocess.check_output([*git, "show", "badge:badge.json"])
        return str(json.loads(shown)["color"])

    packed = shutil.make_archive(str(later.folder / "mine"), "zip", good)
    later.github.assets["mine.zip"] = Path(packed).read_bytes()
    configured = later.folder / "gitconfig"
    to = f'[url "{later.folder.as_uri()}/server/"]\n\tinsteadOf = https://server/\n'
    configured.write_text(to)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(configured))
    release = {"baseline": "release:v1/mine.zip", "badge_branch": "badge"}
    told = later.action("schedule", **release)
    assert not told.failed and told.outputs["compare"] == "PASS" and badge() == "brightgreen"
    assert told.outcomes["Make this version the next baseline"] == "skipped"
    told = later.action("schedule", **release | {"baseline": "release:v1/other.zip"})
    assert told.failed and told.outputs["verify"] == "PASS" and badge() == "red"
    assert told.outputs["compare"] == "FAIL" and "has no file other.zip" in told.summary

    def from_folder(workspace: Path) -> None:
        shutil.copytree(good, workspace / "verified" / "v3")
        damaged(workspace)

    told = later.action("schedule", from_folder, baseline="verified")
    assert told.failed and told.outputs["compare"] == "FAIL" and NORM in told.summary


def gitlab(branch: str) -> tuple[str, dict[str, str]]:
    """Return what GitLab runs of a job, and the variables that it sets."""
    job = read_yaml(DOCS / "gitlab.yml")["vampnet-onnx"]
    variables = {k: v for k, v in job["variables"].items() if "$" not in v}
    names = {"CI_COMMIT_BRANCH": branch, "CI_DEFAULT_BRANCH": "main"}
    return "\n".join(job["script"]), variables | names


def shell(baseline: str) -> tuple[str, dict[str, str]]:
    script = f"{DOCS / 'check.sh'} checkpoints/mine {baseline}"
    return script, {}


def test_gitlab_and_a_shell_say_the_same(later: Place) -> None:
    place, workspace = later, later.checkout()

    def run(asked: tuple[str, dict[str, str]]) -> int:
        script, variables = asked
        code, place.log = place.served.bash(
            script, cwd=workspace, env={**os.environ, **variables}
        )
        return code

    def comment() -> str:
        return (workspace / "onnx-ci/report/comment.md").read_text("utf-8")

    assert run(gitlab("main")) == 0
    assert (workspace / "onnx-ci" / "baseline" / "verification.json").is_file()
    kept = Path(shutil.copytree(workspace / "onnx-ci" / "baseline", workspace / "kept" / "v1"))
    damaged(workspace)
    assert run(gitlab("")) == 1 and NORM in comment()
    outcome = (workspace / "onnx-ci/report/outcome.env").read_text("utf-8")
    assert "verdict=FAIL\n" in outcome and "compare=FAIL\n" in outcome
    shutil.rmtree(workspace / "onnx-ci")
    assert run(shell(str(kept))) == 1 and NORM in comment()
    assert run(shell("")) == 1  # with what is there already
    shutil.copy(place.checkpoint / "coarse.pth", workspace / "checkpoints" / "mine")
    assert run(shell("")) == 0 and "✅ PASS" in comment()
    # The version of the last run may be named, though this run makes its own in its place.
    shutil.rmtree(workspace / "onnx-ci" / "baseline")
    damaged(workspace)
    assert run(shell("onnx-ci/artifacts")) == 1 and NORM in comment()
    # A departure that is meant is what the next run is compared with.
    script, _ = shell("")
    assert run((script, {"DEPARTURES": "tell"})) == 0 and NORM in comment()
    assert run((script, {})) == 0 and NORM not in comment()
    unreadable(workspace)
    assert run(shell("")) == 1 and "Against its checkpoint, export: " in comment()
