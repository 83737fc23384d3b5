"""The output of commands: strict JSON, audit lines of any shape, and the text of senders unchanged."""

from __future__ import annotations

import json
import math
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from gateway.cli.audit_line import Wanted, readable, style_of
from gateway.cli.output import console, printable, to_json

ANY_TEXT = st.text(alphabet=st.characters(exclude_categories=()), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=12,
)
KEYS = ("time", "event", "sinks", "routes", "sink", "attempt", "status", "duration_ms", "reason", "detail", "count", "milestone")


def refuse(text: str) -> Any:
    raise AssertionError(f"{text} is not JSON")


@given(VALUES)
def test_every_document_is_strict_json_with_the_same_values(document: Any) -> None:
    text = to_json(document)
    text.encode()
    read = json.loads(text, parse_constant=refuse)
    assert _same(read, document)


def _same(read: Any, meant: Any) -> bool:
    if isinstance(meant, float) and math.isnan(meant):
        return read is None
    if isinstance(meant, dict):
        return isinstance(read, dict) and list(read) == list(meant) and all(_same(read[key], meant[key]) for key in meant)
    if isinstance(meant, list):
        return isinstance(read, list) and len(read) == len(meant) and all(map(_same, read, meant))
    return bool(read == meant)


@given(st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), VALUES, max_size=8))
def test_an_audit_line_of_any_shape_is_readable(line: dict[str, Any]) -> None:
    style_of(line)
    assert "\n" not in "".join(readable(line))
    for wanted in (Wanted(sr="x"), Wanted(sink="x"), Wanted(failed=True), Wanted(earliest="2026")):
        wanted(line)


def test_emoji_codes_and_markup_are_printed_literally(capsys: Any) -> None:
    console().print("SHOP:100:BLK [bold]x[/bold] :warning: [/]")
    assert capsys.readouterr().out == "SHOP:100:BLK [bold]x[/bold] :warning: [/]\n"


@given(st.text(st.characters(exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp"]) | st.sampled_from("\u00ad\u200c\u200d")))
@example("Réf\u00a0:\u202f12 ناخ\u200cشه 👩\u200d💻 \U0001fae9 🏴\U000e0067\U000e0062\U000e007f a\u3000b")
def test_text_written_by_people_is_printed_unchanged(text: str) -> None:
    """The cases are spaces of every language, joiners, and letters and emoji newer than this version of Python."""
    assert printable(text) == text


@given(
    st.text(st.characters(categories=["Cc", "Cs", "Zl", "Zp"]) | st.sampled_from("\u202e\u2066\u200f\ufeff\u200b"), min_size=1)
)
def test_characters_that_control_a_terminal_become_question_marks(text: str) -> None:
    assert printable(f"a{text}z") == f"a{'?' * len(text)}z"
