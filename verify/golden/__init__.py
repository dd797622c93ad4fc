"""Recorded sets: check, record."""
