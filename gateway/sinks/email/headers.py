"""The lines of a mail's head: folded, in ASCII, and read the same way by every mail program.

The standard library is not used: its policies fold a comma between two addresses into an encoded word, and the faults differ
from one version of Python to the next. Rules: RFC 5322 (structure, folding) and RFC 2047 (encoded words).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence

from gateway.core.mailbox import Mailbox

_LINE = 76
"""Characters of a line with an encoded word (RFC 2047, section 2); other lines may have 78 (RFC 5322, section 2.1.1)."""
_WORD = 75
"""Characters of an encoded word."""
_BEGIN, _END = "=?utf-8?b?", "?="
_FEWEST_BYTES = 12
"""The fewest bytes for which an encoded word begins on a line that already has text."""
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_LONGEST_PLAIN = 60
"""Characters of an ASCII name, or of one word of a text, that stay as they are. A longer one is encoded, to be folded."""


def address_header(name: str, mailboxes: Sequence[Mailbox]) -> str:
    """Return a header such as `To`, with its line end. A comma stands after an address, never inside an encoded word."""
    line = _Lines(name)
    for number, mailbox in enumerate(mailboxes, start=1):
        comma = "," if number < len(mailboxes) else ""
        if not mailbox.name:
            line.add(mailbox.address + comma)
            continue
        if (plain := _plain_name(mailbox.name)) is not None:
            line.add(plain)
        else:
            line.encode(mailbox.name)
        line.add(f"<{mailbox.address}>{comma}")
    return line.text()


def text_header(name: str, text: str) -> str:
    """Return a header such as `Subject`, with its line end. Control characters become blanks, so that none can begin a header."""
    text = _without_controls(text)
    words = text.split(" ")
    line = _Lines(name)
    plain = text.isascii() and "=?" not in text and all(words) and max(map(len, words)) <= _LONGEST_PLAIN
    if plain:
        for word in words:
            line.add(word)
    elif text:
        line.encode(text)
    return line.text()


def id_header(name: str, identifier: str) -> str:
    """Return a header such as `Message-ID`, with its line end. An id of any length stays in one piece."""
    return f"{name}: {_without_controls(identifier)}\r\n"


def _plain_name(name: str) -> str | None:
    """Return a name as atoms or as a quoted string (RFC 5322, section 3.2.4); None if it has to be encoded."""
    if not name.isascii() or not name.isprintable() or "=?" in name or len(name) > _LONGEST_PLAIN:
        return None
    if _ATOMS.fullmatch(name):
        return name
    if name != name.strip() or "  " in name:
        return None  # relays may change several blanks inside quotes
    return '"' + re.sub(r'(["\\])', r"\\\1", name) + '"'


def _without_controls(text: str) -> str:
    return "".join(" " if ord(one) < 0x20 or 0x7F <= ord(one) < 0xA0 or one in "\u2028\u2029" else one for one in text)


class _Lines:
    """One header that grows to the right, and continues in the next line if there is no room."""

    def __init__(self, name: str) -> None:
        self._lines = [f"{name}:"]
        self._empty = True

    def add(self, token: str) -> None:
        """Add a text that stays in one piece."""
        if len(self._lines[-1]) + 1 + len(token) > _LINE and not self._empty:
            self._lines.append("")
        self._lines[-1] += f" {token}"
        self._empty = False

    def encode(self, text: str) -> None:
        """Add a text as encoded words. None of them ends inside a character (RFC 2047, section 5)."""
        rest = [character.encode("utf-8", "replace") for character in text]
        while rest:
            if self._room() < _FEWEST_BYTES:
                self._lines.append("")
            room, word = self._room(), bytearray()
            while rest and len(word) + len(rest[0]) <= room:
                word += rest.pop(0)
            self.add(_BEGIN + base64.b64encode(word).decode() + _END)

    def _room(self) -> int:
        """Return the bytes that an encoded word has room for on the last line."""
        characters = min(_WORD, _LINE - len(self._lines[-1]) - 1) - len(_BEGIN) - len(_END)
        return max(0, characters // 4 * 3)

    def text(self) -> str:
        return "\r\n".join(self._lines) + "\r\n"


def header_lines(headers: Iterable[str]) -> bytes:
    """Return the head of a mail. It has characters beyond ASCII only if an address has (RFC 6532)."""
    return "".join(headers).encode()
