"""What is exported: one file a component."""
