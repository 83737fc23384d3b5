"""Restarts by systemd with the real units: no sender sees a failure, and idle connections stay open.

Where systemd cannot be booted, the same senders send while a stand-in holds the sockets as systemd does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.support.booted_systemd import SERVICE, Booted
from tests.support.exchange import read_answer, request_bytes
from tests.support.senders import Senders
from tests.support.service_manager import DescriptorStore, listening
from tests.support.socket_activated import SocketActivated
from tests.support.waiting import PATIENCE, until
from tests.support.webhooks import event, signed

RESTARTS = 5
PROFILE = Path(__file__).parents[2] / "config/service.toml"
TOML = '[server]\nlisten = ["fd:webhooks"]\n[[routes]]\nsinks = []\n'


class Stored(SocketActivated):
    """A gateway whose idle connections are held for it while it restarts."""

    def __init__(self, folder: Path, webhooks: object, store: DescriptorStore) -> None:
        super().__init__(folder, TOML, {"webhooks": webhooks})  # type: ignore[dict-item]
        self._store = store
        self._listening = list(self.passed)

    def launch(self) -> None:
        self.passed = [*self._listening, *(held.fileno() for held in self._store.held)]
        names = ["webhooks", *self._store.names]
        self.variables |= {"LISTEN_FDS": str(len(names)), "LISTEN_FDNAMES": ":".join(names)}
        self.variables |= {"NOTIFY_SOCKET": self._store.address, "FDSTORE": "1024"}
        super().launch()


async def restarted(senders: Senders, restart: Callable[[], Awaitable[object]]) -> None:
    """Restart under the load of the senders, and check the answers; two connections are idle nearly all the time."""
    (reader, writer), (silent_reader, silent_writer) = [await asyncio.open_connection(*senders.address) for _ in range(2)]
    async with senders.sending():
        for _ in range(RESTARTS):
            enough = senders.total() + 150
            await until(lambda enough=enough: senders.total() >= enough)  # type: ignore[misc]
            await restart()
            body = event()
            writer.write(request_bytes(body, signed(body)))
            answer = await asyncio.wait_for(read_answer(reader, 0.0), PATIENCE)
            assert (answer.outcome, answer.header("connection")) == ((200, "accepted"), None), "on the connection from before"
    body = event()
    silent_writer.write(request_bytes(body, signed(body)))
    assert (await asyncio.wait_for(read_answer(silent_reader, 0.0), PATIENCE)).outcome == (200, "accepted")
    print(f"{RESTARTS} restarts: {senders.accepted}")
    assert senders.failed == []
    assert len(senders.accepted) == 8, "each kind has sent"
    for one in (writer, silent_writer):
        one.transport.abort()


async def test_no_request_fails_while_systemd_restarts_the_service(free_port: Callable[[], int]) -> None:
    with Booted(free_port(), PROFILE.read_text()) as booted:
        senders = Senders(booted.address)
        await restarted(senders, lambda: asyncio.to_thread(booted.run, "systemctl", "restart", SERVICE))
        accepted = booted.run(
            "grep", "--count", '"message.accepted".*"source":"legitmark"', "/var/log/legitmark-gateway/audit.jsonl"
        )
        assert int(accepted) == senders.total() + RESTARTS + 1, "each once"
        assert "Traceback" not in booted.journal()


async def test_no_request_fails_while_the_sockets_are_held_and_the_process_changes(tmp_path: Path) -> None:
    with (
        listening() as webhooks,
        DescriptorStore(str(tmp_path / "notify")) as store,
        Stored(tmp_path, webhooks, store) as running,
    ):

        async def restart() -> None:
            assert await running.stop() == 0
            assert store.held, "those that are idle were handed over"
            await asyncio.to_thread(running.start)

        senders = Senders(webhooks.getsockname())
        await restarted(senders, restart)
        assert len(running.audit("message.accepted")) == senders.total() + RESTARTS + 1
        assert "Traceback" not in running.stderr()
