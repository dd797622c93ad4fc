"""Running workflows and actions as GitHub's runner does: expressions, steps, caches.

What `run:` says is run by bash as it stands.  Of the actions that are used, caches and
artifacts are folders here, and those that set something up do nothing.
"""

from __future__ import annotations

import hashlib
import json
import operator
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from ruamel.yaml import YAML

from tests.support.served import Served

_TOKENS = re.compile(
    r"\s*(?:'((?:[^']|'')*)'|(\d+)|([A-Za-z_][\w.*-]*)|(&&|\|\||==|!=|!|[(),]))"
)
_PYTHON = {"&&": " and ", "||": " or ", "!": " not "}
_STATUS = ("always(", "success(", "failure(", "cancelled(")
_SETS_UP = ("actions/checkout", "actions/setup-python", "actions/setup-node")


def read_yaml(path: Path) -> Any:
    """Read a file as YAML 1.2, in which ``on`` is no truth value."""
    return YAML(typ="safe").load(path.read_text("utf-8"))


@dataclass
class Job:
    """What became of a run.

    Attributes:
        outcomes: of every step that has a name or an id: success, failure or skipped.
        outputs: of the action.
        summary: of the job, as Markdown.
        artifacts: folder of each artifact that was uploaded, by name.
        log: what the steps printed.
    """

    outcomes: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    summary: str = ""
    artifacts: dict[str, Path] = field(default_factory=dict)
    log: str = ""
    failed: bool = False


@dataclass
class Runner:
    """A machine that runs jobs in a workspace, with caches that stay from job to job.

    Attributes:
        workspace: a checkout of the repository that has the workflow.
        home: where caches and artifacts are kept.
        cli: runs the command line in the process of the tests.
        github: the context of that name, and the event.
        variables: further variables of the environment.
        left_out: beginnings of `run:` that are not run, and count as done.
        before: what is done to the workspace before a step, by its name.
    """

    workspace: Path
    home: Path
    served: Served
    github: dict[str, Any]
    event: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    before: dict[str, Callable[[], object]] = field(default_factory=dict)

    def workflow(self, path: Path, actions: Mapping[str, Path]) -> Job:
        """Run the only job of a workflow; `actions` says where those are that it uses."""
        (job,) = read_yaml(path)["jobs"].values()
        done = Job()
        scope = self._scope(inputs={}, vars={})
        if self._holds(job.get("if", ""), scope, done):
            self._steps(job["steps"], scope, done, actions)
        return done

    def action(self, folder: Path, given: Mapping[str, str], done: Job) -> dict[str, str]:
        """Run a composite action; returns its outputs."""
        action = read_yaml(folder / "action.yml")
        assert set(given) <= set(action["inputs"])
        scope = self._scope(inputs={})
        values = {
            n: self._text(i.get("default", ""), scope) for n, i in action["inputs"].items()
        }
        scope["inputs"] = values | dict(given)
        scope["action_path"] = str(folder)
        self._steps(action["runs"]["steps"], scope, done, {})
        return {n: self._text(o["value"], scope) for n, o in action["outputs"].items()}

    def _scope(self, **more: Any) -> dict[str, Any]:
        runner = {"os": "Linux", "arch": "X64"}
        context = {**self.github, "event": self.event, "workspace": str(self.workspace)}
        return {"github": context, "runner": runner, "steps": {}, **more}

    def _steps(
        self,
        steps: Iterable[Mapping[str, Any]],
        scope: dict[str, Any],
        done: Job,
        actions: Mapping[str, Path],
    ) -> None:
        at_end: list[Callable[[], None]] = []
        for number, step in enumerate(steps):
            name = step.get("name", step.get("id", str(number)))
            if not self._holds(step.get("if", ""), scope, done):
                outcome, outputs = "skipped", {}
            else:
                self.before.get(name, lambda: None)()
                outcome, outputs = self._step(step, scope, done, actions, at_end)
                if (
                    outcome == "failure"
                    and self._text(step.get("continue-on-error", "false"), scope) != "true"
                ):
                    done.failed = True
            done.outcomes[name] = outcome
            if "id" in step:
                scope["steps"][step["id"]] = {"outcome": outcome, "outputs": outputs}
        for save in at_end:
            save()

    def _step(
        self,
        step: Mapping[str, Any],
        scope: dict[str, Any],
        done: Job,
        actions: Mapping[str, Path],
        at_end: list[Callable[[], None]],
    ) -> tuple[str, dict[str, str]]:
        if "run" in step:
            return self._run(step, scope, done)
        used, _, revision = step["uses"].partition("@")
        given = {k: self._text(v, scope) for k, v in step.get("with", {}).items()}
        if used in actions:
            failed_before, done.failed = done.failed, False
            done.outputs = self.action(actions[used], given, done)
            own, done.failed = done.failed, failed_before
            return ("failure" if own else "success"), done.outputs
        assert re.fullmatch("[0-9a-f]{40}", revision), step["uses"]
        if used in ("actions/cache", "actions/cache/restore"):
            matched = self._restore(given)
            if used == "actions/cache" and matched != given["key"]:
                at_end.append(lambda: self._save(given))
            return "success", {"cache-matched-key": matched}
        if used == "actions/cache/save":
            self._save(given)
        elif used == "actions/upload-artifact":
            done.artifacts[given["name"]] = self._upload(given)
        elif used == "actions/download-artifact":
            there = self.home / "artifacts" / given["name"]
            shutil.copytree(there, self.workspace / given["path"])
        else:
            assert used in _SETS_UP, used
        return "success", {}

    def _run(
        self, step: Mapping[str, Any], scope: dict[str, Any], done: Job
    ) -> tuple[str, dict[str, str]]:
        script: str = step["run"]
        assert "${{" not in script, "what comes from outside goes through env"
        if script.startswith(self.left_out):
            return "success", {}
        files = {}
        for variable in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "GITHUB_EVENT_PATH"):
            files[variable] = self.home / variable
            files[variable].write_text("")
        files["GITHUB_EVENT_PATH"].write_text(json.dumps(self.event))
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("GITHUB_", "CI"))}
        environment = {
            **kept,
            **self.variables,
            **{name: str(path) for name, path in files.items()},
            "GITHUB_ACTION_PATH": scope.get("action_path", ""),
            **{k: self._text(v, scope) for k, v in step.get("env", {}).items()},
        }
        code, printed = self.served.bash(script, cwd=self.workspace, env=environment)
        done.log += f"\n--- {step.get('name', '')}\n{printed}"
        done.summary += files["GITHUB_STEP_SUMMARY"].read_text("utf-8")
        lines = files["GITHUB_OUTPUT"].read_text("utf-8").splitlines()
        outputs = {name: value for name, _, value in (line.partition("=") for line in lines)}
        return ("failure" if code else "success"), outputs

    # Caches and artifacts.

    def _found(self, patterns: str) -> list[Path]:
        lines = [line for line in patterns.splitlines() if line.strip()]
        return [
            path
            for line in lines
            if not line.startswith("/")  # of the machine: pip's own cache
            for path in sorted(self.workspace.glob(line.strip()))
        ]

    def _restore(self, given: Mapping[str, str]) -> str:
        place = self.home / "caches"
        place.mkdir(exist_ok=True)
        newest = sorted(place.iterdir(), key=lambda path: path.stat().st_ctime_ns)
        for asked in (given["key"], *given.get("restore-keys", "").split()):
            for kept in reversed(newest):
                key = unquote(kept.name)
                if key == asked or (asked != given["key"] and key.startswith(asked)):
                    shutil.copytree(kept, self.workspace, dirs_exist_ok=True)
                    return key
        return ""

    def _save(self, given: Mapping[str, str]) -> None:
        target = self.home / "caches" / quote(given["key"], safe="")
        if not target.exists():
            self._copy(given["path"], target, self.workspace)

    def _upload(self, given: Mapping[str, str]) -> Path:
        target = self.home / "artifacts" / given["name"]
        shutil.rmtree(target, ignore_errors=True)
        places = [Path(line) for line in given["path"].split("\n") if line]
        root = Path(os.path.commonpath(places)) if len(places) > 1 else places[0]
        self._copy(given["path"], target, self.workspace / root)
        return target

    def _copy(self, patterns: str, target: Path, root: Path) -> None:
        target.mkdir(parents=True)
        for path in self._found(patterns):
            place = target / path.relative_to(root)
            place.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                shutil.copytree(path, place, dirs_exist_ok=True)
            else:
                shutil.copy(path, place)

    # Expressions.

    def _holds(self, condition: str, scope: Mapping[str, Any], done: Job) -> bool:
        """Evaluate what stands behind ``if:``; without a word on it, all before succeeded."""
        text = condition.removeprefix("${{").removesuffix("}}").strip() or "success()"
        if not any(status in text for status in _STATUS):
            text = f"success() && ({text})"
        return bool(self._value(text, scope, done))

    def _text(self, template: object, scope: Mapping[str, Any]) -> str:
        if not isinstance(template, str):
            return str(template).lower() if isinstance(template, bool) else str(template)

        def one(match: re.Match[str]) -> str:
            value = self._value(match[1], scope, Job())
            return str(value).lower() if isinstance(value, bool) else str(value)

        return re.sub(r"\$\{\{(.*?)\}\}", one, template, flags=re.DOTALL)

    def _value(self, expression: str, scope: Mapping[str, Any], done: Job) -> Any:
        names: dict[str, Any] = {
            "f_always": lambda: True,
            "f_success": lambda: not done.failed,
            "f_failure": lambda: done.failed,
            "f_cancelled": lambda: False,
            "f_contains": operator.contains,
            "f_startsWith": str.startswith,
            "f_endsWith": str.endswith,
            "f_hashFiles": self._hash,
            "value": lambda path: _look_up(scope, path.split(".")),
        }
        # The grammar is that of Python but for a few signs; anything else is a KeyError.
        return eval(_as_python(expression), {"__builtins__": {}}, names)

    def _hash(self, *patterns: str) -> str:
        files = [
            path
            for pattern in patterns
            for path in sorted(self.workspace.glob(re.sub(r"\*\*$", "**/*", pattern)))
            if path.is_file()
        ]
        made = hashlib.sha256()
        for path in files:
            made.update(path.read_bytes())
        return made.hexdigest() if files else ""


def _as_python(expression: str) -> str:
    made, at, text = "", 0, expression.strip()
    while at < len(text):
        token = _TOKENS.match(text, at)
        assert token is not None, f"not understood: {text[at:]}"
        at = token.end()
        quoted, number, name, sign = token.groups()
        if quoted is not None:
            made += repr(quoted.replace("''", "'"))
        elif name is not None and text[at : at + 1] == "(":
            made += f"f_{name}"
        elif name is not None:
            made += {"true": "True", "false": "False"}.get(name) or f"value({name!r})"
        else:
            made += number or _PYTHON.get(sign, sign)
    return made


def _look_up(scope: Any, path: list[str]) -> Any:
    """Return what a path such as ``steps.a.outputs.b`` leads to; nothing is an empty text."""
    for number, part in enumerate(path):
        if part == "*":
            return [_look_up(item, path[number + 1 :]) for item in scope or []]
        scope = scope.get(part, "") if isinstance(scope, Mapping) else ""
    return scope


def parses(script: str) -> bool:
    """Return whether bash understands a script."""
    done = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True)
    return done.returncode == 0
