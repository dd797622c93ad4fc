"""The harness tried on itself: planted defects and sound exports."""
