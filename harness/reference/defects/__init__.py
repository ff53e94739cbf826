"""Planted faults, one per module; each can be switched on alone.

A module has ``SUMMARY`` (what it does), ``SEEN`` (what an observer must see from outside) and
``install(blueprint)``. Its name, with hyphens, is the name on the command line.
"""
