"""``python -m harness.cli`` is ``harness``."""

from harness.cli import main

main()
