"""The two events of a rejection in one message: which is which, whichever of them came first. Knows no words."""

from __future__ import annotations

from msgspec import Struct

from gateway.core.events import Event, Milestone
from gateway.sinks.base import Outgoing


class BothEvents(Struct, frozen=True):
    rejection: Event
    """The QC/REJECTED."""
    photos: Event
    """The media_rejected, which names the photos and says what is wrong with each."""


def both_events(delivery: Outgoing) -> BothEvents | None:
    """Return the two events of a rejection that one delivery tells; None if it tells a single event."""
    first, second = delivery.event, delivery.partner_event
    if first is None or second is None:
        return None
    rejection, photos = (first, second) if first.milestone is Milestone.QC_REJECTED else (second, first)
    return BothEvents(rejection, photos)


def main_event(delivery: Outgoing) -> Event | None:
    """Return the event that a message is mainly about: of a whole rejection the media_rejected, which says what to do."""
    both = both_events(delivery)
    return delivery.event if both is None else both.photos
