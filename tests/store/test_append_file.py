"""The file to which lines are appended: every line is whole, whatever other processes do to the file."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.host.append_file import AppendFile
from tests.store.kit import line, process

SMALL = """
import resource, sys
from pathlib import Path
from gateway.host.append_file import AppendFile

file = AppendFile(Path(sys.argv[1]))
file.append(b"before\\n")
limits = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), limits[1]))
for _ in range(int(sys.argv[3])):
    try:
        file.append(b"the first line\\nthe second line\\n")
        print("WRITTEN", flush=True)
    except OSError as error:
        print("refused", error.errno, flush=True)
if sys.argv[4] == "restart":
    file.close()
    file = AppendFile(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, limits)
file.append(b"after\\n")
file.append(b"and more\\n")
print("done", flush=True)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


@pytest.fixture
def file(path: Path) -> Iterator[AppendFile]:
    file = AppendFile(path)
    yield file
    file.close()


def test_each_append_adds_its_lines_and_nothing_else(file: AppendFile, path: Path) -> None:
    for number in range(100):
        file.append(b"line %d\n" % number)
    file.append(b"two\nat once\n")
    assert path.read_bytes() == b"".join(b"line %d\n" % number for number in range(100)) + b"two\nat once\n"


def test_the_existing_content_of_the_file_stays(path: Path, file: AppendFile) -> None:
    path.write_bytes(b"old\n")
    file.append(b"new\n")
    again = AppendFile(path)
    again.append(b"newer\n")
    again.close()
    assert path.read_bytes() == b"old\nnew\nnewer\n"


def test_the_file_is_not_created_before_the_first_line(path: Path) -> None:
    AppendFile(path)
    assert not path.exists()


def test_other_processes_may_append_to_the_file_too(file: AppendFile, path: Path) -> None:
    file.append(b"one\n")
    with path.open("ab") as other:
        other.write(b"of another\n")
    file.append(b"two\n")
    assert path.read_bytes() == b"one\nof another\ntwo\n"


def test_a_file_that_another_process_empties_is_written_from_its_start(file: AppendFile, path: Path) -> None:
    """logrotate `copytruncate`."""
    file.append(b"one\n")
    os.truncate(path, 0)
    file.append(b"two\n")
    assert path.read_bytes() == b"two\n"


class TestRotation:
    def test_a_new_file_put_in_place_of_a_renamed_one_gets_the_next_lines(self, file: AppendFile, path: Path) -> None:
        """logrotate `create`."""
        file.append(b"one\n")
        rotated = path.rename(path.with_name("audit.jsonl.1"))
        path.touch(0o640)
        file.append(b"two\n")
        assert (rotated.read_bytes(), path.read_bytes()) == (b"one\n", b"two\n")

    def test_a_renamed_file_is_replaced_by_a_new_one(self, file: AppendFile, path: Path) -> None:
        file.append(b"one\n")
        rotated = path.rename(path.with_name("audit.jsonl.1"))
        file.append(b"two\n")
        file.append(b"three\n")
        assert (rotated.read_bytes(), path.read_bytes()) == (b"one\n", b"two\nthree\n")

    def test_a_removed_file_is_replaced_by_a_new_one(self, file: AppendFile, path: Path) -> None:
        file.append(b"one\n")
        path.unlink()
        file.append(b"two\n")
        assert path.read_bytes() == b"two\n"

    def test_a_rotated_file_is_closed(self, file: AppendFile, path: Path) -> None:
        descriptors = Path("/proc/self/fd")
        if not descriptors.exists():
            pytest.skip("only Linux tells which files are open")
        for number in range(20):
            file.append(b"line\n")
            path.rename(path.with_name(f"audit.jsonl.{number}"))
        targets = [entry.readlink() for entry in descriptors.iterdir() if entry.is_symlink()]
        assert sum(target.parent == path.parent for target in targets) == 1

    def test_a_missing_folder_is_an_error_until_it_is_back(self, tmp_path: Path) -> None:
        folder = tmp_path / "logs"
        folder.mkdir()
        file = AppendFile(folder / "audit.jsonl")
        file.append(b"one\n")
        folder.rename(tmp_path / "gone")
        for _ in range(2):
            with pytest.raises(FileNotFoundError):
                file.append(b"two\n")
        folder.mkdir()
        file.append(b"two\n")
        file.close()
        assert (folder / "audit.jsonl").read_bytes() == b"two\n"


class TestATornLine:
    def test_a_torn_line_is_ended_before_the_next_one(self, path: Path, file: AppendFile) -> None:
        path.write_bytes(b'{"v": 1}\n{"v": 1, "ev')
        file.append(b"next\n")
        file.append(b"more\n")
        assert path.read_bytes() == b'{"v": 1}\n{"v": 1, "ev\nnext\nmore\n'

    def test_a_torn_line_in_a_file_that_a_rotation_put_there_is_ended_too(self, path: Path, file: AppendFile) -> None:
        file.append(b"one\n")
        path.rename(path.with_name("audit.jsonl.1"))
        path.write_bytes(b"torn")
        file.append(b"next\n")
        assert path.read_bytes() == b"torn\nnext\n"

    @pytest.mark.parametrize("refusals", [1, 2, 5])
    @pytest.mark.parametrize("then", ["go on", "restart"])
    @pytest.mark.parametrize("space", [7, 10, 21, 22, 23, 30])
    def test_a_full_disk_leaves_every_line_whole(self, path: Path, space: int, refusals: int, then: str) -> None:
        """The kernel writes what has room and refuses the rest; EFBIG by RLIMIT_FSIZE does what ENOSPC does."""
        with process(SMALL, path, space, refusals, then) as writer:
            told = [line(writer) for _ in range(refusals + 1)]
        assert told == ["refused 27"] * refusals + ["done"]

        lines = path.read_bytes().split(b"\n")
        assert (lines[0], lines[-3:]) == (b"before", [b"after", b"and more", b""])
        assert lines[1:-3] == [b"the first line"] * (space >= len(b"before\nthe first line\n"))

    def test_a_write_cut_between_two_lines_leaves_no_empty_line(self, path: Path) -> None:
        """An empty line is no JSON object, and every line of the audit log is one."""
        with process(SMALL, path, len(b"before\nthe first line\n"), 1, "go on") as writer:
            assert [line(writer), line(writer)] == ["refused 27", "done"]
        assert path.read_bytes() == b"before\nthe first line\nafter\nand more\n"


class TestPermissions:
    def test_a_new_file_is_for_its_owner_and_group_only(self, file: AppendFile, path: Path) -> None:
        before = os.umask(0o022)
        try:
            file.append(b"one\n")
        finally:
            os.umask(before)
        assert oct(stat.S_IMODE(path.stat().st_mode)) == "0o640"

    def test_the_permissions_of_an_existing_file_stay(self, file: AppendFile, path: Path) -> None:
        path.touch()
        path.chmod(0o604)
        file.append(b"one\n")
        assert oct(stat.S_IMODE(path.stat().st_mode)) == "0o604"

    def test_a_mode_can_be_asked_for(self, path: Path) -> None:
        file = AppendFile(path, mode=0o600)
        file.append(b"one\n")
        file.close()
        assert oct(stat.S_IMODE(path.stat().st_mode)) == "0o600"


def test_a_path_that_is_not_a_file_is_an_error_and_leaves_nothing_open(tmp_path: Path) -> None:
    file = AppendFile(tmp_path)
    with pytest.raises(IsADirectoryError):
        file.append(b"one\n")
    file.close()
    file.close()


UNREADABLE = """
import os, sys
from pathlib import Path
from gateway.host.append_file import AppendFile

folder = Path(sys.argv[1])
folder.chmod(0o300)
if os.geteuid() == 0:  # who may do everything could not be refused
    os.chown(folder, 65534, 65534)
    os.setgid(65534)
    os.setuid(65534)
file = AppendFile(folder / "events.jsonl")
file.append(b"one\\n")
file.sync()
print("synced", flush=True)
"""


def test_a_line_is_written_in_a_folder_that_may_not_be_read() -> None:
    with tempfile.TemporaryDirectory() as folder, process(UNREADABLE, folder) as writer:
        assert line(writer) == "synced"
