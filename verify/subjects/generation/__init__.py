"""Whole generations: codes in, a variation of them and its audio out."""

from .subject import SUBJECTS

__all__ = ["SUBJECTS"]
