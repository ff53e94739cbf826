"""Planted faults, one per module."""
