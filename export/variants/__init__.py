"""Smaller and faster forms of an exported transformer, made of its graph."""
