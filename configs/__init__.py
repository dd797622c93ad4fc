"""What every other folder agrees on: configuration, gates, errors.  Imports no sibling."""
