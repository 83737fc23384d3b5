"""Texts of strangers: every hidden character is shown, no token of JSON is rewritten, and nothing takes long."""

from __future__ import annotations

import json
import re
import time
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.web.pages.shown_text import MOST_SHOWN, payload, visible, visible_lines

HIDING = ("Cc", "Cf", "Cs", "Zl", "Zp")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
SPACES = re.compile(r'("(?:[^"\\]|\\.)*")|\s+', re.DOTALL)


def compact(text: str) -> str:
    """A text without the spaces outside its strings."""
    return SPACES.sub(lambda match: match[1] or "", text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ITEM-1001", "ITEM-1001"),
        ("商品 1001 ✓", "商品 1001 ✓"),
        ("Zoë\u00a0Ng", "Zoë\u00a0Ng"),
        ("a\u202eb", "a⟦U+202E⟧b"),
        ("a\u2066b\u2069", "a⟦U+2066⟧b⟦U+2069⟧"),
        ("a\u200bb\ufeff", "a⟦U+200B⟧b⟦U+FEFF⟧"),
        ("a\0b", "a⟦U+0000⟧b"),
        ("a\nb\tc", "a⟦U+000A⟧b⟦U+0009⟧c"),
        ("a\x1b[31m", "a⟦U+001B⟧[31m"),
        ("half \ud83d", "half ⟦U+D83D⟧"),
        ("tag \U000e0041", "tag ⟦U+E0041⟧"),
        ("filler \u3164", "filler ⟦U+3164⟧"),
        ("selector \U000e0100", "selector ⟦U+E0100⟧"),
        ("heart ❤️", "heart ❤️"),
        ("\uffff", "⟦U+FFFF⟧"),
    ],
)
def test_a_character_that_draws_nothing_is_shown_as_its_number(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text(alphabet=st.characters()))
def test_no_shown_text_has_a_hidden_character(text: str) -> None:
    assert not [one for one in visible(text) if category(one) in HIDING]
    assert not [one for one in visible_lines(text) if category(one) in HIDING and one not in "\n\t"]


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["C", "Z", "M", "So", "Lo"])))
def test_a_text_that_hides_nothing_stays_as_it_is(text: str) -> None:
    assert visible(text) == visible_lines(text) == text


@given(VALUES, st.sampled_from([None, 1, "\t"]), st.booleans())
def test_json_is_laid_out_from_its_own_tokens(value: object, indent: int | str | None, ascii_only: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    shown = payload(text.encode("utf-8", "surrogatepass"))
    assert shown.is_json and not shown.cut
    assert compact(shown.text) == visible_lines(compact(text))


def test_no_number_and_no_escape_is_rewritten() -> None:
    raw = b'{"a":1.50,"b":1e400,"c":12345678901234567890123,"d":"\\u202e\\/","a":-0.0}'
    assert payload(raw).text == (
        '{\n  "a": 1.50,\n  "b": 1e400,\n  "c": 12345678901234567890123,\n  "d": "\\u202e\\/",\n  "a": -0.0\n}'
    )


def test_empty_objects_and_lists_stay_on_their_line() -> None:
    assert payload(b'{"a":{},"b":[],"c":[{}]}').text == '{\n  "a": {},\n  "b": [],\n  "c": [\n    {}\n  ]\n}'


@given(st.binary(max_size=300))
def test_any_bytes_can_be_shown(raw: bytes) -> None:
    shown = payload(raw)
    shown.text.encode()
    assert len(shown.text) <= MOST_SHOWN


@pytest.mark.parametrize("raw", [b"", b"hello", b"{", b"[1,]", b'{"a":1} x', b"\xff\xfe", b"NaNa"])
def test_a_payload_that_is_not_json_is_shown_as_it_came(raw: bytes) -> None:
    assert payload(raw).text == raw.decode("utf-8", "replace")
    assert not payload(raw).is_json


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"a":"' + b"\\" * 300_000,
        b'"' * 300_000,
        b"[" + b"1," * 200_000 + b"1]",
        "‮".encode() * 200_000,
    ],
    ids=["deep lists", "deep objects", "backslashes", "quotes", "long list", "bidi"],
)
def test_a_hostile_payload_is_bounded_in_length_and_in_time(raw: bytes) -> None:
    begun = time.perf_counter()
    shown = payload(raw)
    assert time.perf_counter() - begun < 2.0
    assert len(shown.text) <= MOST_SHOWN and shown.cut


def test_a_payload_that_is_cut_says_so_and_is_still_laid_out() -> None:
    shown = payload(b'{"a":"' + b"x" * MOST_SHOWN + b'"}')
    assert shown.cut and shown.is_json and shown.text.startswith('{\n  "a": "xxx'[:8])
