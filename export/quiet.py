"""Keeping a library's own notices from a person, where the checks here say what matters."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet(logger: str, below: int) -> Iterator[None]:
    """Drop warnings, and what a logger says below a level."""
    log = logging.getLogger(logger)
    level = log.level
    log.setLevel(below)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        log.setLevel(level)
