"""Export against reference: cases, backends, metrics, gates."""
