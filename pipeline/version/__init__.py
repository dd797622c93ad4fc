"""The components of an opened version, and the sessions they run in."""
