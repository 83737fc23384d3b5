"""The result of a slice of a purge."""

from __future__ import annotations

from msgspec import Struct


class Purged(Struct, frozen=True):
    """The result of one slice."""

    gone: int
    """Deleted messages."""
    last: int
    """The last seq that the slice looked at."""
    any_old: bool
    """Some message was older than retention."""
    at_end: bool
    """There are no messages beyond `last`."""
