"""Restart under load, with the socket held from outside: no request fails, no message is lost, none is doubled."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.web.server import GRACE_SECONDS
from tests.flow.held import Held
from tests.flow.running import CODE, Receiver, event, http_sink, read_answer, request_bytes, route, signed, until
from tests.flow.supervised import listening

RESTARTS = 10
LISTEN = '[server]\nlisten = ["fd:webhooks"]\n'


class Client:
    """Sends one webhook after the other, as an HTTP client with a pool of connections does: it opens another one where the last
    answer ended it, or the server closed it meanwhile. What it has sent must be answered."""

    def __init__(self, address: tuple[str, int], *, keeps: bool, pause: float) -> None:
        self.address = address
        self.keeps = keeps
        self.pause = pause
        """Seconds between two requests."""
        self.accepted: dict[str, bytes] = {}
        """Bodies by message id."""
        self.failed: list[str] = []
        self.told_to_close = 0

    async def run(self, go_on: Callable[[], bool]) -> None:
        streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        while go_on():
            if streams is not None and (streams[0].at_eof() or not self.keeps):
                streams[1].transport.abort()
                streams = None
            if streams is None:
                streams = await asyncio.open_connection(*self.address)
            reader, writer = streams
            body = event()
            try:
                async with asyncio.timeout(10):
                    writer.write(request_bytes(body, signed(body)))
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
    """A folder that hides the extra `speed` from the process."""
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "uvloop.py").write_text("raise ImportError\n")
    return tmp_path / "hidden"


async def test_ten_restarts_under_load_fail_no_request_lose_and_double_nothing(tmp_path: Path, without_uvloop: Path) -> None:
    """By turns with asyncio's own loop and, where it is installed, with uvloop: they accept and close each in its way."""
    with listening() as webhooks, Receiver() as receiver:
        toml = LISTEN + http_sink(receiver) + route("erp")
        running = Held(tmp_path, toml, {"webhooks": webhooks})
        with running:
            address = webhooks.getsockname()
            clients = [Client(address, keeps=True, pause=0.0) for _ in range(3)]
            clients += [Client(address, keeps=False, pause=0.0) for _ in range(3)]
            clients += [Client(address, keeps=True, pause=GRACE_SECONDS / 3) for _ in range(2)]

            def accepted() -> int:
                return sum(len(client.accepted) for client in clients)

            going = True
            load = asyncio.gather(*(client.run(lambda: going) for client in clients))
            for number in range(RESTARTS):
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
            await until(lambda: len(receiver.requests) >= len(bodies), 20)
            assert await running.stop() == 0

            assert Counter(request.body for request in receiver.requests) == Counter(bodies.values())
            for step in ("message.accepted", "delivery.delivered"):
                assert Counter(line["message_id"] for line in running.audit(step)) == Counter(bodies.keys()), step
            assert running.rows("SELECT state, count(*) FROM deliveries GROUP BY state") == [("delivered", len(bodies))]
            assert "Traceback" not in running.stderr()
