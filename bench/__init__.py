"""Benchmarks: ours and its rivals in one run, as ratios. None of this is part of the tests."""
