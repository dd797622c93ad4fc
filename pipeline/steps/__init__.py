"""The steps from audio to audio, one module each."""
