"""Server-sent events: one decoder, its rules and its fast paths."""
