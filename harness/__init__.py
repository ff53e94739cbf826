"""Load and leak-regression test harness for long-lived streaming services."""

__version__ = "0.1.0"
