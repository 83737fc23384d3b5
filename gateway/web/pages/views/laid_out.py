"""Lays out bodies for people without stopping the event loop."""

from __future__ import annotations

from functools import partial
from typing import Final

from gateway.host.blocking import run_in_thread
from gateway.web.pages.shown_text import ShownText, payload

MOST_AT_ONCE: Final = 6 * 1024
"""Bytes that are laid out on the event loop: 1.0 ms of processor time as events come, 4.5 ms if they are
nothing but short tokens."""


async def laid_out(body: str | None) -> ShownText | None:
    """Return a body as a page shows it, a longer one from a thread of its own; None if there is none to show."""
    if body is None:
        return None
    raw = body.encode("utf-8", "surrogatepass")
    return payload(raw) if len(raw) <= MOST_AT_ONCE else await run_in_thread(partial(payload, raw), "payload")
