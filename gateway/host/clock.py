"""The only source of time and randomness. It is passed on as an argument, so that a test can pass its own."""

from __future__ import annotations

import asyncio
import os
import random
import time


class Clock:
    """The clock of this host. The clock of a test has the same methods, and moves only when the test says so."""

    def __init__(self) -> None:
        self._last_id = 0
        self._entropy = memoryview(b"")

    def now(self) -> float:
        """Return the Unix seconds, for instants that are shown or stored. They can jump."""
        return time.time()

    def monotonic(self) -> float:
        """Return the seconds since an unspecified start, for durations inside this process. They never jump."""
        return time.monotonic()

    def planned(self, instant: float) -> float:
        """Return an instant of the wall clock as the store counts planned times and ages.

        The two differ after a jump of the wall clock until the store has been corrected.
        """
        return instant

    def monotonic_microseconds(self) -> int:
        """Return the microseconds of CLOCK_MONOTONIC, the clock that systemd compares with."""
        return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000

    def jitter(self) -> float:
        """Return a random number, uniformly distributed between -1 and 1."""
        return random.uniform(-1.0, 1.0)

    def new_id(self) -> str:
        """Return a UUIDv7 in hex (RFC 9562, section 5.7), greater than every earlier one of this clock."""
        milliseconds = time.time_ns() // 1_000_000
        if milliseconds == self._last_id >> 80:
            return self._next_id()
        if not self._entropy:
            self._entropy = memoryview(os.urandom(1000))  # one system call for a hundred ids
        random_bits = int.from_bytes(self._entropy[:10], "big")
        self._entropy = self._entropy[10:]
        value = milliseconds << 80 | 0x7 << 76 | (random_bits >> 68) << 64 | 0b10 << 62 | random_bits & (1 << 62) - 1
        if value <= self._last_id:
            return self._next_id()
        self._last_id = value
        return f"{value:032x}"

    def _next_id(self) -> str:
        """Return the last id plus one, for the same millisecond or a clock that was set back (RFC 9562, section 6.2)."""
        value = self._last_id + 1
        if value >> 62 & 0b11 != 0b10:  # the counter left its 62 bits and changed the variant
            value = (value >> 80) + 1 << 80 | 0x7 << 76 | 0b10 << 62
        self._last_id = value
        return f"{value:032x}"

    def new_key(self) -> str:
        """Return 256 random bits as text, which nobody can guess."""
        return os.urandom(32).hex()

    async def wait(self, event: asyncio.Event, seconds: float | None) -> bool:
        """Wait until the event is set, at most for `seconds` (None is without limit). Return True if it was set."""
        if event.is_set():
            return True
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return False
        return True
