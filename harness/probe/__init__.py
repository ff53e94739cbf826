"""Readings of one process tree, from outside."""
