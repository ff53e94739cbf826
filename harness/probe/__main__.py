"""``python -m harness.probe`` prints readings; it needs the standard library alone."""

import sys

from harness.probe.print_readings import main

if __name__ == "__main__":
    sys.exit(main())
