"""Checkpoint files: opened strictly, written, made of random weights."""
