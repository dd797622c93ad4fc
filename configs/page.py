"""The page of every configuration key, ``docs/configuration.md``.

``python -m vampnet_onnx.configs.page > docs/configuration.md`` writes it again.
"""

import json
import sys
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from .config import Config, load_gates
from .packaged import shipped

_HEAD = """\
# Configuration

`release CONFIG`, and `--config FILE` of other commands, take a TOML file. What it leaves out
comes from [configs/defaults.toml](../configs/defaults.toml). Paths of inputs are relative to
the file, paths of outputs to the working folder. An unknown key, or a value that cannot be, is
refused by name. Made from the code by `python -m vampnet_onnx.configs.page`; a test holds it.
"""

_GATES = """\

## `[gates.COMPONENT.METRIC]`

A table with `limit = NUMBER` moves one gate of `verify`. What each is for, and why its limit
is what it is, stands beside it in [configs/gates.toml](../configs/gates.toml). A version that
is held to looser limits than the shipped ones does not count as verified. Those of `coarse`
and `c2f` are of the component `transformer`.

| component | metrics |
|---|---|
"""


def page() -> str:
    """Return the page, in Markdown."""
    return "".join(_lines())


def _lines() -> Iterator[str]:
    defaults = shipped("defaults.toml")
    yield _HEAD
    own = {name: f for name, f in Config.model_fields.items() if f.description}
    yield from _table("Of the file itself", own, {})
    for section, field in Config.model_fields.items():
        kind: Any = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _table(f"`[{section}]`", kind.model_fields, defaults.get(section, {}))
    yield _GATES
    for kind, rules in load_gates().kinds.items():
        yield f"| `{kind}` | {', '.join(f'`{name}`' for name in rules)} |\n"


def _table(title: str, keys: dict[str, Any], defaults: dict[str, Any]) -> Iterator[str]:
    yield f"\n## {title}\n\n| key | if left out | what it says |\n|---|---|---|\n"
    for name, field in keys.items():
        if name in defaults:
            left_out = f"`{json.dumps(defaults[name])}`"
        else:
            left_out = "must be given" if field.is_required() else ""
        yield f"| `{name}` | {left_out} | {field.description} |\n"


if __name__ == "__main__":
    sys.stdout.write(page())
