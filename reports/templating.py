"""The templates' environment: what they can ask, and that no text gets past escaping."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from . import figures, summary
from .schema import Verdict


def environment(escape: Callable[[str], str], **options: Any) -> Environment:
    """Return an environment in which every text a template writes goes through `escape`.

    Args:
        escape: makes text harmless in the language of the template.
    """
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates", encoding="utf-8"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # Markup is a str too, and has been through here already.
        finalize=lambda value: escape(value) if type(value) is str else value,
        **options,
    )
    made.globals.update(Verdict=Verdict, summary=summary, figures=figures)
    return made
