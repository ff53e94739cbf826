"""What the pytest plugin does once it is used; ``harness.pytest_plugin`` imports it then, never before."""
