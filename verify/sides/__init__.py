"""Who computes: our models, the published packages, a recorded set, exported files."""
