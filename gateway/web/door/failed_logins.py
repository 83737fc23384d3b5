"""The bound on how often one address may try to sign in."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

_AT_ONCE = 10
"""Attempts that an address has after a pause."""
_EVERY = 6.0
"""Seconds until an address has one more."""
_MOST_ADDRESSES = 4096
"""Addresses that are remembered; beyond them, the one that tried least recently is forgotten."""


class FailedLogins:
    """Attempts to sign in, by address. An attempt counts before its end is known, so that many at once count, too."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        """`monotonic` returns seconds from an unspecified start."""
        self._monotonic = monotonic
        self._full_at: OrderedDict[str, float] = OrderedDict()
        """When each address has all its attempts again (the generic cell rate algorithm, ITU-T I.371)."""

    def __len__(self) -> int:
        return len(self._full_at)

    def begin(self, address: str) -> float:
        """Count an attempt and return 0; or return the seconds until the address may try again."""
        now = self._monotonic()
        full_at = max(self._full_at.get(address, now), now)
        if (wait := full_at - now - (_AT_ONCE - 1) * _EVERY) > 0:
            return wait
        self._full_at[address] = full_at + _EVERY
        self._full_at.move_to_end(address)
        if len(self._full_at) > _MOST_ADDRESSES:
            self._full_at.popitem(last=False)
        return 0.0

    def succeeded(self, address: str) -> None:
        """Take back an attempt that was good."""
        if address in self._full_at:
            self._full_at[address] -= _EVERY
            if self._full_at[address] <= self._monotonic():
                del self._full_at[address]
