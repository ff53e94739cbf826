"""Remedies that were tried or recommended against the crash, one per module; each can be switched on alone.

A module has ``SUMMARY`` (what it does) and ``install(blueprint)``; ``ORDER`` where it must come after
others (default 0). Its name, with hyphens, is the name on the command line.
"""
