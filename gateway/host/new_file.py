"""The name of a file that is written aside first: it gets its name once it is whole, and never the name of another file."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def give_name(whole: Path, file: Path, *, link: Callable[..., None] = os.link) -> None:
    """Give a finished file its name, in the same folder. Its old name may be there still, or not.

    Unlike a rename, a hard link never replaces a file that came meanwhile. On a file system without hard links (FAT, some network
    disks), an empty file takes the name first, and the finished one replaces it; a crash in between leaves the empty one.

    Args:
        link: makes a hard link, as `os.link` does.
    Raises FileExistsError if the name is taken, by a link to nowhere too, or OSError; nothing has changed then.
    """
    try:
        link(whole, file, follow_symlinks=False)
        return
    except FileExistsError:
        raise
    except OSError:
        taken = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        mine = os.fstat(taken)
        try:
            whole.replace(file)
        except OSError:
            with suppress(OSError):
                if os.path.samestat(file.lstat(), mine):
                    file.unlink()
            raise
    finally:
        os.close(taken)
