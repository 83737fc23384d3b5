"""Text for people and JSON for programs, as every command prints them."""

from __future__ import annotations

import json
import math
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unicodedata import category

from gateway.host.environment import Environment

if TYPE_CHECKING:
    from rich.console import Console

_DRAWING = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Control characters, among them those of direction (Cf), halves of a surrogate pair, and line breaks."""
_HARMLESS = frozenset("\u00ad\u200c\u200d").union(map(chr, range(0xE0020, 0xE0080)))
"""The ones that people write: the soft hyphen, the joiners of Persian and of emoji, the tags of a flag."""


def console() -> Console:
    """Return the console for output: coloured on a terminal, plain if NO_COLOR is set (no-color.org) or it is piped."""
    from rich.console import Console

    class Output(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # whoever read us has seen enough, which is no failure: `main` answers it

    plain = Environment.of_process().get("NO_COLOR") is not None
    # What a sender sent is printed as it came: neither ":100:" nor "[bold]" means anything here.
    return Output(soft_wrap=True, highlight=False, markup=False, emoji=False, color_system=None if plain else "auto")


def printable(text: str, also: str = "") -> str:
    """Return a text as it came, with a ? in place of each character that could draw on a terminal or hide what stands there.

    Args:
        also: characters that are left alone as well.
    """
    return "".join(
        one if one.isprintable() or one in also or one in _HARMLESS or category(one) not in _DRAWING else "?" for one in text
    )


def to_json(document: Any, *, compact: bool = False) -> str:
    """A document as JSON that any reader takes: letters as they are, lone surrogates escaped.

    A number beyond the range of a float, such as 1e400, is infinite once it was read; it is written as one that every reader
    takes for infinite too, since JSON has no word for it (RFC 8259, section 6).
    """
    separators = (",", ":") if compact else None
    try:
        text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=separators)
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(document, separators=separators)
    except ValueError:
        text = json.dumps(_finite(document), separators=separators)
        return re.sub(rf'"{_INFINITE}(-?1e999)"', r"\1", text)
    return text


_INFINITE = "infinite-5b0d1c9e-"
"""Begins a text that stands for an infinite number until the document is JSON."""


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else f"{_INFINITE}{'-' if value < 0 else ''}1e999"
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, (list, tuple)) else value


def size(number: int) -> str:
    """Return a number of bytes as people read it."""
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number} B"


def agreed(question: str) -> bool:
    """Ask on the terminal; anything but yes is no."""
    # By hand: `input` would ask on stdout where that is a file or a pipe.
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def working_directory() -> Path | None:
    """The folder in which the command was called; None if it was deleted since."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return None
