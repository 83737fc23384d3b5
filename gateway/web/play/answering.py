"""The answer that a person chooses for every request to a receiver. Pure."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

PAGE: Final = "/_play"
"""The path of the receiver's page; every other path takes webhooks."""
LOWEST, HIGHEST = 200, 599
LONGEST_RETRY = 86_400


class Answering(Struct, frozen=True):
    """How requests are answered."""

    status: int | None = None
    """The status of every answer. None answers as the local server does, or with 200 if nothing is forwarded."""
    retry_after: int | None = None
    """Seconds for the header `Retry-After`; None sends none."""


class AnswerChoice:
    """The choice in effect, which the page may change."""

    def __init__(self, answering: Answering) -> None:
        self.answering = answering


def answering_of(status: str | None, retry_after: str | None) -> Answering | None:
    """Return the choice that the fields of a form make; None if it cannot be. An empty field chooses nothing."""
    try:
        chosen = Answering(_number(status), _number(retry_after))
    except ValueError:
        return None
    if chosen.status is not None and not LOWEST <= chosen.status <= HIGHEST:
        return None
    if chosen.retry_after is not None and chosen.retry_after > LONGEST_RETRY:
        return None
    return chosen


def _number(text: str | None) -> int | None:
    if text is None or not text.strip():
        return None
    if not text.strip().isascii() or not text.strip().isdigit() or len(text) > 8:
        raise ValueError("not a number")
    return int(text)
