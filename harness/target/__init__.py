"""The service under test: spawned or attached, and waited for."""
