"""The part of an answer that a person may see: its beginning, on one line, printable, and without a secret of ours."""

from __future__ import annotations

import html
import re
from collections.abc import Collection
from urllib.parse import unquote

MOST = 300
"""Characters."""
_LOOKED_AT = 4 * MOST
"""Bytes, enough for `MOST` characters in UTF-8."""
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))")
"""An escape in a JSON string (RFC 8259, section 7)."""
_PIECE = 8
"""Characters in a row that give a secret away; a shorter secret is looked for as a whole."""


class Excerpts:
    """Makes excerpts without our secrets. An answer can repeat the request, as an error page does that shows its headers."""

    def __init__(self, secrets: Collection[str]) -> None:
        """Args: secrets: the texts as they are sent."""
        self._pieces = {piece for secret in secrets for piece in _pieces(_bare(secret)) if piece}

    def of(self, body: bytes) -> str:
        """Return the text, cut to 300 characters."""
        # Decode more than is shown, so that a secret is found that the cut would split.
        text = body[: 2 * _LOOKED_AT].decode("utf-8", "replace")
        text = " ".join("".join(character if character.isprintable() else " " for character in text).split())
        # An error page escapes the text that it repeats: for HTML, a URL or JSON.
        read = {_bare(one) for one in (text, html.unescape(text), unquote(text), _ESCAPE.sub(_unescaped, text))}
        if any(piece in bare for bare in read for piece in self._pieces):
            return "(it repeats a secret, and is not shown)"
        return text if len(text) <= MOST else f"{text[: MOST - 1]}…"


def _bare(text: str) -> str:
    """Remove white space and case, so that a secret is found even if it is broken into lines."""
    return "".join(text.split()).casefold()


def _unescaped(escape: re.Match[str]) -> str:
    return chr(int(escape[1], 16)) if escape[1] else escape[2]


def _pieces(secret: str) -> list[str]:
    return [secret[at : at + _PIECE] for at in range(max(len(secret) - _PIECE, 0) + 1)]
