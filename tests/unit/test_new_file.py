"""A finished file gets its name on every file system, and never the name of another file."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.host.new_file import give_name


def no_links(old: Path, new: Path, *, follow_symlinks: bool = True) -> None:
    """Refuse as the kernel does on FAT: link(2), EPERM, "does not support the creation of hard links"."""
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), str(old))


@pytest.fixture(params=[os.link, no_links], ids=["links", "no links"])
def link(request: pytest.FixtureRequest) -> Callable[..., None]:
    made: Callable[..., None] = request.param
    return made


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    path = tmp_path / ".new"
    path.write_bytes(b"whole")
    return path


def test_the_finished_file_has_the_name(whole: Path, link: Callable[..., None]) -> None:
    file = whole.with_name("file")
    give_name(whole, file, link=link)
    whole.unlink(missing_ok=True)
    assert [(one.name, one.read_bytes()) for one in whole.parent.iterdir()] == [("file", b"whole")]


@pytest.mark.parametrize("there", ["a file", "a link to nowhere", "a folder"])
def test_what_has_the_name_already_stays_as_it_is(whole: Path, link: Callable[..., None], there: str) -> None:
    file = whole.with_name("file")
    match there:
        case "a file":
            file.write_bytes(b"precious")
        case "a folder":
            file.mkdir()
        case _:
            file.symlink_to("nowhere")
    with pytest.raises(FileExistsError):
        give_name(whole, file, link=link)
    assert whole.read_bytes() == b"whole"
    assert file.is_symlink() or file.is_dir() or file.read_bytes() == b"precious"


def test_nothing_is_left_behind_if_the_file_cannot_be_renamed(tmp_path: Path, link: Callable[..., None]) -> None:
    with pytest.raises(FileNotFoundError):
        give_name(tmp_path / "gone", tmp_path / "file", link=link)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_said(whole: Path, link: Callable[..., None]) -> None:
    with pytest.raises(FileNotFoundError):
        give_name(whole, whole.parent / "no such folder" / "file", link=link)
