"""The supply chain: pins with hashes, actions by commit, and an audit that can fail."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
import zipfile
from pathlib import Path

import pytest

from tools import audit
from tools.advisories import matches

ROOT = Path(__file__).parents[2]
LOCKS = ("constraints.txt", "tools/requirements.txt", "deploy/requirements.txt")
WORKFLOWS = [
    *sorted((ROOT / ".github" / "workflows").glob("*.yml")),
    *sorted((ROOT / ".github" / "actions").glob("*/action.yml")),
]
USES = re.compile(r"^\s*-?\s*uses:\s*(\S+)", re.MULTILINE)
BY_COMMIT = re.compile(r"^[\w.-]+/[\w./-]+@[0-9a-f]{40}$")


@pytest.mark.parametrize("name", LOCKS)
def test_every_pin_has_a_hash_and_no_file_has_an_address(name: str) -> None:
    text = (ROOT / name).read_text()
    entries = re.split(r"\n(?=\S)", text)
    pinned = [entry for entry in entries if not entry.startswith("#")]
    assert pinned
    for entry in pinned:
        first, *hashes = (line.strip(" \\") for line in entry.strip().splitlines())
        assert re.fullmatch(r"[a-z0-9-]+==[\w.+!-]+", first), first
        assert hashes, first
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", each) for each in hashes), first
    assert "://" not in text


def test_the_installation_refuses_a_package_without_its_hash() -> None:
    """Every `pip install` of the set-up checks hashes; the project itself is the only package without one."""
    recipe = (ROOT / "Makefile").read_text().partition("\n\nreproduce:")[0]
    installs = [line for line in recipe.splitlines() if "pip install" in line]
    assert [line for line in installs if "--require-hashes" not in line and "--no-deps" not in line] == []
    assert any("--require-hashes --requirement constraints.txt" in line for line in installs)


def test_actions_are_pinned_by_commit() -> None:
    sources = [*WORKFLOWS, ROOT / "harness" / "cli" / "init.py"]
    used = [(path.name, action) for path in sources for action in USES.findall(path.read_text())]
    assert {name for name, _ in used} >= {"ci.yml", "nightly.yml", "release.yml", "init.py", "action.yml"}
    # An action of this repository is of the same commit.
    assert [each for each in used if not BY_COMMIT.match(each[1]) and not each[1].startswith("./")] == []


def installed(folder: Path, name: str, version: str, content: bytes = b"x = 1\n") -> Path:
    """A package on disk, with the RECORD that an installer writes."""
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    module = folder / f"{name}.py"
    module.write_bytes(content)
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    (info / "RECORD").write_text(f"{name}.py,sha256={digest},{len(content)}\n{info.name}/RECORD,,\n")
    return module


def test_the_audit_names_packages_that_are_not_the_pinned_ones(tmp_path: Path) -> None:
    installed(tmp_path, "good", "1.0")
    installed(tmp_path, "other", "2.0")
    installed(tmp_path, "stranger", "3.0")
    changed = installed(tmp_path, "changed", "4.0")
    changed.write_bytes(b"import os\n")
    missing = installed(tmp_path, "missing", "5.0")
    missing.unlink()
    pinned = {"good": "1.0", "other": "2.1", "changed": "4.0", "missing": "5.0"}
    assert audit.differences(pinned, str(tmp_path)) == [
        "changed: changed.py differs from its RECORD",
        "missing: missing.py (missing) differs from its RECORD",
        "other 2.0 is installed, 2.1 is pinned",
        "stranger 3.0 is installed and not pinned",
    ]


def advisory(name: str, *, versions: tuple[str, ...] = (), **events: str) -> dict[str, object]:
    span = {"type": "ECOSYSTEM", "events": [{kind.rstrip("_"): at} for kind, at in events.items()]}
    return {
        "id": f"PYSEC-{name}",
        "summary": "bad",
        "affected": [
            {"package": {"ecosystem": "PyPI", "name": name}, "versions": list(versions), "ranges": [span]}
        ],
    }


@pytest.mark.parametrize(
    ("one", "affected"),
    [
        (advisory("My.Package", versions=("1.5.0",)), True),
        (advisory("my-package", versions=("1.4",)), False),
        (advisory("my-package", introduced="0", fixed="1.5"), False),
        (advisory("my-package", introduced="0", fixed="1.5.1"), True),
        (advisory("my-package", introduced="1.6"), False),
        (advisory("my-package", introduced="1.0", last_affected="1.5"), True),
        (advisory("my-package", introduced="1.0", last_affected="1.4"), False),
        (advisory("another", introduced="0"), False),
        ({**advisory("my-package", introduced="0"), "withdrawn": "2026-01-01T00:00:00Z"}, False),
    ],
)
def test_an_exported_advisory_matches_exactly_the_versions_that_it_affects(
    one: dict[str, object], affected: bool
) -> None:
    assert bool(matches({"my-package": "1.5"}, [one])) is affected


def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["audit", "--constraints", str(ROOT / "constraints.txt"), *words])
    code = audit.main()
    return code, capsys.readouterr().out


def test_the_audit_works_offline_with_an_export(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "differences", lambda _: [])  # these packages are checked above
    export = tmp_path / "all.zip"
    with zipfile.ZipFile(export, "w") as archive:
        archive.writestr("A.json", json.dumps(advisory("click", introduced="0")))
        archive.writestr("B.json", json.dumps(advisory("unheard-of", introduced="0")))
    code, said = run(capsys, monkeypatch, "--advisories", str(export))
    assert code == audit.FOUND
    assert "click 8." in said
    assert "PYSEC-click" in said
    assert "unheard-of" not in said
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "B.json").write_text(json.dumps(advisory("unheard-of", introduced="0")))
    code, said = run(capsys, monkeypatch, "--advisories", str(tmp_path / "folder"))
    assert (code, "vulnerabilities: none known" in said) == (audit.CLEAN, True)


@pytest.mark.parametrize(
    ("printed", "code", "words"),
    [
        ({"dependencies": [{"name": "a", "skip_reason": "not found"}]}, audit.UNKNOWN, "for 1 of 1 packages"),
        ({"dependencies": [{"name": "a", "version": "1", "vulns": []}]}, audit.CLEAN, "none known"),
        (
            {
                "dependencies": [
                    {"name": "a", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]},
                    {"name": "b", "skip_reason": "not found"},
                ]
            },
            audit.FOUND,
            "a 1: CVE-1, fixed in 2",
        ),
        (None, audit.UNKNOWN, "ConnectionError: no route"),
    ],
)
def test_a_database_that_does_not_answer_is_unknown_and_never_clean(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    printed: object,
    code: int,
    words: str,
) -> None:
    monkeypatch.setattr(audit, "differences", lambda _: [])
    tool = tmp_path / "pip-audit"
    body = (
        "echo 'ConnectionError: no route' >&2; exit 1" if printed is None else f"echo '{json.dumps(printed)}'"
    )
    tool.write_text(f"#!/bin/sh\n{body}\n")
    tool.chmod(0o700)
    found, said = run(capsys, monkeypatch, "--pip-audit", str(tool))
    assert found == code
    assert words in said
