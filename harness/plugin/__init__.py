"""The parts of the pytest plugin that ``harness.pytest_plugin`` imports only when they are used."""
