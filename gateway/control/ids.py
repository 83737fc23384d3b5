"""Which messages and which sinks a person's words name. Changes nothing."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from gateway.core.selection import Target
from gateway.store.base import MOST_NAMED, Counting, Naming


class Unknown(LookupError):
    """A name that is not in the configuration; `known` are the names that are."""

    def __init__(self, text: str, known: Sequence[str]) -> None:
        super().__init__(text)
        self.known = known


async def seqs_of(store: Naming, text: str | None, after: int, most: int = MOST_NAMED) -> list[int] | None:
    """Find the messages beyond a seq that an id stands for, at most `most`; None if no id was given.

    A text that is a whole id of some message is never taken for the beginning of another id. If it names nothing, its lower
    case counts. Raises ValueError if the text is empty: an unset shell variable must not mean everything.
    """
    if text is None:
        return None
    if not text:
        raise ValueError("an id is not empty")
    for whole in (True, False):
        for spelling in dict.fromkeys((text, text.lower())):
            found = await _named(store, spelling, after, most, whole=whole)
            if found or (after > 0 and await _named(store, spelling, 0, 1, whole=whole)):
                return found
    return []


def last_of_many(seqs: list[int] | None, most: int = MOST_NAMED) -> int | None:
    """Return the last of the messages that an id stands for if there may be more of them than the `most` asked for, else None."""
    return seqs[-1] if seqs is not None and len(seqs) == most else None


def beyond(seqs: list[int] | None) -> Target | None:
    """Return the delivery to go on after, if an id may stand for more messages than these."""
    last = last_of_many(seqs)
    return None if last is None else Target(last + 1, "")


async def check_sink(store: Counting, lanes: Collection[str], sink: str | None) -> None:
    """Raise Unknown for a sink that is not in the configuration and never had a delivery."""
    if sink is not None and sink not in lanes and sink not in (counts := await store.counts()):
        raise Unknown(f'there is no sink "{sink}"', list(dict.fromkeys([*lanes, *counts])))


async def _named(store: Naming, text: str, after: int, most: int, *, whole: bool) -> list[int]:
    """Read page by page, so that other questions are answered in between."""
    seqs: list[int] = []
    go_on: int | None = after
    while go_on is not None and len(seqs) < most:
        page, go_on = await store.named(text, go_on, whole=whole)
        seqs += page
    return seqs[:most]
