"""The places of deliveries in the order of their service requests: the first one may go, the others are behind it.

The first is the one whose event happened first, then the one accepted first. It knows no database.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.store.new_rows import DeliveryRow

Turn = tuple[str, bytes]
"""A sink and a service request."""
Place = tuple[int, int]
"""The due_ms and the message of an open delivery that is not behind another one of its sink."""
BEGINNING: Place = (-(1 << 62), 0)
"""A place before every delivery."""


def placed(
    rows: Sequence[DeliveryRow], stored: Mapping[Turn, tuple[int, int]]
) -> tuple[list[DeliveryRow], list[tuple[int, str]]]:
    """Give new deliveries their place in the order.

    Args:
        stored: the event's instant and the message of the first open delivery of each service request that has one.
    Returns the rows with their values of `behind`, and message and sink of the stored deliveries that they overtake.
    """
    first = dict(stored)
    for seq, sink, _, _, sr, event_ms, _ in rows:
        if sr is not None and event_ms is not None:
            first[sink, sr] = min(first.get((sink, sr), (event_ms, seq)), (event_ms, seq))
    overtaken = [(place[1], turn[0]) for turn, place in stored.items() if first[turn] != place]
    return [row if row[4] is None else (*row[:6], int(first[row[1], row[4]] != (row[5], row[0]))) for row in rows], overtaken
