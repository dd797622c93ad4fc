"""What is verified: cases, inputs, reference and comparison of every component."""
