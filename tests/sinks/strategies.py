"""Hypothesis strategies for deliveries."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from tests.sinks.sending import outgoing

LINK = "https://erp.example.com/items/{reference_id}?sr={sr_uuid}"
RECIPIENTS = ["care@example.com", "担当 <ops@example.com>"]
NASTY = [
    "\r\nBcc: victim@example.com\r\n\r\nbody",
    "\r\n.\r\nQUIT\r\n",
    "=?utf-8?q?=0D=0ABcc:_victim@example.com?=",
    "=?utf-8?b?DQpCY2M6IGFAYi5j?=",
    "=?x?q?",
    "<!here>",
    "<!channel|x>",
    "<@U1>",
    "&lt;!here&gt;",
    "*bold* _it_ `code`",
    "\u202eevil\u2066",
    "👩\u200d👩\u200d👧",
    "\x1b[2J\x07",
    "\x00",
    "\u2028",
    "\u2029",
    "\x85",
    "\ufeff",
    "日本語のとても長い文章",
    "x" * 2000,
    "x" * 100_000,
    "<script>alert(1)</script>",
    "</td></table><img src=x onerror=alert(1)>",
    "<!--",
    "{{ 7 * 7 }}{% raw %}",
    "' style='display:none",
    "、" * 1500,
    " " * 500,
    '"',
    "\\",
    "\\u0000",
    "\ud800",
    ": ; , ( ) < > @",
]
texts = st.lists(st.one_of(st.sampled_from(NASTY), st.text(max_size=60)), max_size=4).map("".join)
maybe: st.SearchStrategy[Any] = st.one_of(texts, st.none(), st.integers(), st.just({}), st.lists(texts, max_size=2))


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    event: dict[str, Any] = {
        "event_type": draw(st.one_of(st.sampled_from(["state_change", "media_rejected", "invalidate_sr"]), texts)),
        "sides": draw(st.lists(st.fixed_dictionaries({"side": texts, "reason": texts, "message": texts}), max_size=4)),
        "invalidation_reason": {"code": draw(texts), "message": draw(texts)},
        "state": {"primary": draw(st.one_of(st.just("QC"), texts)), "supplement": draw(st.one_of(st.just("PENDING"), texts))},
    }
    for name in ("sr_uuid", "reference_id", "timestamp"):
        event[name] = draw(maybe)
    return event


deliveries = events().map(lambda event: outgoing(json.dumps(event).encode()))
