"""How a verified version gets to others: into a folder, or to a model hub."""
