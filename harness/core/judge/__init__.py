"""Turns observations into a verdict: tests, findings, bounds and caveats."""
