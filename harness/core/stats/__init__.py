"""Statistics in pure Python: distributions, evidence, fits and change points."""
