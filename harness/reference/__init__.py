"""The reference health/SSE service: a target like any other."""
