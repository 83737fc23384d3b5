"""The memory that all lanes together may fill with deliveries. It counts bytes, and knows no lane and no sink.

A lane may hold as many bytes as are still free after it took them (the dynamic threshold of Choudhury and Hahne, IEEE/ACM
Transactions on Networking 6(2), 1998): a few lanes share nearly all of the memory, many lanes get equal parts, and a part always
stays free for the next one.
"""

from __future__ import annotations

from typing import Final

DEFAULT_BYTES: Final = 64 * 1024 * 1024


class Memory:
    """The budget of bytes; each lane opens an `Account` on it."""

    def __init__(self, limit: int = DEFAULT_BYTES) -> None:
        """`limit` is in bytes. Each account may hold one delivery beyond it, so that no sink's trouble stops another sink."""
        self.limit = limit
        self.used = 0
        """Bytes that the accounts hold together."""

    def account(self) -> Account:
        """Open an account for one lane."""
        return Account(self)


class Account:
    """The part of the memory that one lane holds."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.held = 0
        """Bytes."""

    @property
    def room(self) -> int:
        """Bytes that the lane may take now, at least 0."""
        return max(self._memory.limit - self._memory.used - self.held, 0)

    def has_room_for(self, size: int, most: int) -> bool:
        """Return whether the lane may take `size` bytes and then holds at most `most`; always true while it holds nothing."""
        return self.held == 0 or size <= min(self.room, most - self.held)

    def take(self, size: int) -> None:
        """Hold `size` bytes more, whether there is room or not."""
        self.held += size
        self._memory.used += size

    def give(self, size: int) -> None:
        """Give back `size` bytes."""
        self.take(-size)
