"""The decoder against other implementations on generated streams."""
