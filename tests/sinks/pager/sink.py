"""The `pager` sink: `PAGE <token> <number> <text>` in one line, which the service answers with `ok`, `busy` or `no`."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

from gateway.core.outcome import Delivered, Outcome, Reason, Reject, Retry
from gateway.host.environment import read_regular
from gateway.sinks.base import Opening, Outgoing
from gateway.sinks.net.address_guard import AddressGuard, BlockedAddress, words
from gateway.sinks.net.dial import Dialler
from tests.sinks.pager.config import PagerConfig


def read_prefix(file: Path) -> str:
    """Return the text of the file. Raises ValueError."""
    try:
        return read_regular(file, 1024).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} can't be read") from error


def text_of(delivery: Outgoing, prefix: str) -> str:
    """Return the text of a page, in ASCII."""
    event = delivery.event
    said = f"{event.milestone.value} {event.reference_id or ''}" if event is not None else "a message that cannot be read"
    test = "TEST " if delivery.drill else ""
    return " ".join(f"{test}{prefix} {said}".encode("ascii", "replace").decode().split())


def line_of(config: PagerConfig, token: str, delivery: Outgoing) -> bytes:
    prefix = read_prefix(Path(config.prefix)) if config.prefix is not None else ""
    return f"PAGE {token} {config.number} {text_of(delivery, prefix)}\n".encode()


class PagerSink:
    def __init__(self, config: PagerConfig, opening: Opening) -> None:
        self._config = config
        self._token = opening.secret(config.token).reveal()
        self._dialler = Dialler(AddressGuard.of(config.allow_networks))

    async def send(self, delivery: Outgoing) -> Outcome:
        place = f"{self._config.host}:{self._config.port}"
        try:
            async with asyncio.timeout(self._config.timeout):
                answer = await self._exchange(line_of(self._config, self._token, delivery))
        except TimeoutError:
            return Retry(Reason.TIMEOUT, f"{place}: no answer in time")
        except ConnectionResetError:
            return Retry(Reason.RESET, f"{place} closed the connection")
        except BlockedAddress as error:
            return Retry(Reason.BLOCKED, f"{place}: {words(error)}", sink_wide=True)
        except socket.gaierror:
            return Retry(Reason.DNS, f"{self._config.host} has no address")
        except OSError as error:
            return Retry(Reason.CONNECT, f"{place}: {words(error)}")
        match answer.split(b" ")[0].strip():
            case b"ok":
                return Delivered()
            case b"busy":
                return Retry(Reason.UNAVAILABLE, f"{place} is busy")
            case b"no":
                return Reject(Reason.REJECTED, f"{place} refuses this page")
            case _:
                return Retry(Reason.PROTOCOL, f"{place}: the answer is none of a pager service")

    async def aclose(self) -> None:
        """Do nothing: each page has a connection of its own."""

    async def _exchange(self, line: bytes) -> bytes:
        """Send one line and return the answer, which is empty if the service closes the connection."""
        dialled = await self._dialler.dial(self._config.host, self._config.port)
        reader, writer = await asyncio.open_connection(sock=dialled)
        try:
            writer.write(line)
            return await reader.readline()
        finally:
            writer.transport.abort()
