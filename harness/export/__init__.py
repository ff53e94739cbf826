"""Live figures for other tools."""
