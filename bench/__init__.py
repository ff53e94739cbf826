"""Benchmarks. Each measures the harness and other tools in one run, and reports ratios. They are not tests."""
