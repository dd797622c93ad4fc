"""VampNet checkpoints to ONNX files one can trust, with the proof."""
