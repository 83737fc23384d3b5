"""Text for people and JSON for programs, as every command prints them. Decides nothing about what is printed."""

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
"""Unicode categories of characters that move the cursor or hide text: controls, also of direction, surrogates, line breaks."""
_HARMLESS = frozenset("\u00ad\u200c\u200d").union(map(chr, range(0xE0020, 0xE0080)))
"""Characters of these categories that people write: the soft hyphen, joiners of Persian and of emoji, the tags of a flag."""
LONGEST_SHOWN = 400
"""Characters of a text from outside that a command prints for people; `--json` has all."""
_INFINITE = "infinite-5b0d1c9e-"
"""The beginning of a text that stands for an infinite number until the document is JSON."""


def console() -> Console:
    """Return the console for output: coloured on a terminal, plain if NO_COLOR is set (no-color.org) or stdout is piped."""
    from rich.console import Console

    class Output(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # the reader has seen enough, which is no failure: `main` answers it

    plain = Environment.of_process().get("NO_COLOR") is not None
    # A sender's text is printed as it came: neither ":100:" nor "[bold]" has a meaning here.
    return Output(soft_wrap=True, highlight=False, markup=False, emoji=False, color_system=None if plain else "auto")


def printable(text: str, also: str = "") -> str:
    """Return a text with a ? in place of each character that could draw on a terminal or hide other text.

    Args:
        also: further characters that stay as they are.
    """
    return "".join(
        one if one.isprintable() or one in also or one in _HARMLESS or category(one) not in _DRAWING else "?" for one in text
    )


def cut(text: str) -> str:
    """Return a text from outside as people read it: at most LONGEST_SHOWN characters, and how many more there are."""
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}… ({len(text) - LONGEST_SHOWN:,} characters more)"


def for_people(document: Any) -> Any:
    """Return a document with each text cut, except bodies. A sender may write 200 KB where others write an id."""
    if isinstance(document, str):
        return cut(document)
    if isinstance(document, dict):
        return {key: value if key == "body" else for_people(value) for key, value in document.items()}
    return [for_people(one) for one in document] if isinstance(document, list) else document


def to_json(document: Any, *, compact: bool = False) -> str:
    """Return a document as JSON that every reader accepts: letters as they are, lone surrogates escaped.

    Python reads a number beyond the range of a float, such as 1e400, as infinite. JSON has no word for that (RFC 8259, section
    6), so it is written as 1e999, which other readers take for infinite too.
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


def counted(number: int, one: str, many: str) -> str:
    """A number of things in words: 1 delivery, 2 deliveries."""
    return f"{number} {one if number == 1 else many}"


def size(number: int) -> str:
    """Return a number of bytes as people read it: `1.5 MiB`."""
    for unit, bytes_of_unit in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if number >= bytes_of_unit:
            return f"{number / bytes_of_unit:.1f} {unit}"
    return f"{number} B"


def seen_from_here(path: Path) -> Path:
    """Return a path relative to the working directory if it is below that; else unchanged."""
    try:
        here = Path.cwd()
    except FileNotFoundError:  # the directory was deleted after the command was called in it
        return path
    return path.relative_to(here) if path.is_relative_to(here) else path


def agreed(question: str) -> bool:
    """Ask a question on the terminal; any answer but yes means no."""
    # By hand: `input` would ask on stdout if that is a file or a pipe.
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else f"{_INFINITE}{'-' if value < 0 else ''}1e999"
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, (list, tuple)) else value
