"""Checkpoint to ONNX: passes over modules and graphs, one exporter per component."""
