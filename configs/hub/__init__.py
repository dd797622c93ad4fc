"""What is got from a model hub: files intact, and the published checkpoints."""
