"""Fetching the published checkpoints."""
