"""Waiting for something that will be true soon, in place of a `sleep` that is too long or too short."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 60.0
"""Seconds. No test is meant to take that long; a machine with more to do than it can must not fail one that is only late."""


async def until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Return as soon as the condition is true; fail if that takes longer than `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not so within {seconds:g} s"
        await asyncio.sleep(0.01)


async def until_answer(ask: Callable[[], Awaitable[T]], is_good: Callable[[T], object], seconds: float = PATIENCE) -> T:
    """Ask again and again until the answer is good, and return it; fail if that takes longer than `seconds`."""
    deadline = time.monotonic() + seconds
    while not is_good(answer := await ask()):
        assert time.monotonic() < deadline, f"within {seconds:g} s the last answer was {answer!r}"
        await asyncio.sleep(0.02)
    return answer
