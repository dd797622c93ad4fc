"""What runs exported files in the execution matrix: one interface, a file a kind of it."""
