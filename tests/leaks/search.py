"""Finds secrets, in every form in which they can leak, in everything that was written."""

from __future__ import annotations

import base64
import html
import json
import marshal
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, quote_plus

import re2

PIECE = 16
"""Bytes of a form that are looked for, of its beginning and of its end: so what was cut somewhere is found too."""
LEAST = 8
"""Bytes of a secret, and half as many different ones: less may stand anywhere by chance."""
_BLOCK = 8 * 1024 * 1024
_STREAMS = ("stdout", "stderr")


class Leak(NamedTuple):
    where: str
    """A file, or what a process said, with the line."""
    secret: str
    """Where it came from, and how it begins."""
    test: str
    """That ran then; "" where nobody knows."""

    def __str__(self) -> str:
        return f"{self.where}: {self.secret}" + (f", while {self.test} ran" if self.test else "")


class Poor(Exception):
    """A secret that no search could tell from other text."""


class Records:
    """Everything that the processes have recorded (see `recorder`)."""

    def __init__(self, folder: Path) -> None:
        self.secrets: dict[str, tuple[str, str]] = {}
        """The name of each secret and the first test that used it, by the value of the secret."""
        self.said: defaultdict[tuple[str, str, str], list[bytes]] = defaultdict(list)
        """The texts that were recorded, by process, place and test."""
        self.written: dict[str, str] = {}
        """The test that wrote each file, by path."""
        self.inputs: set[str] = set()
        self.places: set[str] = set()
        for path in sorted(folder.glob("*.records")):
            with path.open("rb") as file:
                try:
                    while True:
                        self._add(path.stem, *marshal.load(file))
                except (EOFError, ValueError, TypeError):  # the end, or what a kill has cut
                    pass

    def _add(self, pid: str, kind: str, test: str, name: str, value: str | bytes) -> None:
        match kind, value:
            case "secret", str():
                self.secrets.setdefault(value, (name, test))
            case "said", bytes():
                self.said[pid, name, test].append(value)
            case "written", _:
                self.written.setdefault(name, test)
            case "input", _:
                self.inputs.add(name)
            case "place", _:
                self.places.add(name)


def search(records: Path, *roots: Path) -> list[Leak]:
    """Look for every secret that was recorded in all that was written: to the records, and to the files below `roots`.

    A file there counts as written by the gateway unless tests, and they alone, opened it for writing, or a secret is read from
    it by the gateway, or it was installed. Of a secret that can't be searched for, that is said.
    """
    found = Records(records)
    leaks: list[Leak] = []
    needles: dict[bytes, str] = {}
    for secret, (name, test) in found.secrets.items():
        try:
            for form in forms(secret):
                needles.setdefault(form, f"the secret of {name} ({_begins(secret)}...)")
        except Poor as poor:
            if not name.startswith("built in "):  # else a test of how a secret is refused, mostly
                leaks.append(Leak(f"the secret of {name}", f"no search can find it: {poor}", test))
    if not needles:
        return leaks
    pattern = _pattern(needles)
    for (pid, where, test), parts in found.said.items():
        # In a stream, a secret may stand in two writes; elsewhere, two have nothing to do with each other.
        whole = (b"" if where in _STREAMS else b"\n").join(parts)
        leaks += [Leak(f"{where} of process {pid}, {line}", secret, test) for line, secret in _hits(pattern, needles, [whole])]
    written = (path for path in found.written if not _is_code(os.path.dirname(path)))
    for path in dict.fromkeys([*written, *_below(roots, found.inputs)]):
        if os.path.realpath(path) not in found.places and os.path.isfile(path) and not os.path.islink(path):
            test = found.written.get(path, "")
            leaks += [Leak(f"{path}, {line}", secret, test) for line, secret in _hits(pattern, needles, _blocks(path))]
    return leaks


@lru_cache(maxsize=4096)
def _is_code(folder: str) -> bool:
    """True inside a virtual environment, which holds the gateway as the repository has it, and for compiled Python code."""
    above = os.path.dirname(folder)
    if os.path.basename(folder) == "__pycache__":
        return True
    return os.path.exists(os.path.join(folder, "pyvenv.cfg")) or (above != folder and _is_code(above))


def _below(roots: Iterable[Path], inputs: set[str]) -> Iterator[str]:
    for root in roots:
        for folder, folders, names in os.walk(root):
            if _is_code(folder):
                folders.clear()
                continue
            yield from (path for name in names if (path := os.path.join(folder, name)) not in inputs)


def _pattern(needles: Iterable[bytes]) -> re2._Regexp[bytes]:
    options = re2.Options()
    options.encoding = options.Encoding.LATIN1
    options.max_mem = 1 << 28
    return re2.compile(b"|".join(re2.escape(needle) for needle in needles), options)


def _blocks(path: str) -> Iterator[bytes]:
    try:
        with open(path, "rb") as file:
            while block := file.read(_BLOCK):
                yield block
                if len(block) == _BLOCK:
                    file.seek(-PIECE, os.SEEK_CUR)  # so that no needle is cut
    except OSError:
        return


def _hits(pattern: re2._Regexp[bytes], needles: Mapping[bytes, str], blocks: Iterable[bytes]) -> Iterator[tuple[str, str]]:
    """The first of each secret."""
    seen: set[str] = set()
    lines = 1
    for block in blocks:
        for match in pattern.finditer(block):
            if (secret := needles[match[0]]) not in seen:
                seen.add(secret)
                yield f"line {lines + block.count(10, 0, match.start())}", secret
        lines += block.count(10)


def forms(secret: str) -> set[bytes]:
    """Pieces of all that gives a secret away. Raises Poor."""
    found: set[bytes] = set()
    for core in (cores := list(_cores(secret.strip()))):
        if len(core) < LEAST or len(set(core)) < LEAST // 2:
            if core is not cores[0]:
                continue  # the bytes of a short key; its text is long enough
            raise Poor(f"give it at least {LEAST} characters, of which {LEAST // 2} are different")
        text = core.decode("utf-8", "replace")
        written = [text, json.dumps(text)[1:-1], repr(text)[1:-1], quote(text, safe=""), quote_plus(text), html.escape(text)]
        for form in (core, *(one.encode() for one in written), core.hex().encode(), *_base64(core)):
            found |= {form[:PIECE], form[-PIECE:]}
    return found


def _cores(secret: str) -> Iterator[bytes]:
    """The secret parts: of a URL all behind the host, of a database's URL the password, of a PEM file the key, and of a key what
    no other key has."""
    if "-----BEGIN" in secret:
        for kind, block in re.findall(r"-----BEGIN ([A-Z ]*)PRIVATE KEY-----\s+(.+?)\s+-----END", secret, re.DOTALL):
            yield _private(kind, block.splitlines()).encode()
    elif secret.startswith(("postgresql://", "postgres://")):
        user, at, _ = secret.partition("://")[2].rpartition("@")
        yield from (user.partition(":")[2].encode(),) if at and ":" in user else ()
    elif "://" in secret:
        host, _, path = re.sub("[/?]", "\0", secret.partition("://")[2], count=1).partition("\0")
        user, at, _ = host.rpartition("@")
        yield from (part.encode() for part in (path, user.rpartition(":")[2] if at else "") if part)
    else:
        key = secret.removeprefix("v1,").removeprefix("whsec_")
        yield key.encode("utf-8", "surrogateescape")
        if key != secret:
            with suppress(ValueError):
                yield base64.b64decode(key, validate=True)


def _private(kind: str, lines: list[str]) -> str:
    """A piece of a key in PEM that is neither its public half, which a certificate has too, nor its form."""
    if kind == "EC ":  # RFC 5915: 7 bytes, then the secret ones
        return lines[0][2 * PIECE : 3 * PIECE]
    if len(lines) == 1:  # Ed25519
        return lines[0][-PIECE:]
    return lines[1 if len(lines) < 5 else len(lines) // 2][:PIECE]  # RSA begins with the public half


def _base64(core: bytes) -> Iterator[bytes]:
    """Behind a user's name of any length: `user:password`."""
    for before in range(3):
        text = base64.b64encode(bytes(before) + core)
        yield text[(0, 2, 3)[before] : (before + len(core)) * 8 // 6]


def _begins(secret: str) -> str:
    return repr(next(_cores(secret.strip()), b"").decode("utf-8", "replace"))[1:5]
