"""Line and column of keys and values: in random TOML documents, each of them is found exactly where it was written."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from typing import Any, Literal, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.config.positions import Keys, Positions, Span

T = TypeVar("T")
On = Literal["key", "value"]
Draw = Callable[[st.SearchStrategy[T]], T]

SPACE = st.sampled_from(["", " ", "  ", "\t", " \t "])
LINE_END = st.sampled_from(["\n", "\n", "\r\n"])
WORDS = st.sampled_from(["a", "primary", "鑑定", "が", "が", "🎒", "x-1", "Ａ", "a b", "#", "=", "[", "{"])
SCALARS = st.sampled_from(
    [
        '"text"',
        '"真贋鑑定 # no comment"',
        '"a \\" b"',
        "'literal \\'",
        '""',
        "''",
        "0",
        "-1_000",
        "1.5e3",
        "inf",
        "true",
        "2026-03-01",
        "2026-03-01T10:00:00Z",
        "07:32:00",
        '"""one line"""',
        '"""two\nlines 鞄"""',
        "'''two\nlines'''",
    ]
)


class Writer:
    """Writes a document and records the place of each key and value."""

    def __init__(self, draw: Callable[[st.SearchStrategy[Any]], Any]) -> None:
        self.draw = draw
        self.text = ""
        self.expected: dict[tuple[Keys, On], Span] = {}
        self._names = 0

    def document(self) -> None:
        for _ in range(self.draw(st.integers(0, 3))):
            self.pair(())
        lists: dict[str, tuple[str, int]] = {}
        for _ in range(self.draw(st.integers(0, 5))):
            self.blank()
            kind = self.draw(st.sampled_from(["table", "list", "again", "below"] if lists else ["table", "list"]))
            if kind == "table":
                parts = [self.part() for _ in range(self.draw(st.integers(1, 3)))]
                span = self.header("[", [written for written, _ in parts])
                keys: Keys = tuple(name for _, name in parts)
                for end in range(1, len(keys)):
                    self.expected[(keys[:end], "key")] = span
            elif kind == "below":
                # A table below a list of tables is one of its last element.
                above = self.draw(st.sampled_from(sorted(lists)))
                written, name = self.part()
                span = self.header("[", [above, written])
                keys = (*lists[above], name)
            else:
                written, name = (
                    self.part() if kind == "list" else self.draw(st.sampled_from([(w, n) for w, (n, _) in lists.items()]))
                )
                number = lists[written][1] + 1 if written in lists else 0
                lists[written] = (name, number)
                span = self.header("[[", [written])
                keys = (name, number)
            self.expected[(keys, "key")] = span
            for _ in range(self.draw(st.integers(0, 3))):
                self.pair(keys)

    def header(self, bracket: str, parts: list[str]) -> Span:
        self.write(self.draw(SPACE) + bracket + self.draw(SPACE))
        span = self.write(self.draw(st.sampled_from([".", " . "])).join(parts))
        self.write(self.draw(SPACE) + bracket.replace("[", "]"))
        self.line_end()
        return span

    def pair(self, above: Keys, *, inline: bool = False) -> None:
        if not inline:
            self.blank()
            self.write(self.draw(SPACE))
        keys = above
        for number in range(self.draw(st.integers(1, 3))):
            if number:
                self.write(self.draw(SPACE) + "." + self.draw(SPACE))
            written, name = self.part()
            keys = (*keys, name)
            self.expected[(keys, "key")] = self.write(written)
        self.write(self.draw(SPACE) + "=" + self.draw(SPACE))
        self.value(keys, 0)
        if not inline:
            self.line_end()

    def part(self) -> tuple[str, str]:
        """Return one part of a key as written, and as meant. All parts are different, and a quoted one may contain dots."""
        self._names += 1
        quoted = f"{self.draw(WORDS)}.{self.draw(WORDS)}.{self._names}"
        plain = f"key_{self._names}"
        forms = [(plain, plain), (f'"{plain}"', plain), (f'"{quoted}"', quoted), (f"'{quoted}'", quoted)]
        number: int = self.draw(st.integers(0, 3))
        return forms[number]

    def value(self, keys: Keys, depth: int) -> None:
        kind = self.draw(st.sampled_from(["scalar", "scalar", "array", "table"])) if depth < 3 else "scalar"
        start = len(self.text)
        if kind == "scalar":
            self.write(self.draw(SCALARS))
        elif kind == "array":
            self.write("[")
            count = self.draw(st.integers(0, 3))
            for number in range(count):
                self.between_elements()
                self.value((*keys, number), depth + 1)
                self.between_elements()
                if number < count - 1 or self.draw(st.booleans()):
                    self.write(",")
            self.between_elements()
            self.write("]")
        else:
            self.write("{" + self.draw(SPACE))
            for number in range(self.draw(st.integers(0, 3))):
                if number:
                    self.write(self.draw(SPACE) + "," + self.draw(SPACE))
                self.pair(keys, inline=True)
            self.write(self.draw(SPACE) + "}")
        self.expected[(keys, "value")] = self.span(start)

    def between_elements(self) -> None:
        self.write(self.draw(SPACE))
        if self.draw(st.booleans()):
            self.line_end()

    def blank(self) -> None:
        for _ in range(self.draw(st.integers(0, 2))):
            self.line_end()

    def line_end(self) -> None:
        comment = self.draw(st.sampled_from(["", "", " # 秘密鍵 🎒", '# "a" = { b = [1] }', "\t#"]))
        self.write(comment + self.draw(LINE_END))

    def write(self, text: str) -> Span:
        start = len(self.text)
        self.text += text
        return self.span(start)

    def span(self, start: int) -> Span:
        """Return the text written since then; of several lines, only the part on the first."""
        before = self.text[:start]
        piece = self.text[start:].split("\n")[0].rstrip()
        return Span(before.count("\n") + 1, start - (before.rfind("\n") + 1) + 1, max(len(piece), 1))


@st.composite
def documents(draw: Draw[Any]) -> Writer:
    writer = Writer(draw)
    writer.document()
    return writer


def lookup(values: Any, keys: Keys) -> Any:
    for key in keys:
        values = values[key]
    return values


@given(writer=documents())
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_each_key_and_each_value_is_found_where_it_was_written(writer: Writer) -> None:
    document = tomllib.loads(writer.text)
    positions = Positions(writer.text)
    for (keys, on), span in writer.expected.items():
        lookup(document, keys)
        assert positions.find(keys, on) == span, (keys, on)
    assert positions.twice == []


@given(writer=documents())
@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_a_missing_key_is_shown_at_its_table(writer: Writer) -> None:
    positions = Positions(writer.text)
    for (keys, on), span in writer.expected.items():
        if on == "key":
            assert positions.find((*keys, "nowhere")) == span
            assert positions.find((*keys, "nowhere", "at all"), "key") == span


@pytest.mark.parametrize(
    ("text", "keys", "on", "span"),
    [
        ("a = 1", ("a",), "key", Span(1, 1, 1)),
        ("a = 1", ("a",), "value", Span(1, 5, 1)),
        ("a = 1", ("b",), "value", Span(1, 1, 1)),
        ("", ("b",), "value", Span(1, 1, 1)),
        ("# 鍵\n[server]\n", ("server", "drain"), "value", Span(2, 2, 6)),
        ("[[routes]]\n[[routes]]\nname = 'x'", ("routes", 1, "name"), "value", Span(3, 8, 3)),
        (
            "[[routes]]\n[routes.match]\na = 1\n[[routes]]\n[routes.match]\na = 2",
            ("routes", 1, "match", "a"),
            "value",
            Span(6, 5, 1),
        ),
        ("'state.primary' = 'QC'", ("state", "primary"), "value", Span(1, 19, 4)),
        ("'state.primary' = 'QC'", ("state.primary",), "key", Span(1, 1, 15)),
        ("m = { state.primary = 'QC' }", ("m", "state.primary"), "key", Span(1, 13, 7)),
        ("'鍵' = [1, '鞄', 3]", ("鍵", 2), "value", Span(1, 16, 1)),
        ("source = 'x'", ("source", 0), "value", Span(1, 10, 3)),
        ("a = [\n  1, # 一\n  2,\n]", ("a",), "value", Span(1, 5, 1)),
        ("a = [\n  1, # 一\n  2,\n]", ("a", 1), "value", Span(3, 3, 1)),
        ("a = 1\r\nb = [ 2 ]\r\n", ("b",), "value", Span(2, 5, 5)),
    ],
)
def test_a_place_is_found(text: str, keys: Keys, on: On, span: Span) -> None:
    assert Positions(text).find(keys, on) == span


@pytest.mark.parametrize(
    ("text", "first", "second"),
    [
        ("a = 1\na = 2", Span(1, 1, 1), Span(2, 1, 1)),
        ("a.b = 1\na . b = 2", Span(1, 3, 1), Span(2, 1, 5)),
        ("a = { b = 1, 'b' = 2 }", Span(1, 7, 1), Span(1, 14, 3)),
        ("a.b = 1\na = 2", Span(1, 1, 1), Span(2, 1, 1)),
        ("a = 1\na.b = 2", Span(1, 1, 1), Span(2, 1, 3)),
        ("[a]\n[b]\n[a]", Span(1, 2, 1), Span(3, 2, 1)),
        ("[[a]]\n[a]", Span(1, 3, 1), Span(2, 2, 1)),
        ("[a]\nb = {}\n[a.b]", Span(2, 1, 1), Span(3, 2, 3)),
    ],
)
def test_a_duplicate_is_found_with_both_its_places(text: str, first: Span, second: Span) -> None:
    with pytest.raises(tomllib.TOMLDecodeError):
        tomllib.loads(text)
    assert Positions(text).twice == [(first, second)]


@pytest.mark.parametrize(
    "text", ["[a.b]\n[a]", "[[a]]\n[[a]]", "[[a]]\n[a.b]\n[[a]]\n[a.b]", "a.b = 1\na.c = 2", "a = [{ b = 1 }, { b = 1 }]"]
)
def test_equal_keys_of_different_tables_are_not_duplicates(text: str) -> None:
    tomllib.loads(text)
    assert Positions(text).twice == []
