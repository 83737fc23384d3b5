"""A backup made under load replaces the database: which messages remain, arrive twice, or have to be resent."""

from __future__ import annotations

import asyncio
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.running import Result
from tests.cli.running import gateway as command
from tests.support.configurations import http_sink, route
from tests.support.gateway_process import Running
from tests.support.receivers import Receiver
from tests.support.waiting import until
from tests.support.webhooks import event, new_id, signed

KEEP = "mkdir before && mv gateway.db before/ && { mv gateway.db-wal before/ 2>/dev/null; rm -f gateway.db-shm; }"
PUT = "install -m 600 backup.db gateway.db"
"""The steps between the stop and the start. As root, `install` also needs `-o` and `-g` with the gateway's user."""


class World:
    """Messages of three kinds: delivered before the backup, waiting during the backup, and received after it."""

    def __init__(self, running: Running, receiver: Receiver) -> None:
        self.running, self.receiver = running, receiver
        self.bodies: dict[str, bytes] = {}
        self.ids: dict[str, str] = {}
        """The gateway's ids, by sender id."""

    async def post(self, *, sender: str | None = None) -> tuple[str, str]:
        sender = sender or new_id()
        body = self.bodies.setdefault(sender, event())
        answer = await self.running.post(body, signed(body, sender))
        assert answer.status == 200
        self.ids.setdefault(sender, answer.json()["id"])
        return sender, answer.outcome[1]

    async def some(self, number: int) -> set[str]:
        return {sender for sender, _ in await asyncio.gather(*(self.post() for _ in range(number)))}

    async def backup(self) -> Result:
        host, port = self.running.addresses["admin"]  # type: ignore[misc]
        return await asyncio.to_thread(
            command, "db", "backup", "backup.db", "--json", "--admin", f"{host}:{port}", cwd=self.running.folder
        )

    async def steps(self, *steps: str) -> None:
        for step in steps:
            await asyncio.to_thread(subprocess.run, ["sh", "-c", step], cwd=self.running.folder, check=True)

    def kept(self) -> set[str]:
        return {bytes(sender).decode() for (sender,) in self.running.rows("SELECT sender_id FROM messages")}

    def delivered(self) -> Counter[str]:
        """Count the requests of each delivery, by the gateway's message id."""
        return Counter(request.headers["idempotency-key"] for request in self.receiver.requests)

    def keys(self, senders: set[str]) -> set[str]:
        return {f"{self.ids[sender]}-erp" for sender in senders}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with Receiver() as receiver, Running(tmp_path, http_sink(receiver) + route("erp")) as running:
        yield World(running, receiver)
        assert "Traceback" not in running.stderr()


@pytest.mark.parametrize("end", ["a stop", "a crash"])
async def test_a_restore_brings_the_messages_of_the_backup_back_and_delivers_its_queued_deliveries(
    world: World, end: str
) -> None:
    running, receiver = world.running, world.receiver
    before = await world.some(10)
    await until(lambda: len(running.audit("delivery.delivered")) == 10)
    receiver.hold()
    waiting = await world.some(20)
    sending = asyncio.create_task(world.some(30))  # under load: each of them is in the backup, or after it
    done = await world.backup()
    assert done.status == 0, done.err
    await sending
    receiver.release()
    after = await world.some(10)
    await until(lambda: len(running.audit("delivery.delivered")) == 70)
    assert set(world.delivered().values()) == {1}

    if end == "a stop":
        assert await running.stop() == 0
    else:
        await asyncio.to_thread(running.kill)
    lines = running.audit()
    receiver.requests.clear()
    if end == "a crash":  # the log of the database before would be read into the backup: without the first step, no start
        await world.steps(PUT)
        await asyncio.to_thread(running.launch)
        assert await running.exit_code() == 65 and "gateway.db-wal" in running.stderr()
        assert done.document()["size"] == running.database.stat().st_size
    await world.steps(KEEP, PUT)
    await asyncio.to_thread(running.start)

    kept = world.kept()
    assert before | waiting <= kept and not after & kept and len(kept) == done.document()["messages"]
    # What was owed when the backup was made is delivered again, by the same keys; what was delivered by then is not.
    again = world.keys(kept - before)
    await until(lambda: set(world.delivered()) == again)
    await until(lambda: running.rows("SELECT DISTINCT state FROM deliveries") == [("delivered",)])
    assert running.rows("PRAGMA integrity_check") == [("ok",)]
    # The audit log knows more than the database: nothing is written in it a second time.
    new = running.audit()[len(lines) :]
    assert {line["event"] for line in new} == {"gateway.started", "delivery.delivered"}
    assert running.audit()[: len(lines)] == lines
    # What came after it is not known any more, and taken when it is resent; the rest is a duplicate.
    for sender in before | waiting:
        assert (await world.post(sender=sender))[1] == "duplicate"
    lost = set(world.bodies) - kept
    assert after <= lost
    assert lost == {line["sender_id"] for line in lines if line["event"] == "message.accepted"} - kept  # the log says which
    for sender in lost:
        old = world.ids.pop(sender)
        assert (await world.post(sender=sender))[1] == "accepted" and world.ids[sender] != old
    await until(lambda: set(world.delivered()) == again | world.keys(lost))
    if end == "a crash":
        await until(lambda: "store.checked" in running.stderr())
