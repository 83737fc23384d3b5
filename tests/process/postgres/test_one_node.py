"""One gateway on PostgreSQL does what it does on a file: accept, dedupe, deliver, answer people, stop, start, refuse"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.postgres.kit import PASSWORD, OnPostgres, delivered
from tests.support.gateway_process import no_traceback
from tests.support.postgres_server import PostgresPlace, postgres_server
from tests.support.receivers import Receiver
from tests.support.waiting import until
from tests.support.webhooks import event, new_id, signed

UUID = "b16c763b-5a1d-4a52-9a70-0d4c3b2a1f00"
REFUSES: tuple[int, dict[str, str]] = (500, {})


@pytest.fixture
def running(tmp_path: Path, postgres_place: PostgresPlace, receiver: Receiver) -> Iterator[OnPostgres]:
    gateway = OnPostgres(tmp_path, postgres_place, receiver, more='retry = ["0s"]\nbreaker = { failures = 1000 }')
    with gateway as running, no_traceback(running):
        yield running
    assert PASSWORD not in gateway.stderr()


async def test_a_message_is_accepted_once_delivered_and_told_to_people(running: OnPostgres, receiver: Receiver) -> None:
    body, name = event(UUID), new_id()
    first = await running.post(body, signed(body, name))
    again = await running.post(body, signed(body, name))
    assert (first.status, again.status) == (200, 200)
    assert first.json()["id"] == again.json()["id"]
    await until(lambda: running.states() == {"delivered": 1})
    assert [request.body for request in receiver.requests] == [body]

    id = first.json()["id"]
    status = running.document("status")
    assert status["ready"] and status["database_bytes"] > 0
    (listed,) = running.ask("messages", "--json").out.splitlines()
    assert json.loads(listed)["message_id"] == id
    assert id in running.ask("show", id).out
    assert UUID in running.ask("sr", UUID).out
    assert UUID in running.ask("srs").out
    page = await running.admin(f"/messages/{id}", [("Accept", "text/html")])
    assert page.status == 200
    assert id in page.body.decode()
    metrics = (await running.admin("/metrics")).body.decode()
    assert PASSWORD not in metrics


async def test_a_dead_delivery_is_replayed_and_another_one_discarded(running: OnPostgres, receiver: Receiver) -> None:
    receiver.always = REFUSES
    replayed, discarded = [(await running.post(event())).json()["id"] for _ in range(2)]
    await until(lambda: running.states() == {"dead": 2})
    receiver.always = (200, {})
    running.ask("replay", replayed, "--yes")
    running.ask("discard", discarded, "--yes")
    await until(lambda: running.states() == {"delivered": 1, "discarded": 1})
    assert [line["message_id"] for line in running.audit("delivery.discarded")] == [discarded]


async def test_a_paused_sink_stays_paused_over_a_stop_and_what_waits_is_delivered_after_it(
    running: OnPostgres, receiver: Receiver
) -> None:
    running.ask("pause", "erp")
    id = (await running.post(event())).json()["id"]
    assert await running.stop() == 0
    assert running.rows("SELECT name, boot, seen FROM nodes") == [("gw1", None, None)]
    await asyncio.to_thread(running.start)
    assert running.states() == {"queued": 1}
    running.ask("resume", "erp")
    await until(lambda: running.states() == {"delivered": 1})
    assert delivered(receiver) == {f"{id}-erp": 1}


async def test_a_backup_is_left_to_the_tools_of_the_server_and_the_gateway_says_so_too(running: OnPostgres) -> None:
    host, port = running.addresses["admin"]  # type: ignore[misc]
    refused = running.ask("db", "backup", "copy.db", "--admin", f"{host}:{port}", status=2)
    assert "use pg_dump or pgBackRest" in refused.err
    assert "sound" in running.ask("db", "check", "--admin", f"{host}:{port}").out
    assert "sound" in running.ask("db", "check").out


async def test_the_kill_of_a_gateway_under_load_loses_no_answered_message(running: OnPostgres, receiver: Receiver) -> None:
    bodies = {new_id(): event() for _ in range(120)}
    answered: set[str] = set()
    places = asyncio.Semaphore(60)

    async def send(name: str) -> None:
        try:
            async with places:
                answer = await running.post(bodies[name], signed(bodies[name], name))
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        if answer.status == 200:
            answered.add(name)

    sending = [asyncio.create_task(send(name)) for name in bodies]
    await until(lambda: len(answered) >= 20)
    running.kill()
    await asyncio.gather(*sending)
    assert len(answered) < len(bodies), "the kill came while messages were on their way"
    before = set(answered)
    await asyncio.to_thread(running.start)
    await until(lambda: running.states().keys() == {"delivered"} and running.states()["delivered"] >= len(before))
    kept = {bytes(name).decode() for (name,) in running.rows("SELECT sender_id FROM messages")}
    assert before <= kept
    accepted = [line["sender_id"] for line in running.audit("message.accepted")]
    assert sorted(accepted) == sorted(kept), "each has one line, also where the kill came between its commit and its line"


@pytest.mark.parametrize("name", ["gw1", "gw2"])
async def test_a_second_gateway_on_the_same_tables_ends_with_73_and_names_the_first(
    running: OnPostgres, receiver: Receiver, tmp_path: Path, name: str
) -> None:
    second = OnPostgres(tmp_path / "second", running.place, receiver, node=name)
    second.launch()
    assert await second.exit_code() == 73
    assert 'a node "gw1" is alive' in second.stderr()
    assert PASSWORD not in second.stderr()
    assert (await running.post(event())).status == 200
    await until(lambda: running.states() == {"delivered": 1})


async def test_a_wrong_password_ends_the_start_with_78_and_is_in_no_output(tmp_path: Path, receiver: Receiver) -> None:
    with postgres_server() as server:
        server.stop()
        server.give("pg_hba.conf", b"host all all 127.0.0.1/32 scram-sha-256\n")
        server.start()
        gateway = OnPostgres(tmp_path, PostgresPlace(server.url, "gateway"), receiver)
        gateway.launch()
        assert await gateway.exit_code() == 78
        assert "the server refuses the user or its password" in gateway.stderr()
        assert PASSWORD not in gateway.stderr()
