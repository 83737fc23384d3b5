"""How much room the disk has: below `store.min_free` nothing more is taken in, while the lanes go on and make room."""

from __future__ import annotations

from collections.abc import Callable

from gateway.observability.logs import Log
from gateway.observability.metrics import Metrics


class Space:
    def __init__(self, free: Callable[[], int], least: int, metrics: Metrics, log: Log) -> None:
        """
        Args:
            free: tells how many bytes are free where the database lies.
            least: bytes that have to stay free.
        """
        self._free = free
        self.least = least
        """Bytes that have to stay free."""
        self._metrics = metrics
        self._log = log
        self._unknown = False
        """The last look told nothing."""
        self.low = False
        self.free = 0
        """Bytes, at the last look."""

    def use(self, least: int) -> None:
        """Keep another number of bytes free from the next look on."""
        self.least = least

    def room(self) -> int:
        """Bytes that may still be written before messages are refused; by the last look if the disk cannot be asked now."""
        try:
            return self._free() - self.least
        except OSError:  # the folder may be gone: the store finds that out, and ends the process
            return self.free - self.least

    def step(self) -> None:
        """Look again."""
        try:
            self.free = free = self._free()
        except OSError as error:  # whether the folder is still there is for the store to say
            was_unknown, self._unknown = self._unknown, True
            if not was_unknown:
                self._log.warning("space.unknown", error=error.strerror)
            return
        self._unknown = False
        was_low, self.low = self.low, free < self.least
        self._metrics.free_bytes(free, self.least)
        if self.low and not was_low:
            self._log.error("space.low", free=free, min_free=self.least, do="make room: webhooks are answered 503 until then")
        if was_low and not self.low:
            self._log.info("space.back", free=free)
