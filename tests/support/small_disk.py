"""A file system that a test can fill up."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """An empty file system of 8 MiB. Skips the test if none can be mounted here."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small tmpfs")
    folder = Path(tempfile.mkdtemp(prefix="gateway-disk-"))
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        folder.rmdir()
        pytest.skip(f"a tmpfs can't be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()


def fill(folder: Path, leave: int = 0) -> Path:
    """Fill the file system until `leave` bytes are free; return the file to delete afterwards."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        while (free := shutil.disk_usage(folder).free) > leave:
            try:
                file.write(b"x" * min(free - leave, 65536))
            except OSError as error:
                assert error.errno == errno.ENOSPC
                break
    return filler
