"""The only source of time and randomness. Passed to whatever needs it, so that a test can hold its own."""

from __future__ import annotations

import asyncio
import os
import random
import time


class Clock:
    """The clock of this host. A test's clock has the same methods and moves when it is told to."""

    def __init__(self) -> None:
        self._last_id = 0
        self._entropy = memoryview(b"")

    def now(self) -> float:
        """Unix seconds, UTC: for what is shown or stored. It can jump."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds from an unknown start: for spans inside this process. It never jumps."""
        return time.monotonic()

    def planned(self, instant: float) -> float:
        """An instant of the wall clock, for what is planned or grows old: not the same while a jump has yet to be put right."""
        return instant

    def monotonic_microseconds(self) -> int:
        """Return the time of CLOCK_MONOTONIC, in microseconds: systemd compares with that clock."""
        return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000

    def jitter(self) -> float:
        """Evenly between -1 and 1."""
        return random.uniform(-1.0, 1.0)

    def new_id(self) -> str:
        """A UUIDv7 in hex (RFC 9562, section 5.7), greater than every one this clock made before."""
        milliseconds = time.time_ns() // 1_000_000
        if milliseconds == self._last_id >> 80:
            return self._next_id()
        if not self._entropy:
            self._entropy = memoryview(os.urandom(1000))  # a system call for a hundred ids
        random_bits = int.from_bytes(self._entropy[:10], "big")
        self._entropy = self._entropy[10:]
        value = milliseconds << 80 | 0x7 << 76 | (random_bits >> 68) << 64 | 0b10 << 62 | random_bits & (1 << 62) - 1
        if value <= self._last_id:
            return self._next_id()
        self._last_id = value
        return f"{value:032x}"

    def _next_id(self) -> str:
        """Another one in the same millisecond, or after the clock went back: count up, as RFC 9562 (6.2) allows."""
        value = self._last_id + 1
        if value >> 62 & 0b11 != 0b10:  # the count ran out of its 62 bits, into the variant's two
            value = (value >> 80) + 1 << 80 | 0x7 << 76 | 0b10 << 62
        self._last_id = value
        return f"{value:032x}"

    async def wait(self, event: asyncio.Event, seconds: float | None) -> bool:
        """Wait until the event is set, at most for some seconds (None: without end); whether it was set."""
        if event.is_set():
            return True
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return False
        return True
