"""docs/report.png: the report of a leak, from a run of today, as Chromium shows it (``make picture``)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "report.png"
SIZE = "1280,1320"
TIMEOUT = 300.0  # seconds


def main() -> int:
    """Guard the leaky example and take the picture; the exit code."""
    chromium = shutil.which("chromium")
    if chromium is None:
        print("chromium is not installed: apt-get install chromium", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        # A folder of its own: the report then names neither this checkout nor its branch.
        service = Path(folder) / "service"
        service.mkdir()
        shutil.copy(ROOT / "examples" / "aiohttp_app.py", service)
        out = service / "run"
        guard = (
            sys.executable,
            "-m",
            "harness.cli",
            "guard",
            "--quiet",
            "--retention",
            "0",
            "--out",
            out.name,
        )
        url = ("--url", "http://127.0.0.1:{port}/events", "--", "python", "aiohttp_app.py")
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = os.environ | {"LEAKY": "1", "HARNESS_HISTORY": "none", "PATH": path}
        done = subprocess.run((*guard, *url), cwd=service, env=environment, timeout=TIMEOUT, check=False)
        if done.returncode != 1:
            print(f"the guard ended with {done.returncode}; expected 1: leaking", file=sys.stderr)
            return 1
        flags = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={SIZE}")
        show = (chromium, *flags, f"--user-data-dir={folder}/profile", f"--screenshot={PICTURE}")
        subprocess.run(
            (*show, (out / "report.html").as_uri()), capture_output=True, timeout=TIMEOUT, check=True
        )
    print(PICTURE.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
