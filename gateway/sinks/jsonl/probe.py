"""Looks whether a `jsonl` sink could append to its file. Writes nothing, and makes no file."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

from gateway.host.blocking import run_in_thread
from gateway.sinks.base import Found, Opening
from gateway.sinks.jsonl.config import JsonlConfig


async def probe(config: JsonlConfig, opening: Opening) -> Found:
    path, clock, seconds = opening.base / config.path, opening.clock, config.probe_seconds
    begun = clock.monotonic()
    try:
        async with asyncio.timeout(seconds):  # a network disk can hang
            await run_in_thread(lambda: _try(path), "probe")
    except TimeoutError:
        return Found(False, f"{path}: the disk gave no answer within {seconds:g} s", clock.monotonic() - begun)
    except OSError as error:
        advice = "make the folder, or check path" if error.errno == errno.ENOENT else "check path, and who may write there"
        return Found(False, f"{error.filename}: {error.strerror}; {advice}", clock.monotonic() - begun)
    return Found(True, f"{path} can be appended to", clock.monotonic() - begun)


def _try(path: Path) -> None:
    """Raise OSError if the user of this process can neither append to the file nor make it. Makes and changes nothing."""
    if path.is_file():
        os.close(os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC))
    elif path.is_dir():
        raise _error(errno.EISDIR, path)
    elif path.exists():  # such as a pipe: its reader would take an open and a close for the end
        if not os.access(path, os.W_OK | os.R_OK):
            raise _error(errno.EACCES, path)
    else:
        try:
            folder = path.resolve().parent  # a link that leads nowhere makes its file where it leads
        except RuntimeError:  # links in a circle
            raise _error(errno.ELOOP, path) from None
        if not folder.is_dir():
            raise _error(errno.ENOTDIR if folder.exists() else errno.ENOENT, folder)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise _error(errno.EACCES, folder)


def _error(code: int, path: Path) -> OSError:
    return OSError(code, os.strerror(code), str(path))
