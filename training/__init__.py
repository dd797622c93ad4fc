"""Training of the demo weights, from a music source of our own to checkpoint files.

Nothing of the toolkit depends on it: it writes files in the published format, which `models`
reads like any other.
"""
