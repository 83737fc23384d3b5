"""Bodies for people, laid out beside the event loop."""

from __future__ import annotations

import asyncio

import pytest

from gateway.web.pages.shown_text import payload
from gateway.web.pages.views.laid_out import MOST_AT_ONCE, laid_out


@pytest.mark.parametrize(("size", "beside"), [(MOST_AT_ONCE, False), (MOST_AT_ONCE + 1, True)])
def test_the_event_loop_goes_on_while_a_long_body_is_laid_out(size: int, beside: bool) -> None:
    body = "[" + "1" * (size - 2) + "]"

    async def went_on() -> bool:
        turns: list[int] = []
        asyncio.get_running_loop().call_soon(turns.append, 1)
        assert await laid_out(body) == payload(body.encode())
        return bool(turns)

    assert asyncio.run(went_on()) is beside


def test_a_body_that_may_not_be_seen_is_not_laid_out() -> None:
    assert asyncio.run(laid_out(None)) is None
