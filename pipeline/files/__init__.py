"""Files that people have: audio, codes, pictures."""
