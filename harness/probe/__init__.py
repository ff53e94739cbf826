"""Reads one process tree from outside."""
