"""What the published packages do around the networks: audio, masks, sampling, generation."""
