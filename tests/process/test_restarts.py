"""Restarts under load, with the sockets held outside the process: no request fails, no message is lost or repeated."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from gateway.web.server.drain_times import SENDERS
from tests.support.certificates import Certified
from tests.support.configurations import http_sink, route
from tests.support.exchange import read_answer, request_bytes
from tests.support.forked_gateway import CODE
from tests.support.receivers import Receiver
from tests.support.service_manager import listening
from tests.support.socket_activated import SocketActivated
from tests.support.waiting import PATIENCE, until
from tests.support.webhooks import event, signed

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[], Awaitable[Streams]]

RESTARTS = 10
LISTEN = '[server]\nlisten = ["fd:webhooks"]\n'


class Client:
    """A sender with one connection, as in the pool of an HTTP client. It sends one webhook after the other, and opens another
    connection when an answer or the server ended the last one. Every request that it sends must be answered."""

    def __init__(self, connect: Connect, *, keeps: bool, pause: float = 0.0, halting: float = 0.0) -> None:
        self.connect = connect
        self.keeps = keeps
        self.pause = pause
        """Seconds between two requests."""
        self.halting = halting
        """Seconds that it waits in the middle of a body."""
        self.accepted: dict[str, bytes] = {}
        """Accepted bodies by message id."""
        self.failed: list[str] = []
        self.told_to_close = 0

    async def run(self, go_on: Callable[[], bool]) -> None:
        streams: Streams | None = None
        while go_on():
            if streams is not None and (streams[0].at_eof() or not self.keeps):
                streams[1].transport.abort()
                streams = None
            if streams is None:
                streams = await self.connect()
            reader, writer = streams
            body = event()
            try:
                async with asyncio.timeout(PATIENCE):
                    request = request_bytes(body, signed(body))
                    writer.write(request[:-20])
                    if self.halting:
                        await asyncio.sleep(self.halting)
                    writer.write(request[-20:])
                    answer = await read_answer(reader, 0.0)
            except (OSError, TimeoutError) as error:
                self.failed.append(repr(error))
                streams = None
                continue
            if answer.outcome == (200, "accepted"):
                self.accepted[answer.json()["id"]] = body
            else:
                self.failed.append(str(answer))
            if answer.header("connection") == "close":
                self.told_to_close += 1
                writer.transport.abort()
                streams = None
            await asyncio.sleep(self.pause)
        if streams is not None:
            streams[1].transport.abort()


@pytest.fixture
def without_uvloop(tmp_path: Path) -> Path:
    """A folder for `PYTHONPATH` that makes the import of uvloop fail."""
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "uvloop.py").write_text("raise ImportError\n")
    return tmp_path / "hidden"


async def restarted(
    running: SocketActivated, receiver: Receiver, clients: list[Client], times: int, without_uvloop: Path
) -> None:
    """Restart the gateway under load, and check that no request failed and that each accepted message was delivered once.

    The restarts alternate between asyncio's own loop and uvloop, if it is installed: each accepts and closes in its own way.
    """

    def accepted() -> int:
        return sum(len(client.accepted) for client in clients)

    going = True
    load = asyncio.gather(*(client.run(lambda: going) for client in clients))
    for number in range(times):
        enough = accepted() + 20
        await until(lambda enough=enough: accepted() >= enough)  # type: ignore[misc]
        assert await running.stop() == 0
        running.variables["PYTHONPATH"] = f"{without_uvloop}:{CODE}" if number % 2 == 0 else str(CODE)
        await asyncio.to_thread(running.start)
    going = False
    await load

    assert [failure for client in clients for failure in client.failed] == []
    assert all(client.told_to_close for client in clients if client.keeps), "it was let go with a word"
    bodies = {message_id: body for client in clients for message_id, body in client.accepted.items()}
    await until(lambda: len(receiver.requests) >= len(bodies))
    assert await running.stop() == 0

    assert Counter(request.body for request in receiver.requests) == Counter(bodies.values())
    for step in ("message.accepted", "delivery.delivered"):
        assert Counter(line["message_id"] for line in running.audit(step)) == Counter(bodies.keys()), step
    assert running.rows("SELECT state, count(*) FROM deliveries GROUP BY state") == [("delivered", len(bodies))]
    assert "Traceback" not in running.stderr()


async def test_ten_restarts_under_load_fail_no_request_and_neither_lose_nor_repeat_a_message(
    tmp_path: Path, without_uvloop: Path
) -> None:
    with listening() as webhooks, Receiver() as receiver:

        async def connect() -> Streams:
            return await asyncio.open_connection(*webhooks.getsockname())

        with SocketActivated(tmp_path, LISTEN + http_sink(receiver) + route("erp"), {"webhooks": webhooks}) as running:
            clients = [Client(connect, keeps=True) for _ in range(3)]
            clients += [Client(connect, keeps=False) for _ in range(3)]
            clients += [Client(connect, keeps=True, pause=SENDERS.fresh / 3) for _ in range(2)]
            clients += [Client(connect, keeps=True, halting=SENDERS.fresh * 1.2)]
            await restarted(running, receiver, clients, RESTARTS, without_uvloop)


async def test_restarts_with_tls_and_a_unix_socket_fail_no_request_and_neither_lose_nor_repeat_a_message(
    tmp_path: Path, without_uvloop: Path
) -> None:
    certified, path = Certified(tmp_path), tmp_path / "webhooks.sock"
    certified.issue()
    with listening() as secure, listening(path) as local, Receiver() as receiver:

        async def shake_hands() -> Streams:
            return await asyncio.open_connection(*secure.getsockname(), **certified.options)

        async def connect() -> Streams:
            return await asyncio.open_unix_connection(path)

        toml = f'[server]\nlisten = ["fd:secure", "fd:local"]\n{certified.toml}' + http_sink(receiver) + route("erp")
        with SocketActivated(tmp_path, toml, {"secure": secure, "local": local}) as running:
            clients = [Client(to, keeps=keeps) for to in (shake_hands, connect) for keeps in (True, False) for _ in range(2)]
            await restarted(running, receiver, clients, 4, without_uvloop)
