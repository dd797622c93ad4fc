"""Whole generations: codes in, a variation of them and its audio out."""
