"""The protocols between systemd and this process: sd_notify(3), sd_watchdog_enabled(3), sd_listen_fds(3).

Without systemd, the notifications do nothing and no sockets are passed. A notification never raises and never waits long, so
the gateway continues even if systemd does not receive it.
"""

from __future__ import annotations

import array
import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from gateway.core.errors import ListenError
from gateway.host.clock import Clock
from gateway.host.environment import Environment

_FIRST_PASSED = 3
"""SD_LISTEN_FDS_START (sd_listen_fds(3))."""
_MOST_STATUS = 300
"""Characters."""
_KEPT = "kept-connections"
"""The name of our connections while systemd holds them (FDNAME= of sd_notify(3))."""
_HANDED_AT_ONCE = 200
"""Descriptors per message. Linux accepts at most 253 (unix(7))."""
_SEND_SECONDS = 0.5
"""Seconds. systemd usually reads at once. If it is busy, a lost READY=1 would end a good start, but a long wait would block the
event loop."""


class Systemd:
    """The service's end of the protocols."""

    def __init__(self, environment: Environment, clock: Clock) -> None:
        address = environment.get("NOTIFY_SOCKET") or ""
        # "@" stands for the NUL at the beginning of an abstract address. An address that is neither that nor a path (vsock) is
        # meant for virtual machines.
        self._address = f"\0{address[1:]}" if address.startswith("@") else address if address.startswith("/") else None
        self._clock = clock
        self._stopping = False
        self.keeps = (environment.get("FDSTORE") or "0").lstrip("0").isdecimal() and self._address is not None
        """True if systemd holds open connections between two processes of the service (FileDescriptorStoreMax= of the unit)."""
        self.watchdog = _watchdog_seconds(environment)
        """Seconds without a ping after which systemd kills and restarts the service; None is never."""

    def starting(self, status: str, seconds: float) -> None:
        """Report a step of the start, and ask for `seconds` more than TimeoutStartSec= allows."""
        self._tell(EXTEND_TIMEOUT_USEC=_microseconds(seconds), STATUS=status)

    def ready(self, status: str) -> None:
        """Report that the gateway listens. `status` is one line, which `systemctl status` shows."""
        self._tell(READY="1", STATUS=status)

    def alive(self, status: str) -> None:
        """Ping the watchdog, if the unit has one. It never waits, because the next ping comes soon."""
        self._tell(0.0, STATUS=status, **{"WATCHDOG": "1"} if self.watchdog else {})

    @asynccontextmanager
    async def reloading(self) -> AsyncIterator[None]:
        """Report a reload from its beginning to its end. The service is ready afterwards, even if the reload was refused."""
        if not self._stopping:
            self._tell(RELOADING="1", MONOTONIC_USEC=str(self._clock.monotonic_microseconds()))
        try:
            yield
        finally:
            if not self._stopping:
                self._tell(READY="1")

    def stopping(self, status: str, seconds: float) -> None:
        """Report that the stop has begun, and ask for `seconds`, even if TimeoutStopSec= is shorter."""
        self._stopping = True
        self._tell(STOPPING="1", EXTEND_TIMEOUT_USEC=_microseconds(seconds), STATUS=status)

    def keep(self, sockets: Sequence[socket.socket]) -> int:
        """Hand open sockets to systemd, which holds them until the next process of this service takes them.

        Return how many of them, counted from the first, systemd has taken. The caller closes its own descriptors. If the service
        is stopped and not started again, systemd closes the sockets.
        """
        for begin in range(0, len(sockets), _HANDED_AT_ONCE):
            if not self._tell(_SEND_SECONDS, sockets[begin : begin + _HANDED_AT_ONCE], FDSTORE="1", FDNAME=_KEPT):
                return begin
        return len(sockets)

    def take_kept(self, environment: Environment) -> list[socket.socket]:
        """Return the connections that the previous process left. systemd no longer holds them, so closing one ends it."""
        kept = []
        for descriptor, name in passed_sockets(environment):
            if name == _KEPT:
                with suppress(OSError):
                    kept.append(passed := socket.socket(fileno=descriptor))
                    passed.set_inheritable(False)
        if kept:
            self._tell(FDSTOREREMOVE="1", FDNAME=_KEPT)
        return kept

    def _tell(self, seconds: float = _SEND_SECONDS, sockets: Sequence[socket.socket] = (), /, **assignments: str) -> bool:
        """Send a message, and return True if systemd has received it or will read it."""
        if self._address is None:
            return False
        lines = "\n".join(f"{name}={_one_line(value)}" for name, value in assignments.items())
        descriptors = array.array("i", [one.fileno() for one in sockets])
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)] if sockets else []
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sending:
                sending.settimeout(seconds)
                sending.sendmsg([lines.encode(errors="replace")], rights, 0, self._address)
        except OSError:
            return False
        return True


def passed_names(environment: Environment) -> set[str]:
    """Return the names of the sockets that a socket unit configured, without those of kept connections."""
    return {name for _, name in passed_sockets(environment)} - {_KEPT}


def passed_sockets(environment: Environment) -> list[tuple[int, str]]:
    """Return the descriptors that systemd passed, each with its name (FileDescriptorName=).

    A socket unit with several addresses gives all of them the same name.
    """
    if environment.get("LISTEN_PID") != str(os.getpid()):
        return []  # no sockets, or they were meant for a parent process whose environment we inherited
    count = environment.get("LISTEN_FDS") or "0"
    names = (environment.get("LISTEN_FDNAMES") or "").split(":")
    return [
        (_FIRST_PASSED + at, names[at] if at < len(names) else "unknown") for at in range(int(count) if count.isdecimal() else 0)
    ]


def listening_sockets(name: str, environment: Environment) -> list[socket.socket]:
    """Return the passed sockets with a name, at least one.

    systemd holds them as well, so closing them here does not end them, and no waiting connection is lost. Raises ListenError if
    no socket has the name, or if one is not a listening stream socket.
    """
    passed = passed_sockets(environment)
    found = [descriptor for descriptor, given in passed if given == name]
    if not found:
        others = ", ".join(sorted(passed_names(environment)))
        said = f"it passed {others}" if others else "it passed no sockets"
        raise ListenError(f"systemd passed no socket named {name} ({said}): see FileDescriptorName= in the socket unit")
    return [_listening(descriptor, name) for descriptor in found]


def _listening(descriptor: int, name: str) -> socket.socket:
    try:
        passed = socket.socket(fileno=descriptor)
        listens = passed.type == socket.SOCK_STREAM and passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise ListenError(f"the socket {name} that systemd passed cannot be used: {error.strerror}") from None
    if not listens:
        passed.detach()  # leave the descriptor open, it may serve another purpose
        raise ListenError(f"the socket {name} that systemd passed does not listen: it needs ListenStream= and Accept=no")
    passed.set_inheritable(False)
    return passed


def _watchdog_seconds(environment: Environment) -> float | None:
    """Return the interval of sd_watchdog_enabled(3). The variables may be meant for a parent process."""
    microseconds, pid = environment.get("WATCHDOG_USEC") or "", environment.get("WATCHDOG_PID")
    if not microseconds.isdecimal() or int(microseconds) == 0 or pid not in (None, str(os.getpid())):
        return None
    return int(microseconds) / 1e6


def _microseconds(seconds: float) -> str:
    return str(round(seconds * 1e6))


def _one_line(text: str) -> str:
    """Replace line breaks, which would begin another assignment, and shorten the text."""
    return "".join(character if character.isprintable() else " " for character in text)[:_MOST_STATUS]
