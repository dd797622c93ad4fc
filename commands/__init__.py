"""One module a sub-command: options in, a flow called, results printed; no logic."""
