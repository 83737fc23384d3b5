"""Counters that differ from what they count, in words."""

from __future__ import annotations

from collections import Counter
from typing import Final

MOST: Final = 20
"""Findings of one kind that a check tells: the first ones say enough."""


def miscounts(kept: Counter[tuple[str, str]], counted: Counter[tuple[str, str]]) -> list[str]:
    """Return the first differences between the counters and the deliveries that are there, each by sink and state."""
    return [
        f"{state} deliveries to {sink}: the counter says {kept[sink, state]}, there are {counted[sink, state]}"
        for sink, state in sorted(kept.keys() | counted.keys())
        if kept[sink, state] != counted[sink, state]
    ][:MOST]
