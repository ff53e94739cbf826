"""``make audit``: are the installed packages the pinned ones, unchanged, and is a vulnerability known of any?

1. Offline: every installed package has the version that constraints.txt pins, and its files have the hashes that its
   own RECORD lists.
2. With a network: pip-audit asks the advisory database for every pin.
3. Without one: ``--advisories FILE`` takes an export in the OSV format (a zip file or a folder of JSON files).

Exit codes: 0 nothing found; 1 a difference or a known vulnerability; 2 usage; 3 the database could not be asked.
"""

from __future__ import annotations

import argparse
import base64
import csv
import hashlib
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from tools.advisories import matches

PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)")
OWN = "sse-leak-harness"
TOOLS = {"pip"}  # comes with the virtual environment
TIMEOUT = 300.0  # seconds for pip-audit to ask about every pin
CLEAN, FOUND, USAGE, UNKNOWN = 0, 1, 2, 3


def pins(constraints: Path) -> dict[str, str]:
    """Canonical name → pinned version."""
    lines = constraints.read_text(encoding="utf-8").splitlines()
    return {canonicalize_name(found[1]): found[2] for line in lines if (found := PIN.match(line))}


def differences(pinned: dict[str, str], site: str | None = None) -> list[str]:
    """One line for each installed package that is not pinned, has another version, or has changed files.
    site: the folder of packages to check, None for those of this interpreter."""
    found = []
    for package in distributions(path=[site]) if site else distributions():
        name = canonicalize_name(package.metadata["Name"])
        if name == OWN or name in TOOLS:
            continue
        if name not in pinned:
            found.append(f"{name} {package.version} is installed and not pinned")
        elif package.version != pinned[name]:
            found.append(f"{name} {package.version} is installed, {pinned[name]} is pinned")
        found.extend(f"{name}: {path} differs from its RECORD" for path in changed(package))
    return sorted(found)


def changed(package: Distribution) -> Iterator[str]:
    """Paths whose contents do not have the hash that RECORD lists (wheel specification, the RECORD file)."""
    for path, digest, _ in csv.reader((package.read_text("RECORD") or "").splitlines()):
        algorithm, _, expected = digest.partition("=")
        if not expected:
            continue  # RECORD itself, and compiled files, have none
        try:
            data = Path(str(package.locate_file(path))).read_bytes()
        except OSError:
            yield f"{path} (missing)"
            continue
        actual = base64.urlsafe_b64encode(hashlib.new(algorithm, data).digest()).rstrip(b"=").decode()
        if actual != expected:
            yield path


def exported(source: Path) -> Iterator[dict[str, Any]]:
    """Advisories of a zip file or a folder."""
    if source.is_dir():
        for path in sorted(source.glob("*.json")):
            yield json.loads(path.read_bytes())
        return
    with zipfile.ZipFile(source) as archive:
        for name in archive.namelist():
            if name.endswith(".json"):
                yield json.loads(archive.read(name))


def asked(pip_audit: Path, constraints: Path) -> tuple[list[str], str]:
    """Vulnerabilities that the database lists, and why it could not be asked about everything ("": it was).
    pip-audit alone reports packages that it could not look up as if nothing were known of them."""
    command = [str(pip_audit), "--disable-pip", "--no-deps", "--progress-spinner", "off", "-f", "json"]
    try:
        done = subprocess.run(
            [*command, "-r", str(constraints)], capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
        report = json.loads(done.stdout)["dependencies"]
    except (OSError, subprocess.TimeoutExpired) as error:
        return [], f"{type(error).__name__}: {error}"
    except (ValueError, KeyError):
        return [], (done.stderr.strip().splitlines() or ["pip-audit printed no report"])[-1][:200]
    found = [
        f"{each['name']} {each['version']}: {one['id']}, fixed in {', '.join(one['fix_versions']) or 'no version yet'}"
        for each in report
        for one in each.get("vulns", ())
    ]
    skipped = [each["name"] for each in report if "skip_reason" in each]
    if skipped:
        return found, f"the advisory database does not answer for {len(skipped)} of {len(report)} packages"
    return found, ""


def main() -> int:
    """Print the known vulnerabilities of the pinned packages; the exit code is 1 if there are any."""
    parser = argparse.ArgumentParser(prog="make audit", description=__doc__)
    parser.add_argument("--constraints", type=Path, default=Path("constraints.txt"))
    parser.add_argument("--advisories", type=Path, help="export of the PyPI advisories in the OSV format")
    parser.add_argument("--pip-audit", type=Path, default=Path(".venv/tools/bin/pip-audit"))
    options = parser.parse_args()
    pinned = pins(options.constraints)
    problems = differences(pinned)
    print(
        f"installed packages: {len(problems)} differ from the {len(pinned)} pins"
        if problems
        else f"installed packages: all are among the {len(pinned)} pins, their files unchanged"
    )
    unknown = ""
    if options.advisories:
        try:
            found = matches(pinned, exported(options.advisories))
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            parser.error(
                f"--advisories {options.advisories}: {error}; expected a zip file or folder of OSV JSON files"
            )
        problems += [
            f"{each.package} {each.version}: {each.advisory} {each.summary}, "
            f"fixed in {', '.join(each.fixed) or 'no version yet'}"
            for each in found
        ]
    else:
        listed, unknown = asked(options.pip_audit, options.constraints)
        problems += listed
    for problem in problems:
        print(f"  {problem}")
    if unknown:
        print(f"vulnerabilities: unknown: {unknown}.")
        print("  Run make audit with a network, or give it an export: make audit ARGS='--advisories all.zip'")
    elif not problems:
        print("vulnerabilities: none known")
    return FOUND if problems else UNKNOWN if unknown else CLEAN


if __name__ == "__main__":
    sys.exit(main())
