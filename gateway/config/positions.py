"""Line and column of every key and value in a TOML file, found with tree-sitter. tomllib reads values and finds syntax errors.

This module is imported only when there is something to show. A valid file without warnings never needs it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from typing import Literal

import tree_sitter_toml
from msgspec import Struct
from tree_sitter import Language, Node, Parser

Keys = tuple[str | int, ...]
"""A quoted key with dots counts as its parts: `"state.primary"` is found as `state`, `primary`."""


class Span(Struct, frozen=True):
    """A piece of one line. Line and column are 1-based, column and length in characters."""

    line: int
    column: int
    length: int


class Positions:
    """The spans of all keys, values and tables of one file."""

    def __init__(self, text: str) -> None:
        self._lines = text.encode().split(b"\n")
        self._keys: dict[Keys, Span] = {}
        self._values: dict[Keys, Span] = {}
        self._tables: dict[Keys, Span] = {}
        self._counts: dict[Keys, int] = {}
        self.headers: set[int] = set()
        """The 1-based lines that hold only the name of a table."""
        self.twice: list[tuple[Span, Span]] = []
        """The first and the second span of each key or table that appears twice. `tomllib` refuses a file with any."""
        root = Parser(Language(tree_sitter_toml.language())).parse(text.encode()).root_node
        for node in root.named_children:
            match node.type:
                case "pair":
                    self._pair(node, ())
                case "table":
                    self._table(node, listed=False)
                case "table_array_element":
                    self._table(node, listed=True)

    def find(self, keys: Keys, on: Literal["key", "value"] = "value") -> Span:
        """Return the span of a key or of its value.

        If the file has neither, return that of the table that would hold it; without such a table, the beginning of the file.
        """
        keys = tuple(part for key in keys for part in (key.split(".") if isinstance(key, str) else (key,)))
        for first, second in ((self._keys, self._values), (self._values, self._keys))[:: 1 if on == "key" else -1]:
            if (span := first.get(keys) or second.get(keys)) is not None:
                return span
        # A list of one element may be written as that element alone, so its place is the value itself.
        return self.find(keys[:-1], "value" if isinstance(keys[-1], int) else "key") if keys else Span(1, 1, 1)

    def _table(self, node: Node, *, listed: bool) -> None:
        header, *rest = node.named_children
        keys = self._in_lists(tuple(_names(header)))
        if listed:
            number = self._counts.get(keys, 0)
            self._counts[keys] = number + 1
            self._tables.setdefault(keys, self._span(header))
            keys = (*keys, number)
        span = self._span(header)
        self.headers.add(span.line)
        self._claim(keys, span, 1, self._tables)
        self._tables.setdefault(keys, span)
        for end in range(1, len(keys) + 1):
            self._keys.setdefault(keys[:end], span)
        for pair in rest:
            if pair.type == "pair":
                self._pair(pair, keys)

    def _in_lists(self, names: tuple[str, ...]) -> Keys:
        """Insert the numbers of list elements. A header below a list of tables means the last element of that list."""
        keys: Keys = ()
        for name in names[:-1]:
            keys = (*keys, name)
            if keys in self._counts:
                keys = (*keys, self._counts[keys] - 1)
        return (*keys, names[-1])

    def _pair(self, node: Node, prefix: Keys) -> None:
        key, value = [child for child in node.named_children if child.type != "comment"][:2]
        names = tuple(_names(key))
        self._claim((*prefix, *names), self._span(key), len(prefix) + 1, self._keys)
        done: Keys = prefix
        for part in _parts(key):
            done = (*done, *_names(part))
            self._keys.setdefault(done, self._span(part))
        self._value(value, done)

    def _claim(self, keys: Keys, span: Span, shortest: int, there: Mapping[Keys, Span]) -> None:
        """Note a key that has a value already, or that leads through a key with a value."""
        valued = [keys[:end] for end in range(shortest, len(keys) + 1) if keys[:end] in self._values]
        first = self._keys[valued[0]] if valued else there.get(keys)
        if first is not None:
            self.twice.append((first, span))

    def _value(self, node: Node, keys: Keys) -> None:
        self._values.setdefault(keys, self._span(node))
        if node.type == "inline_table":
            for pair in node.named_children:
                if pair.type == "pair":
                    self._pair(pair, keys)
        elif node.type == "array":
            elements = [child for child in node.named_children if child.type != "comment"]
            for number, element in enumerate(elements):
                self._value(element, (*keys, number))

    def _span(self, node: Node) -> Span:
        # tree-sitter counts bytes.
        row, start = node.start_point
        line = self._lines[row]
        end = node.end_point[1] if node.end_point[0] == row else len(line)
        column = len(line[:start].decode(errors="replace"))
        return Span(row + 1, column + 1, max(len(line[start:end].decode(errors="replace").rstrip()), 1))


def _parts(key: Node) -> Iterator[Node]:
    """Yield the single keys of `a.b.c`."""
    if key.type == "dotted_key":
        for child in key.named_children:
            yield from _parts(child)
    else:
        yield key


def _names(key: Node) -> Iterator[str]:
    for part in _parts(key):
        text = (part.text or b"").decode(errors="replace")
        try:
            yield from next(iter(tomllib.loads(f"{text} = 0"))).split(".") if part.type == "quoted_key" else [text]
        except tomllib.TOMLDecodeError:
            yield text
