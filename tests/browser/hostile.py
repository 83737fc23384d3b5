"""Bodies of events that a stranger, or a strange sender, would write to harm the people who look at them.

A payload that runs calls `canary()`, or asks for a path that begins with `/canary`; a `Visit` keeps both as troubles.
"""

from __future__ import annotations

import json

from tests.support.webhooks import event

MARKUP = """</script></pre></textarea></title><script>canary('script')</script><img src=/canary.png onerror=canary('img')>\
<svg onload=canary('svg')><a href="javascript:canary('link')">x</a>{{ canary('template') }}{% raw %}<!--"""
ATTRIBUTE = """" onmouseover="canary('hover')" autofocus onfocus="canary('focus')" x='"""
TURNED = "Item \u202egpj.tsap\u2066\u2069 \u200b\u200d\ufeff\u2028\u0007\u001b[31m"
"""Characters that turn the direction of writing, draw nothing, ring, and paint a terminal."""
LONG_WORD = "W" * 5000
DEPTH = 100_000
"""Levels of nesting, a body of 200 KB."""


def _text(value: str) -> bytes:
    """An event that has a text in every field that people read, except its type and state."""
    return event(
        value[:200] + " sr",
        reference_id=value,
        event_type="media_rejected",
        sides=[{"side": value, "reason": value, "message": value}] * 3,
    )


HOSTILE: dict[str, bytes] = {
    "markup": _text(MARKUP),
    "attribute": _text(ATTRIBUTE),
    "turned": _text(TURNED),
    "long word": _text(LONG_WORD),
    "blank": event("sr-blank", reference_id=" \u3000\u00a0 "),
    "unseen": event("sr-unseen", reference_id="\u200b" * 200),
    "unknown type": event("sr-unknown", event_type=MARKUP, state=None),
    "unknown state": event("sr-state", reference_id="ITEM-STATE", state={"primary": MARKUP, "supplement": TURNED}),
    "verdict": event("sr-verdict", reference_id=MARKUP, state={"primary": "COMPLETE", "supplement": "APPROVED"}),
    "path": event("../../acts?x=1#y%2f", reference_id="a/b/../%2e%2e.json?#&lang=ja"),
    "markup in keys": event("sr-keys", reference_id="ITEM-KEYS", **{MARKUP: {TURNED: [MARKUP]}}),
    "surrogate and NUL": event("sr-surrogate", reference_id="ITEM-SURROGATE")[:-1] + rb',"text":"\ud800 \u0000 \udfff"}',
    "numbers": event("sr-numbers", reference_id="ITEM-NUMBERS")[:-1]
    + b',"price":123456789012345678901234567890.10,"far":1e400,"minus":-0.0}',
    "huge": event("sr-huge", reference_id="ITEM-HUGE", notes=["a line of words " * 20] * 780),
    "huge in one line": event("sr-line", reference_id="ITEM-LINE", notes="x" * 240_000),
    "deep": event("sr-deep", reference_id="ITEM-DEEP")[:-1] + b',"deep":' + b"[" * DEPTH + b"]" * DEPTH + b"}",
    "deep objects": event("sr-objects", reference_id="ITEM-OBJECTS")[:-1]
    + b',"deep":'
    + b'{"a":' * 30_000
    + b"1"
    + b"}" * 30_001,
    "many fields": event("sr-fields", reference_id="ITEM-FIELDS", **{f"field_{number}": number for number in range(5000)}),
    "not JSON": b"<html><script>canary('quarantined')</script>" + MARKUP.encode(),
    "binary": bytes(range(256)) * 64,
    "a list": json.dumps([MARKUP]).encode(),
}
"""Bodies by the name of what is bad about them. The last three are no JSON objects, so they are quarantined."""
ANSWER = f"<script>canary('answer')</script>{MARKUP}{TURNED}"
"""The body with which a hostile sink answers."""
