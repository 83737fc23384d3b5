"""The memory that all lanes together may fill with deliveries. It knows bytes and shares, and nothing of lanes or sinks.

A lane may hold as much as is still free after that (the dynamic threshold of Choudhury and Hahne, IEEE/ACM Transactions on
Networking 6(2), 1998): few lanes share nearly all of it, many get equal parts, and a part always stays free for the next one.
"""

from __future__ import annotations

from typing import Final

DEFAULT_BYTES: Final = 64 * 1024 * 1024


class Memory:
    """The budget of bytes; each lane opens an `Account` on it."""

    def __init__(self, limit: int = DEFAULT_BYTES) -> None:
        """`limit` in bytes. Each account may hold one delivery beyond it, so that nobody's trouble stops another."""
        self.limit = limit
        self.used = 0
        """Bytes that the accounts hold together."""

    def account(self) -> Account:
        return Account(self)


class Account:
    """What one lane holds of the memory."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.held = 0
        """Bytes."""

    @property
    def room(self) -> int:
        """Bytes that it may take now, 0 at least."""
        return max(self._memory.limit - self._memory.used - self.held, 0)

    def has_room_for(self, size: int, most: int) -> bool:
        """Whether it may take `size` bytes and hold `most` at most; always true while it holds nothing."""
        return self.held == 0 or size <= min(self.room, most - self.held)

    def take(self, size: int) -> None:
        self.held += size
        self._memory.used += size

    def give(self, size: int) -> None:
        """Give back what was taken."""
        self.take(-size)
