"""Runs trials: starts target, broker, swarm and probe, and returns what was measured."""
