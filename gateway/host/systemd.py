"""What systemd and this process tell each other, by its protocols: sd_notify(3), sd_watchdog_enabled(3), sd_listen_fds(3).

Without systemd nothing is told and nothing was passed on. Telling never fails and never waits long: whatever becomes of it, the
gateway goes on.
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
"""What our connections are called while systemd holds them (FDNAME= of sd_notify(3))."""
_HANDED_AT_ONCE = 200
"""Descriptors in a message: Linux takes 253 (unix(7))."""
_SEND_SECONDS = 0.5
"""systemd reads at once; were it busy, a lost READY=1 would end a good start, and a long wait would hold the loop."""


class Systemd:
    """The one end of the conversation that is ours."""

    def __init__(self, environment: Environment, clock: Clock) -> None:
        address = environment.get("NOTIFY_SOCKET") or ""
        # "@" stands for the NUL that an abstract address begins with; what is neither that nor a path is meant for other hosts.
        self._address = f"\0{address[1:]}" if address.startswith("@") else address if address.startswith("/") else None
        self._clock = clock
        self._stopping = False
        self.keeps = (environment.get("FDSTORE") or "0").lstrip("0").isdecimal() and self._address is not None
        """Whether it holds open connections for us while the process changes (FileDescriptorStoreMax= of the unit)."""
        self.watchdog = _watchdog_seconds(environment)
        """Seconds without a ping after which systemd kills and restarts us; None: never."""

    def starting(self, status: str, seconds: float) -> None:
        """Say what the start is at; it may take so many seconds more, whatever TimeoutStartSec= says."""
        self._tell(EXTEND_TIMEOUT_USEC=_microseconds(seconds), STATUS=status)

    def ready(self, status: str) -> None:
        """Everything listens. `status` is one line, shown by `systemctl status`."""
        self._tell(READY="1", STATUS=status)

    def alive(self, status: str) -> None:
        """Ping the watchdog, where there is one. Waits for nobody: the next ping comes soon."""
        self._tell(0.0, STATUS=status, **{"WATCHDOG": "1"} if self.watchdog else {})

    @asynccontextmanager
    async def reloading(self) -> AsyncIterator[None]:
        """A reload, until it is done or was refused: either way the service is ready again, by what it runs on."""
        if not self._stopping:
            self._tell(RELOADING="1", MONOTONIC_USEC=str(self._clock.monotonic_microseconds()))
        try:
            yield
        finally:
            if not self._stopping:
                self._tell(READY="1")

    def stopping(self, status: str, seconds: float) -> None:
        """Say that the stop has begun; it may take so many seconds, whatever TimeoutStopSec= says."""
        self._stopping = True
        self._tell(STOPPING="1", EXTEND_TIMEOUT_USEC=_microseconds(seconds), STATUS=status)

    def keep(self, sockets: Sequence[socket.socket]) -> int:
        """Hand open sockets to systemd, which holds them until the next process of this service takes them; return how many it
        has, the first ones. The caller closes its own. A stop that no start follows closes them."""
        for begin in range(0, len(sockets), _HANDED_AT_ONCE):
            if not self._tell(_SEND_SECONDS, sockets[begin : begin + _HANDED_AT_ONCE], FDSTORE="1", FDNAME=_KEPT):
                return begin
        return len(sockets)

    def take_kept(self, environment: Environment) -> list[socket.socket]:
        """The connections that the process before us left. systemd lets go of them: who closes one, ends it."""
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
        """Return whether systemd has it, or will read it."""
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
    """The names of the sockets that somebody configured: not those of connections that were kept."""
    return {name for _, name in passed_sockets(environment)} - {_KEPT}


def passed_sockets(environment: Environment) -> list[tuple[int, str]]:
    """The descriptors that systemd passed on, each with the name that FileDescriptorName= gave it; a socket unit that listens on
    several addresses gives all of them one name."""
    if environment.get("LISTEN_PID") != str(os.getpid()):
        return []  # none, or they were meant for a process before us, which let us inherit its environment
    count = environment.get("LISTEN_FDS") or "0"
    names = (environment.get("LISTEN_FDNAMES") or "").split(":")
    return [
        (_FIRST_PASSED + at, names[at] if at < len(names) else "unknown") for at in range(int(count) if count.isdecimal() else 0)
    ]


def listening_sockets(name: str, environment: Environment) -> list[socket.socket]:
    """The passed sockets of a name, at least one. To close them ends nothing: systemd holds them, too, with what waits in them.

    Raises ListenError where none has the name, or one is not a stream socket that listens.
    """
    passed = passed_sockets(environment)
    found = [descriptor for descriptor, given in passed if given == name]
    if not found:
        others = ", ".join(sorted(passed_names(environment)))
        said = f"it passed {others}" if others else "it passed none"
        raise ListenError(f"systemd passed no socket named {name} ({said}): see FileDescriptorName= in the socket unit")
    return [_listening(descriptor, name) for descriptor in found]


def _listening(descriptor: int, name: str) -> socket.socket:
    try:
        passed = socket.socket(fileno=descriptor)
        listens = passed.type == socket.SOCK_STREAM and passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise ListenError(f"the socket {name} that systemd passed can't be used: {error.strerror}") from None
    if not listens:
        passed.detach()  # it is not ours to close
        raise ListenError(f"the socket {name} that systemd passed does not listen: it needs ListenStream= and Accept=no")
    passed.set_inheritable(False)
    return passed


def _watchdog_seconds(environment: Environment) -> float | None:
    """sd_watchdog_enabled(3): the variables may be meant for a process before us."""
    microseconds, pid = environment.get("WATCHDOG_USEC") or "", environment.get("WATCHDOG_PID")
    if not microseconds.isdecimal() or int(microseconds) == 0 or pid not in (None, str(os.getpid())):
        return None
    return int(microseconds) / 1e6


def _microseconds(seconds: float) -> str:
    return str(round(seconds * 1e6))


def _one_line(text: str) -> str:
    """A line break would begin another assignment."""
    return "".join(character if character.isprintable() else " " for character in text)[:_MOST_STATUS]
