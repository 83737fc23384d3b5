"""Texts of strangers as a page shows them: nothing hidden, nothing rewritten, nothing without a bound. Pure.

A character that draws nothing, or that changes the direction of writing, is shown as its number, such as ⟦U+202E⟧. To isolate it
would not be enough: a person would still read another text than a program does (Unicode Technical Standard 55).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final
from unicodedata import category

from msgspec import Struct

MOST_SHOWN: Final = 256 * 1024
"""Bytes of a payload that are shown, and characters that they may become; the whole body is a download."""
_DEEPEST = 32
"""Levels that are indented. Deeper ones stand below each other: otherwise a deep payload would be nothing but spaces."""
_HIDING = ("Cc", "Cf", "Cs", "Zl", "Zp")
_FILLERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Characters that count as letters, marks or symbols and draw nothing."""
_SELECTORS = (range(0x180B, 0x180E), range(0xFE00, 0xFE0E), range(0xE0100, 0xE01F0))
"""Variation selectors, except the two that choose between text and emoji, which people write."""
_BEYOND_PLANE = 0x10000
_TOKENS = re.compile(
    r'(?P<text>"[^"\\]*(?:\\.[^"\\]*)*")|(?P<space>[ \t\r\n]+)|(?P<open>[{\[])|(?P<close>[}\]])|(?P<comma>,)|(?P<colon>:)'
    r"|(?P<plain>[-+.0-9A-Za-z]+)",
    re.DOTALL,
)


class ShownText(Struct, frozen=True):
    """A payload as a page shows it."""

    text: str
    is_json: bool
    """The text has a line for each value; otherwise it is the payload as it came."""
    cut: bool
    """The payload goes on; the whole of it is a download."""


def visible(text: str) -> str:
    """Return a text of one line in which each hidden character is shown as its number, line breaks too."""
    return text if text.isascii() and text.isprintable() else text.translate(_ON_A_LINE)


def visible_lines(text: str) -> str:
    """Return a text whose line breaks and tabs stay, and whose other hidden characters are shown as their numbers."""
    return text.translate(_ON_LINES)


def payload(body: bytes) -> ShownText:
    """Return a payload for people. JSON is laid out from its own tokens, so that no number and no escape is rewritten.

    Bytes that are not UTF-8 become U+FFFD. The time that it takes grows with the length, never with the depth.
    """
    cut = len(body) > MOST_SHOWN
    text = _decoded(body[:MOST_SHOWN])
    is_json = _is_json(text, cut=cut)
    shown = visible_lines(_bounded(_laid_out(text)) if is_json else text.replace("\r\n", "\n"))
    return ShownText(shown[:MOST_SHOWN], is_json, cut or len(shown) > MOST_SHOWN)


def _decoded(body: bytes) -> str:
    try:
        return body.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return body.decode("utf-8", "replace")


def _is_json(text: str, *, cut: bool) -> bool:
    """Return True if a text is JSON, or the beginning of it, as far as that can be seen without reading it level by level."""
    if cut:
        return text.lstrip(" \t\r\n")[:1] in ("{", "[")
    try:
        json.loads(text)
    except RecursionError:
        return True
    except ValueError:
        return False
    return True


def _laid_out(text: str) -> Iterator[str]:
    """Yield the tokens of JSON with line breaks and indentation between them. A rest that is no token comes as it is."""
    depth, at, opened = 0, 0, False
    while (match := _TOKENS.match(text, at)) is not None:
        kind, token, at = match.lastgroup, match[0], match.end()
        if kind == "space":
            continue
        if kind == "close":
            depth = max(depth - 1, 0)
        if opened != (kind == "close"):  # an empty object or list stays on its line
            yield _new_line(depth)
        opened = kind == "open"
        depth += opened
        yield token
        if kind == "comma":
            yield _new_line(depth)
        elif kind == "colon":
            yield " "
    yield text[at:]


def _new_line(depth: int) -> str:
    return f"\n{'  ' * min(depth, _DEEPEST)}"


def _bounded(pieces: Iterator[str]) -> str:
    """Join pieces until they are longer than is shown."""
    found, size = [], 0
    for piece in pieces:
        found.append(piece)
        size += len(piece)
        if size > MOST_SHOWN:
            break
    return "".join(found)


class _Shown(dict[int, str]):
    """The form of each character that is not ASCII text, found when it is first met."""

    def __missing__(self, point: int) -> str:
        character = chr(point)
        shown = f"⟦U+{point:04X}⟧" if _is_hidden(point, character) else character
        if point < _BEYOND_PLANE:  # so that strangers cannot fill the memory
            self[point] = shown
        return shown


def _is_hidden(point: int, character: str) -> bool:
    return (
        category(character) in _HIDING
        or character in _FILLERS
        or any(point in selectors for selectors in _SELECTORS)
        or point & 0xFFFE == 0xFFFE
        or 0xFDD0 <= point <= 0xFDEF  # with the line before: the noncharacters
    )


_ON_A_LINE = _Shown()
_ON_LINES = _Shown({ord("\n"): "\n", ord("\t"): "\t"})
