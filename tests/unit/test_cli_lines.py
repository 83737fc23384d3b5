"""What the commands print: JSON that every reader takes, audit lines of any shape, and a sender's text as it came."""

from __future__ import annotations

import json
import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.common import console
from gateway.cli.lines import readable, style_of, to_json

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


def test_neither_emoji_codes_nor_markup_mean_anything(capsys: Any) -> None:
    console().print("SHOP:100:BLK [bold]x[/bold] :warning: [/]")
    assert capsys.readouterr().out == "SHOP:100:BLK [bold]x[/bold] :warning: [/]\n"
