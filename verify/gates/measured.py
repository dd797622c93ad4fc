"""What is measured of a file as a whole, not case by case."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Measured:
    """One value for a gate.

    Attributes:
        message: what is wrong and where, for a person.
        doubt: why a value that holds is no plain pass: what could not be looked at, or what
            was excused; empty where there is nothing to say.
        unjudged: the doubt is of what could not be looked at, not of what was and is excused.
        modules: paths of the modules that what is wrong belongs to, the first one first.
    """

    value: float
    message: str = ""
    doubt: str = ""
    modules: tuple[str, ...] = ()
    unjudged: bool = False
