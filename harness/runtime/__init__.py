"""Live counts from inside the service under test."""
