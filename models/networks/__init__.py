"""The networks in PyTorch, under the published state-dict names."""
