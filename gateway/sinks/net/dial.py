"""The way from a host to a connected socket, the same for every sink: resolve, ask the guard, race the addresses (RFC 8305).

It must never let one address that drops packets delay the others, and never leave a socket open.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from itertools import zip_longest

from gateway.host.blocking import start_in_thread
from gateway.sinks.net.address_guard import AddressGuard, AddressInfo, BlockedAddress, lookup

CONNECT_SECONDS = 10.0
"""Seconds that resolving and connecting may take together."""
DELAY_SECONDS = 0.25
"""Seconds from one attempt to the next while none has failed (RFC 8305, section 5: the Connection Attempt Delay)."""
_KNOWN_SECONDS = 10.0
"""Seconds for which an answer of DNS is used again. The guard is still asked at each dial."""


class Dialler:
    """Dials for one sink."""

    def __init__(self, guard: AddressGuard, resolve: Callable[[str, int], list[AddressInfo]] = lookup) -> None:
        """Args: resolve: a function that blocks and raises socket.gaierror or UnicodeError; it runs in a thread of its own."""
        self._guard = guard
        self._resolve = resolve
        self._asked: dict[tuple[str, int], tuple[asyncio.Future[list[AddressInfo]], float]] = {}
        """The answer of DNS for a host and port, or the question that is still open, and the time when it was asked."""

    async def dial(self, host: str, port: int, seconds: float = CONNECT_SECONDS) -> socket.socket:
        """Resolve a host and connect to it. Return a non-blocking socket, which the caller owns.

        Args:
            seconds: the time for resolving and connecting together.
        Raises:
            TimeoutError: that time is over.
            UnicodeError: the host is not a name that DNS can have.
            OSError: socket.gaierror, BlockedAddress if no address may be dialled, or the last error of an address.
        """
        async with asyncio.timeout(seconds):
            found = await self.look_up(host, port)
            try:
                return await self.connect(found)
            except OSError:
                self._asked.pop((host, port), None)  # the host may have moved
                raise

    async def look_up(self, host: str, port: int) -> list[AddressInfo]:
        """Return the addresses of a host. Raises socket.gaierror or UnicodeError."""
        now = asyncio.get_running_loop().time()
        asked, at = self._asked.get((host, port), (None, 0.0))
        if asked is None or now - at > _KNOWN_SECONDS:
            asked = start_in_thread(lambda: self._resolve(host, port), f"dns:{host}")
            self._asked = {(host, port): (asked, now)}
        try:
            return await asyncio.shield(asked)
        except (OSError, UnicodeError):
            self._asked.pop((host, port), None)
            raise

    async def connect(self, found: Sequence[AddressInfo]) -> socket.socket:
        """Connect to the first of these addresses that answers. Raises OSError: BlockedAddress, or the error of the last one."""
        race = _Race(interleaved(found), self._guard)
        try:
            return await race.won
        except BaseException:
            race.give_back()
            raise
        finally:
            race.end()


class _Race:
    """Attempts at the addresses of one host. It uses callbacks and has no task that could outlive its caller."""

    def __init__(self, addresses: Sequence[AddressInfo], guard: AddressGuard) -> None:
        self._loop = asyncio.get_running_loop()
        self.won: asyncio.Future[socket.socket] = self._loop.create_future()
        self._guard = guard
        self._waiting = deque(addresses)
        self._running: set[socket.socket] = set()
        self._next: asyncio.TimerHandle | None = None
        self._failure: OSError | None = None
        self._begin()

    def end(self) -> None:
        """Close every socket except the winner's."""
        self._waiting.clear()
        if self._next is not None:
            self._next.cancel()
        for dialled in list(self._running):
            self._drop(dialled)

    def give_back(self) -> None:
        """Close the winner's socket too: the caller was cancelled after it connected, and will never see it."""
        if self.won.done() and not self.won.cancelled() and self.won.exception() is None:
            self.won.result().close()

    def _begin(self) -> None:
        """Begin the next attempt that does not fail at once. Another one begins when it fails, or after the delay."""
        if self._next is not None:
            self._next.cancel()
            self._next = None
        while self._waiting and not self.won.done():
            info = self._waiting.popleft()
            try:
                dialled = self._guard.open_socket(info)
            except OSError as error:
                self._remember(error)
                continue
            dialled.setblocking(False)
            code = dialled.connect_ex(info[4])
            if code in (errno.EINPROGRESS, errno.EINTR):
                self._running.add(dialled)
                self._loop.add_writer(dialled.fileno(), self._answered, dialled)
                self._next = self._loop.call_later(DELAY_SECONDS, self._begin)
                return
            self._ended(dialled, code)
        if not self._running and not self.won.done():
            self.won.set_exception(self._failure or OSError(errno.EADDRNOTAVAIL, "the name has no address"))

    def _answered(self, dialled: socket.socket) -> None:
        self._running.discard(dialled)
        self._loop.remove_writer(dialled.fileno())
        code = dialled.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self._ended(dialled, code)
        if code:
            self._begin()

    def _ended(self, dialled: socket.socket, code: int) -> None:
        if code == 0 and not self.won.done():
            self.won.set_result(dialled)
            return
        dialled.close()
        if code:
            self._remember(OSError(code, os.strerror(code)))

    def _remember(self, error: OSError) -> None:
        """Keep the last error. A blocked address counts only if no address was dialled."""
        if self._failure is None or not isinstance(error, BlockedAddress):
            self._failure = error

    def _drop(self, dialled: socket.socket) -> None:
        self._running.discard(dialled)
        self._loop.remove_writer(dialled.fileno())
        dialled.close()


def interleaved(found: Sequence[AddressInfo]) -> list[AddressInfo]:
    """Alternate between IPv6 and IPv4, each in the order of the resolver (RFC 8305, section 4)."""
    families: dict[int, list[AddressInfo]] = {}
    for info in found:
        families.setdefault(info[0], []).append(info)
    return [info for turn in zip_longest(*families.values()) for info in turn if info is not None]
