"""What is heard of a form: variations of music by it and by the reference, seed by seed."""

from .subject import SUBJECTS

__all__ = ["SUBJECTS"]
