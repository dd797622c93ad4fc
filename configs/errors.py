"""The errors a person can cause or must repair, with the exit code each one means.

Everything that refuses an input raises one of these with a message that names the
offending key, value or file and the way out; the command line turns it into one line on
standard error and the exit code.  Any other exception is a defect of ours.
"""


class InputError(Exception):
    """Bad usage, configuration or input: exit code 2."""

    exit_code = 2


class EnvironmentLacksError(Exception):
    """The environment cannot do what was asked (a missing package, say): exit code 3."""

    exit_code = 3


class NotFiniteError(Exception):
    """A model computed NaN or infinity: exit code 1, like the gate that forbids it."""

    exit_code = 1


_LONGEST_SAID = 300  # letters; libraries quote whole headers of damaged files


def said(error: Exception) -> str:
    """Return what a library's error says at its root: on one line, and never long."""
    while isinstance(error.__cause__, Exception):
        error = error.__cause__
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _LONGEST_SAID else text[: _LONGEST_SAID - 1] + "…"


def nearest(name: str, known: list[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the known name closest to `name`, or nothing."""
    import difflib

    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""
