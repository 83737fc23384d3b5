"""What `tomllib` refuses, in words for people, at the place that is meant. Reads no file."""

from __future__ import annotations

import re
import tomllib
import unicodedata
from typing import NamedTuple


class Fault(NamedTuple):
    """Line and column are 1-based, the column in characters."""

    line: int
    column: int
    message: str
    hint: str = ""
    width: int = 1


_AT = re.compile(r" \(at (?:line ([0-9]+), column ([0-9]+)|end of document)\)$")
_WORDS: list[tuple[str, str, str]] = [
    (
        r"Expected newline or end of document",
        "nothing can follow here",
        'each key has a line of its own; what is no plain number has quotes: "30s"',
    ),
    (
        r"Invalid statement",
        "no key, table or comment begins like this",
        "a key has letters a-z, digits, - and _, or stands in quotes",
    ),
    (r"Expected '=' after a key", 'a "=" is missing after the key', ""),
    (r"Expected ('\]'|'\]\]') at the end", "the bracket of the table's name is not closed", "[server], or [[routes]]"),
    (r"Unclosed array", 'the list is not closed before this, or a "," is missing', ""),
    (r"Unclosed inline table", 'the table is not closed before this, or a "," is missing', "{ ... } stands on one line"),
    (r"Unescaped '\\' in a string", r'a "\" in a text is written "\\"', r"or put the text into single quotes: '[0-9]+\.x'"),
    (r"Invalid hex value", r"\u takes four hexadecimal digits, and \U eight", ""),
    (r"Escaped character is not", "there is no such character", ""),
    (r"Invalid date or datetime", "there is no such date or time", "a timestamp stands in quotes"),
]
_STRINGS = re.compile(
    r"""#[^\n]*|\"{3}(?:\\.|[^\\])*?\"{3,5}|'{3}.*?'{3,5}|"(?:\\.|[^"\\\n])*"|'[^'\n]*'|(?P<open>\"{3}|'{3}|["'])""", re.DOTALL
)
"""Comments and texts, and then the first quote that begins none of them: nobody closed it."""
_QUOTES = {"“": '"', "”": '"', "„": '"', "‘": "'", "’": "'"}


def fault(text: str, error: ValueError) -> Fault:
    """Where and what, for what `tomllib.loads(text)` raised."""
    lines = text.split("\n")
    said = str(error)
    if not isinstance(error, tomllib.TOMLDecodeError):
        # Not from its grammar: an integer of thousands of digits (Python's own bound).
        number = re.search(r"[0-9]{4301,}", text)
        return Fault(*_at(text, number.start() if number else 0), "a number is too long")
    at = _AT.search(said)
    line = int(at[1]) if at and at[1] else len(lines)
    column = int(at[2]) if at and at[2] else len(lines[-1]) + 1
    message = _AT.sub("", said)
    if message.startswith(("Cannot overwrite", "Cannot declare", "Cannot mutate", "Cannot redefine", "Duplicate inline")):
        return _twice(text, line, message)
    here = lines[line - 1][column - 1 : column] if line <= len(lines) else ""
    if re.match(r"Unterminated string|Expected \"'+\"|(Illegal|Found invalid) character '\\n'", message):
        opened = next((match.start() for match in _STRINGS.finditer(text) if match["open"]), None)
        line, column = _at(text, opened) if opened is not None else (line, column)
        return Fault(line, column, "this text is not closed: a quote is missing", 'a text of several lines is written """..."""')
    if re.match(r"(Illegal|Found invalid) character", message):
        return Fault(line, column, f"a character that can't stand in a file like this: U+{ord(here or ' '):04X}", "remove it")
    plain = _QUOTES.get(here) or unicodedata.normalize("NFKC", here)
    if plain != here and plain in tuple("\"' =[]{},.#-_"):
        named = "a space" if plain == " " else plain
        return Fault(line, column, f"U+{ord(here):04X} is not {named}, though it looks alike", "type it in half width")
    if message == "Invalid value":
        if here.strip() in ("", "#"):
            return Fault(line, column, "the value is missing")
        return Fault(line, column, "this is no value", "a text stands in quotes; else true, false, a number, [ ... ] or { ... }")
    if message.startswith("Invalid initial character for a key part"):
        if here.strip() == "":
            return Fault(line, column, "a { ... } has to end on the line where it begins", "or write it as a [table] of its own")
        return Fault(line, column, "a name is missing here", 'no comma stands before "}"' if here == "}" else "")
    for pattern, words, hint in _WORDS:
        if re.match(pattern, message):
            return Fault(line, column, words, hint)
    return Fault(line, column, message)


def _twice(text: str, line: int, message: str) -> Fault:
    """A key or a table that was there already, with the line of the first one."""
    from gateway.config.positions import Positions  # it costs start-up time that a good file need not pay

    again = [(first, second) for first, second in Positions(text).twice if second.line <= line]
    if again:
        first, second = again[-1]
        word = "table" if message.startswith("Cannot declare") else "key"
        hint = f"the first is on line {first.line}" if first.line != second.line else "each has one value"
        return Fault(second.line, second.column, f"this {word} stands twice", hint, second.length)
    source = text.split("\n")[line - 1]
    column = len(source) - len(source.lstrip(" \t[")) + 1
    return Fault(line, column, "this has a value already")


def _at(text: str, offset: int) -> tuple[int, int]:
    return text.count("\n", 0, offset) + 1, offset - (text.rfind("\n", 0, offset) + 1) + 1
