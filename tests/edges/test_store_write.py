"""Replacing a file: all or nothing, with the same permissions, and never through a link of another user."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from harness.core.errors import StoreError
from harness.store.write import check_output, failure, make_directory, replace_file


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_a_new_file_is_private(tmp_path: Path) -> None:
    replace_file(tmp_path / "new", b"1")
    assert (tmp_path / "new").read_bytes() == b"1"
    assert mode(tmp_path / "new") == 0o600


def test_an_existing_file_keeps_its_mode(tmp_path: Path) -> None:
    there = tmp_path / "budgets.toml"
    there.write_bytes(b"old")
    there.chmod(0o644)
    replace_file(there, b"new")
    assert there.read_bytes() == b"new"
    assert mode(there) == 0o644


def test_a_link_to_the_output_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    real, link = tmp_path / "kept" / "real.toml", tmp_path / "budgets.toml"
    real.write_bytes(b"old")
    link.symlink_to(real)
    replace_file(link, b"new")
    assert link.is_symlink()
    assert real.read_bytes() == b"new"


def test_a_planted_link_in_place_of_the_draft_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"theirs")
    (tmp_path / ".verdict.json.new").symlink_to(victim)
    replace_file(tmp_path / "verdict.json", b"ours")
    assert victim.read_bytes() == b"theirs"
    assert (tmp_path / "verdict.json").read_bytes() == b"ours"
    assert sorted(os.listdir(tmp_path)) == ["verdict.json", "victim"]


def test_links_in_a_circle_and_a_folder_are_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(StoreError, match="cannot write"):
        replace_file(tmp_path / "a", b"1")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError, match="cannot write"):
        replace_file(tmp_path / "folder", b"1")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "folder"]


def test_standard_output_is_written_to_and_a_device_stays_one() -> None:
    say = "from pathlib import Path; from harness.store.write import replace_file; replace_file(Path('{}'), b'told')"
    done = subprocess.run([sys.executable, "-c", say.format("/dev/stdout")], capture_output=True, check=True)
    assert done.stdout == b"told"
    replace_file(Path("/dev/null"), b"1")
    assert Path("/dev/null").is_char_device()
    with pytest.raises(StoreError, match="No space left"):
        replace_file(Path("/dev/full"), b"1")


def test_a_link_to_a_device_and_a_named_pipe_stay_what_they_are(tmp_path: Path) -> None:
    """As root, a file in place of /dev/null would break the machine."""
    (tmp_path / "null").symlink_to("/dev/null")
    replace_file(tmp_path / "null", b"1")
    assert (tmp_path / "null").is_symlink()
    assert Path("/dev/null").is_char_device()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(StoreError, match=r"cannot write .*/pipe: No such device or address"):
        replace_file(pipe, b"told")  # it has no reader
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        replace_file(pipe, b"told")
        assert os.read(reader, 100) == b"told"
    finally:
        os.close(reader)
    assert pipe.is_fifo()


def test_a_file_of_a_memory_file_system_is_replaced_whole() -> None:
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as file:
        path = Path(file.name)
        replace_file(path, b"a long text")
        replace_file(path, b"short")
        assert path.read_bytes() == b"short"


def test_standard_output_that_is_a_file_keeps_what_was_printed(tmp_path: Path) -> None:
    program = (
        "import os, pathlib; from harness.store.write import replace_file; os.write(1, b'before ');"
        "replace_file(pathlib.Path('/dev/stdout'), b'told')"
    )
    with (tmp_path / "out").open("wb") as out:
        subprocess.run([sys.executable, "-c", program], stdout=out, check=True)
    assert (tmp_path / "out").read_bytes() == b"before told"


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("file/below", "Not a directory"),
        ("file/below/it", "Not a directory"),
        ("absent/file", "No such file or directory"),
        ("folder", "Is a directory"),
        ("loop", "loop"),
        ("x" * 300, "File name too long"),
    ],
)
def test_a_place_where_no_file_can_be_is_one_error(place: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(StoreError, match=f"(?i)^cannot write .*{why}"):
        replace_file(tmp_path / place, b"x")
    assert sorted(tmp_path.iterdir()) == before


def test_an_output_is_checked_before_anything_is_written(tmp_path: Path) -> None:
    check_output("--json", None)
    check_output("--json", tmp_path / "new")
    check_output("--json", Path("/dev/null"))
    (tmp_path / "folder").mkdir()
    for place, why in (
        ("folder", "it is a directory; expected a file"),
        ("absent/file", "no such directory; expected a directory that can be written"),
        ("x" * 300, "File name too long; expected a file"),
    ):
        with pytest.raises(StoreError, match=f"^--json .*{why}$"):
            check_output("--json", tmp_path / place)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EACCES])
def test_a_failure_names_the_fix(number: int) -> None:
    text = str(failure("write", Path("/x"), OSError(number, os.strerror(number))))
    full = number != errno.EACCES
    assert text.startswith(f"cannot write /x: {os.strerror(number)}; ")
    assert text.endswith(
        "free some space or choose another output folder" if full else "choose another place"
    )
    assert str(failure("write", Path("/x"), OSError("odd"))) == "cannot write /x: odd; choose another place"


def test_a_folder_is_made_with_those_above_it_and_is_private(tmp_path: Path) -> None:
    make_directory(tmp_path / "a" / "b" / "c")
    assert stat.S_IMODE((tmp_path / "a" / "b" / "c").stat().st_mode) == 0o700
    make_directory(tmp_path / "a" / "b" / "c")
    with pytest.raises(FileExistsError):
        make_directory(tmp_path / "a" / "b" / "c", fresh=True)
