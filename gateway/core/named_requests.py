"""The service requests that a name stands for, as people read them before an act. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

MOST_NAMED_REQUESTS: Final = 5
"""Service requests that a confirmation names; further ones are counted."""
MOST_MESSAGES_NAMED: Final = 500
"""Messages of a name that are looked at for their service requests."""


class NamedRequest(Struct, frozen=True):
    """One service request."""

    sr_uuid: str
    reference_id: str | None
    """The first reference id that a message gave."""


class NamedRequests(Struct, frozen=True):
    """The service requests of the messages that a name stands for."""

    requests: tuple[NamedRequest, ...]
    """The first ones, at most MOST_NAMED_REQUESTS."""
    more: int
    """How many further ones there are."""
    loose: int
    """Messages that belong to no service request."""
    complete: bool
    """False: the name stands for more messages than were looked at, and perhaps for more requests."""

    @property
    def number(self) -> int:
        """How many requests were found."""
        return len(self.requests) + self.more


def named_requests(messages: Iterable[tuple[str | None, str | None]], *, complete: bool) -> NamedRequests:
    """Return the service requests of messages, those of the first messages first.

    Args:
        messages: the SR uuid and the reference id of each.
        complete: these are all messages of the name.
    """
    found: dict[str, str | None] = {}
    loose = 0
    for sr_uuid, reference_id in messages:
        if not sr_uuid:
            loose += 1
        elif found.get(sr_uuid) is None:
            found[sr_uuid] = reference_id
    every = [NamedRequest(*one) for one in found.items()]
    return NamedRequests(tuple(every[:MOST_NAMED_REQUESTS]), len(every[MOST_NAMED_REQUESTS:]), loose, complete)
