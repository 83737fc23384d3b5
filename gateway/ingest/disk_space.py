"""Watches the free space of the disk. Below `store.min_free` every webhook is refused, while the lanes go on and make room."""

from __future__ import annotations

from collections.abc import Callable

from gateway.observability.logs import Log
from gateway.observability.metrics import Metrics


class DiskSpace:
    """The free space on the disk of the database, as of the last look."""

    def __init__(self, free: Callable[[], int], least: int, metrics: Metrics, log: Log) -> None:
        """
        Args:
            free: returns how many bytes are free on the disk of the database.
            least: how many bytes have to stay free.
        """
        self._free = free
        self.least = least
        """Bytes that have to stay free."""
        self._metrics = metrics
        self._log = log
        self._unknown = False
        """The disk could not be asked at the last look."""
        self.low = False
        self.free = 0
        """Free bytes at the last look."""

    def use(self, least: int) -> None:
        """Keep another number of bytes free from the next look on."""
        self.least = least

    def room(self) -> int:
        """Return how many bytes may still be written before webhooks are refused, as of now or of the last look."""
        try:
            return self._free() - self.least
        except OSError:  # if the folder is gone, the store finds that out and ends the process
            return self.free - self.least

    def step(self) -> None:
        """Look at the disk again. Log when the space gets low, and when there is enough again."""
        try:
            self.free = free = self._free()
        except OSError as error:  # if the folder is gone, the store finds that out and ends the process
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
