"""pytest plugin: guard any service from a test."""
