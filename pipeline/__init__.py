"""What runs on the artifacts alone: NumPy and ONNX Runtime, never torch."""
