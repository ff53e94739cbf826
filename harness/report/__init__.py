"""The reports of a run, for people and for machines."""
