"""Explanations of the errors of `tomllib`, in words for people and at the place of the mistake. Reads no file."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from typing import NamedTuple


class Fault(NamedTuple):
    """A syntax error and its place. Line and column are 1-based, and the column counts characters."""

    line: int
    column: int
    wrong: str
    hint: str = ""
    width: int = 1


_AT = re.compile(r" \(at (?:line ([0-9]+), column ([0-9]+)|end of document)\)$")
_WORDS: list[tuple[str, str, str]] = [
    (
        r"Expected newline or end of document",
        "the line should end here",
        'write each key on its own line, and quote every value that is not a plain number: "30s"',
    ),
    (
        r"Invalid statement",
        "a key, table or comment cannot begin with this",
        "write a key with letters a-z, digits, - and _, or put it in quotes",
    ),
    (r"Expected '=' after a key", 'a "=" is missing after the key', ""),
    (r"Expected ('\]'|'\]\]') at the end", "the bracket of the table's name is not closed", "write [server] or [[routes]]"),
    (r"Unclosed array", 'the list is not closed before this, or a "," is missing', ""),
    (r"Unclosed inline table", 'the table is not closed before this, or a "," is missing', "write { ... } on one line"),
    (r"Unescaped '\\' in a string", r'a "\" in a string must be written "\\"', r"or use single quotes: '[0-9]+\.x'"),
    (r"Invalid hex value", r"\u takes four hexadecimal digits, and \U eight", ""),
    (r"Escaped character is not", "there is no such character", ""),
    (r"Invalid date or datetime", "there is no such date or time", "put a timestamp in quotes"),
]
_STRINGS = re.compile(
    r"""#[^\n]*|\"{3}(?:\\.|[^\\])*?\"{3,5}|'{3}.*?'{3,5}|"(?:\\.|[^"\\\n])*"|'[^'\n]*'|(?P<open>\"{3}|'{3}|["'])""", re.DOTALL
)
"""Comments and strings. The first quote that belongs to none of them (`open`) was never closed."""
_QUOTES = {"“": '"', "”": '"', "„": '"', "‘": "'", "’": "'"}


def fault(text: str, error: ValueError) -> Fault:
    """Explain the error that `tomllib.loads(text)` raised."""
    lines = text.split("\n")
    said = str(error)
    if not isinstance(error, tomllib.TOMLDecodeError):
        # Not a syntax error, but Python's own limit: an integer of thousands of digits.
        number = re.search(r"[0-9]{4301,}", text)
        return Fault(*_at(text, number.start() if number else 0), "a number is too long")
    at = _AT.search(said)
    line = int(at[1]) if at and at[1] else len(lines)
    column = int(at[2]) if at and at[2] else len(lines[-1]) + 1
    wrong = _AT.sub("", said)
    if wrong.startswith(("Cannot overwrite", "Cannot declare", "Cannot mutate", "Cannot redefine", "Duplicate inline")):
        return _twice(text, line, wrong)
    here = lines[line - 1][column - 1 : column] if line <= len(lines) else ""
    if re.match(r"Unterminated string|Expected \"'+\"|(Illegal|Found invalid) character '\\n'", wrong):
        opened = next((match.start() for match in _STRINGS.finditer(text) if match["open"]), None)
        line, column = _at(text, opened) if opened is not None else (line, column)
        return Fault(
            line, column, "this string is not closed: a quote is missing", 'write a string of several lines as """..."""'
        )
    if re.match(r"(Illegal|Found invalid) character", wrong):
        return Fault(line, column, f"the character U+{ord(here or ' '):04X} is not allowed in TOML", "remove it")
    plain = _QUOTES.get(here) or unicodedata.normalize("NFKC", here)
    if plain != here and plain in tuple("\"' =[]{},.#-_"):
        named = "a space" if plain == " " else plain
        return Fault(
            line, column, f"U+{ord(here):04X} is not {named}, but only looks like it", "type the ASCII (half-width) character"
        )
    if wrong == "Invalid value":
        if here.strip() in ("", "#"):
            return Fault(line, column, "the value is missing")
        return Fault(
            line, column, "this is not a value", "put a string in quotes; or write true, false, a number, [ ... ] or { ... }"
        )
    if wrong.startswith("Invalid initial character for a key part"):
        if here.strip() == "":
            return Fault(line, column, "a { ... } must end on the line where it begins", "or write it as a separate [table]")
        return Fault(line, column, "a key is missing here", 'remove the comma before "}"' if here == "}" else "")
    for pattern, words, hint in _WORDS:
        if re.match(pattern, wrong):
            return Fault(line, column, words, hint)
    return Fault(line, column, wrong)


def _twice(text: str, line: int, wrong: str) -> Fault:
    """Explain that a key or a table appears twice, with the line of the first one."""
    from gateway.config.positions import Positions  # it costs start-up time that a good file need not pay

    again = [(first, second) for first, second in Positions(text).twice if second.line <= line]
    if again:
        first, second = again[-1]
        word = "table" if wrong.startswith("Cannot declare") else "key"
        hint = f"the first is on line {first.line}" if first.line != second.line else "remove one of them"
        return Fault(second.line, second.column, f"this {word} appears twice", hint, second.length)
    source = text.split("\n")[line - 1]
    column = len(source) - len(source.lstrip(" \t[")) + 1
    return Fault(line, column, "this has a value already")


def _at(text: str, offset: int) -> tuple[int, int]:
    return text.count("\n", 0, offset) + 1, offset - (text.rfind("\n", 0, offset) + 1) + 1
