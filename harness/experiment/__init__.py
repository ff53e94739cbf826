"""Target, broker, swarm and probe brought together: a setup in, a trial out."""
