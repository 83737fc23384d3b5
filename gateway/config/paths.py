"""Checks on paths: how they are written, and that no two parts of the gateway use the same file."""

from __future__ import annotations

import errno
import os
import re
import stat
import unicodedata
from collections.abc import Hashable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from gateway.config.location import Finding, Findings, Place
from gateway.config.settings import Config
from gateway.core.database_files import BESIDE
from gateway.sinks import type_of

AS_IT_STANDS = "a path is used exactly as written"
LONGEST_SOCKET = 107
"""Bytes of the path of a unix socket: `sun_path` without the NUL at its end (unix(7))."""
_PLACEHOLDER = re.compile(r"\$\{|\$\(|\$[A-Za-z_]|%\(|\{\{|%[A-Z_]+%")
_JOINERS = "\u200c\u200d"
"""The joiners inside a word or an emoji, which some names need."""
_FINAL = {
    errno.ENAMETOOLONG: "has a name in it that is too long for a file",
    errno.ENOTDIR: "has a file where a folder should be",
    errno.ELOOP: "is a link that leads in a circle",
}
"""Errors of a path that remain at a start and for every user, each with its text. A missing folder may still be created."""


def check(config: Config, findings: Findings, sockets: Iterable[tuple[Path, Place]] = ()) -> None:
    """Add a finding for each text that is hardly a path, and for each file that two parts would write to.

    Args:
        sockets: The unix sockets of `listen`.
    """
    for where, text in _texts(config):
        if (trouble := unfit_as_written(text, where.file.parent)) is not None:
            findings.append(Finding(where, trouble, AS_IT_STANDS))
    if (trouble := _unfit(config.database)) is not None:
        findings.append(Finding(config.place("store", "path"), trouble, "name a file"))
    taken: dict[Hashable, str] = {}
    for path, what in _read(config):
        _first_of_file(taken, path, what)
    for suffix, what in BESIDE.items():
        if (other := _first_of_file(taken, Path(f"{config.database}{suffix}"), what)) is not None:
            findings.append(Finding(config.place("store", "path"), f"is the file of {other}", "choose another file"))
    for path, what, where in _others(config):
        other = _first_of_file(taken, path, what)
        if other is not None:
            findings.append(Finding(where, f"is the file of {other}", "choose another file"))
        elif (trouble := _unfit(path, pipes=what != "the audit log")) is not None:
            findings.append(Finding(where, trouble, "name a file in it" if trouble == "is a folder" else "name a file"))
    for path, where in sockets:
        if (other := _first_of_file(taken, path, "another socket")) is not None and other != "another socket":
            findings.append(Finding(where, f"is the file of {other}", "choose another path for the socket"))


def unfit_as_written(text: str, base: Path = Path()) -> str | None:
    """Say why a text is probably not the intended path; None if it may be. It does not look at the disk.

    Args:
        base: The folder that was put before a relative path. It is not checked.
    """
    text = text.removeprefix(f"{base}/")
    if re.search(r"[\x00-\x1f\x7f\x85\u2028\u2029]", text):
        return "has a line break or another control character in it"
    if any(part != part.strip() for part in text.split("/")):
        return "has a name in it that begins or ends with a space"
    if any(unicodedata.category(character) == "Cf" and character not in _JOINERS for character in text):
        return "has an invisible character in it, which was probably pasted along"
    if text.split("/")[0].startswith("~"):
        return "begins with ~, which only a shell expands"
    if re.match(r"[a-z]+://", text):
        return "is a URL, but must be a path"
    if _PLACEHOLDER.search(text):
        return "has a placeholder in it, and placeholders have no effect here"
    return None


def _texts(config: Config) -> Iterator[tuple[Place, str]]:
    """Yield every path of the configuration, except those of secrets and sockets and the patterns of `include`."""
    for table, path in (("store", config.store.path), ("audit", config.audit.path)):
        if path is not None:
            yield config.place(table, "path"), path
    for name, sink in config.sinks.items():
        for key in type_of(sink).paths:
            if (text := getattr(sink, key)) is not None:
                yield config.sink_places[name] / key, text


def _read(config: Config) -> Iterator[tuple[Path, str]]:
    """Yield the files that the gateway reads. If it also wrote to one, the next reload would read that text."""
    yield from ((file, "the configuration") for file in config.files)
    for ref in config.secrets:
        if ref.file is not None:
            yield config.base / ref.file, f"the secret of {ref}"
    for name, sink in config.sinks.items():
        for key in type_of(sink).reads:
            if (text := getattr(sink, key)) is not None:
                yield config.base / text, f"the {key} of the sink {name}"


def _others(config: Config) -> Iterator[tuple[Path, str, Place]]:
    yield config.audit_log, "the audit log", config.place("audit", "path")
    for name, sink in config.sinks.items():
        for key in type_of(sink).writes:
            if text := getattr(sink, key):
                yield config.base / text, f"the sink {name}", config.sink_places[name] / key


def _unfit(path: Path, *, pipes: bool = False) -> str | None:
    """Say why a path cannot hold a file; None if it holds a regular file, does not exist yet, or cannot be examined.

    Args:
        pipes: Accept a pipe too, because its reader takes the lines.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return _FINAL.get(error.errno or 0)
    if stat.S_ISREG(mode) or (pipes and stat.S_ISFIFO(mode)):
        return None
    return "is a folder" if stat.S_ISDIR(mode) else "is a pipe, a socket or a device, which keeps nothing"


def _first_of_file(taken: dict[Hashable, str], path: Path, what: str) -> str | None:
    """Return the earlier user of this file, and record `what` as a user; None if there is none.

    Two paths may lead to the same file through links, `..` or a hard link, even before the file exists.
    """
    names: list[Hashable] = [os.path.realpath(path)]
    with suppress(OSError):
        found = path.stat()
        names.append((found.st_dev, found.st_ino))
    before = next((taken[name] for name in names if name in taken), None)
    for name in names:
        taken.setdefault(name, what)
    return before
