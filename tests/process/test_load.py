"""Full load: a stop, a task that dies, two thousand duplicates, events in the wrong order, and the gates of a sink."""

from __future__ import annotations

import asyncio
import itertools
import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from aiohttp import web

from tests.support.configurations import http_sink, route
from tests.support.exchange import Answer, exchange, request_bytes
from tests.support.gateway_process import Running, no_traceback
from tests.support.receivers import Receiver
from tests.support.sabotaged import Sabotaged
from tests.support.waiting import until
from tests.support.webhooks import event, new_id, signed


class Gauge(Receiver):
    """A receiver that takes a moment for each request, and notes the most requests that it had at once."""

    def __init__(self, stay: float = 0.02) -> None:
        super().__init__()
        self.most = 0
        self._stay = stay
        self._now = 0

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self._now += 1
        self.most = max(self.most, self._now)
        try:
            await asyncio.sleep(self._stay)
            return await super().answer(request)
        finally:
            self._now -= 1


class Load:
    """Senders that post new messages as fast as they are answered."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self.bodies: dict[str, bytes] = {}
        self.answered: dict[str, str] = {}
        """The gateway's id for each sender id that was answered 200."""
        self.refused = Counter[int]()
        self._stopped = False

    async def _send(self) -> None:
        while not self._stopped:
            sender_id, body = new_id(), event()
            self.bodies[sender_id] = body
            try:
                answer = await self.running.post(body, signed(body, sender_id))
            except (OSError, asyncio.IncompleteReadError, TimeoutError):
                await asyncio.sleep(0.01)
                continue
            if answer.status == 200:
                self.answered[sender_id] = answer.json()["id"]
            else:
                self.refused[answer.status] += 1

    @asynccontextmanager
    async def running_on(self, senders: int = 32) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._send()) for _ in range(senders)]
        try:
            yield
        finally:
            self._stopped = True
            await asyncio.gather(*tasks)


def ids_of(receiver: Receiver, sink: str = "erp") -> Counter[str]:
    keys = (request.headers["idempotency-key"] for request in receiver.requests)
    return Counter(key.removesuffix(f"-{sink}") for key in keys)


async def all_delivered(running: Running, seconds: float = 60) -> None:
    await until(lambda: running.rows("SELECT DISTINCT state FROM deliveries") == [("delivered",)], seconds)


# --- stop


async def test_a_stop_under_full_load_answers_every_accepted_request_and_exits_0_within_drain(
    tmp_path: Path, receiver: Receiver
) -> None:
    with Running(tmp_path, http_sink(receiver) + route("erp")) as running, no_traceback(running, alive=False):
        load = Load(running)
        async with load.running_on():
            await until(lambda: len(load.answered) >= 300)
            running.terminate()
            assert await running.exit_code() == 0
        assert "gateway.cut" not in running.stderr()
        kept = {bytes(sender).decode(): message for sender, message in running.rows("SELECT sender_id, id FROM messages")}
        assert kept == load.answered  # every accepted request has its answer, and every answered message is stored
        assert load.refused.keys() <= {503}
        settled = {
            message
            for (message,) in running.rows(
                "SELECT m.id FROM messages m JOIN deliveries d ON d.message = m.seq WHERE d.state = 'delivered'"
            )
        }
        assert set(ids_of(receiver)) == settled  # what was in flight was finished
        await asyncio.to_thread(running.start)
        await all_delivered(running)
        assert ids_of(receiver) == Counter(dict.fromkeys(kept.values(), 1))  # a stop repeats nothing


async def test_a_second_signal_under_full_load_cuts_attempts_and_loses_no_message(tmp_path: Path, receiver: Receiver) -> None:
    toml = '[server]\nlisten = ["127.0.0.1:0"]\ndrain = "120s"\n' + http_sink(receiver, more='timeout = "100s"') + route("erp")
    with Running(tmp_path, toml) as running, no_traceback(running, alive=False):
        receiver.hold()
        load = Load(running)
        async with load.running_on():
            await until(lambda: len(load.answered) >= 200 and len(receiver.requests) >= 16)
            running.terminate()
            await until(lambda: "gateway.stopping" in running.stderr())
            running.terminate()
            assert await running.exit_code() == 0  # and long before the 120 s of the drain
        in_flight = set(ids_of(receiver))
        assert running.rows("SELECT sum(attempts), sum(retries) FROM deliveries") == [(0, 0)]  # a cut costs nothing
        receiver.release()
        receiver.requests.clear()
        await asyncio.to_thread(running.start)
        await all_delivered(running)
        arrived = ids_of(receiver)
        assert set(load.answered.values()) <= arrived.keys() and in_flight <= arrived.keys()
        assert set(arrived.values()) == {1}


# --- a task that dies


_SABOTAGE = """
import sys
from pathlib import Path
from gateway.cli import main
from {module} import {owner}

whole = {owner}.{method}

async def broken(self, *args, **kwargs):
    if Path("break").exists():
        raise RuntimeError("sabotage")
    return await whole(self, *args, **kwargs)

{owner}.{method} = broken
sys.argv[1:] = ["serve", "--config", "gateway.toml"]
main()
"""


@pytest.mark.parametrize(
    ("module", "owner", "method"),
    [
        ("gateway.delivery.lane", "Lane", "step"),
        ("gateway.delivery.attempt", "Attempts", "_settle"),
        ("gateway.observability.audit", "AuditLog", "write"),
        ("gateway.maintenance.janitor", "Janitor", "step"),
        ("gateway.store.sqlite.group_commit", "GroupCommit", "step"),
    ],
    ids=["lane", "an attempt of a lane", "audit", "janitor", "store"],
)
async def test_a_task_that_dies_ends_the_process_which_acknowledges_nothing_more(
    tmp_path: Path, receiver: Receiver, module: str, owner: str, method: str
) -> None:
    code = _SABOTAGE.format(module=module, owner=owner, method=method)
    toml = '[server]\nlisten = ["127.0.0.1:0"]\ndrain = "120s"\n' + http_sink(receiver) + route("erp")
    sabotaged = Sabotaged(tmp_path, toml, code)
    with sabotaged:
        load = Load(sabotaged)
        async with load.running_on(32):  # connections that are being opened at that very moment, too
            await until(lambda: len(load.answered) >= 50)
            (tmp_path / "break").touch()
            # The audit log has a task for lines that belong to no commit, such as the line of a refused request.
            refused = asyncio.create_task(sabotaged.post(event(), []))
            assert await sabotaged.exit_code() == 70  # there is nothing to drain: it does not take those 120 s
            await asyncio.gather(refused, return_exceptions=True)
        assert "sabotage" in sabotaged.stderr() and "gateway.stopping" not in sabotaged.stderr()
        (tmp_path / "break").unlink()
        await asyncio.to_thread(sabotaged.start)
        await all_delivered(sabotaged)
        assert set(load.answered.values()) <= {message for (message,) in sabotaged.rows("SELECT id FROM messages")}
        arrived = ids_of(receiver)
        assert set(load.answered.values()) <= arrived.keys()
        assert arrived.total() - len(arrived) <= 16  # what was in flight, as after a crash


# --- duplicates


async def test_two_thousand_posts_of_one_message_at_once_are_one_message_and_one_delivery(
    tmp_path: Path, receiver: Receiver
) -> None:
    body, sender_id = event(), new_id()
    # Four peers with a hundred connections each: 512 are served at once, and 128 of a peer.
    peers = {f"127.0.1.{number}": asyncio.Semaphore(100) for number in range(1, 5)}
    with Running(tmp_path, http_sink(receiver) + route("erp")) as running, no_traceback(running):

        async def post(number: int) -> Answer:
            headers = signed(body, sender_id if number % 2 else new_id())  # the same event under another id is one, too
            peer = f"127.0.1.{number % 4 + 1}"
            async with peers[peer]:
                return await running.send(request_bytes(body, headers), local_addr=(peer, 0))

        answers = await asyncio.gather(*(post(number) for number in range(2000)))
        assert Counter(answer.outcome for answer in answers) == {(200, "accepted"): 1, (200, "duplicate"): 1999}
        (message_id,) = {answer.json()["id"] for answer in answers}
        await all_delivered(running)
        assert running.rows("SELECT id, duplicates FROM messages") == [(message_id, 1999)]
        assert len(running.audit("message.accepted")) == 1 and len(running.audit("message.duplicate")) == 1999
        assert ids_of(receiver) == {message_id: 1}


# --- order


async def act(running: Running, path: str) -> None:
    answer = await exchange(running.addresses["admin"], request_bytes(b"{}", path=path))
    assert answer.status == 200, answer


def timestamp(minute: int) -> str:
    """A timestamp; odd minutes are in another time zone, so that timestamps do not sort as texts."""
    return f"2026-03-01T22:{minute:02}:00Z" if minute % 2 else f"2026-03-02T07:{minute:02}:00.000+09:00"


def by_request(receiver: Receiver) -> dict[str, list[int]]:
    """The minutes of the timestamps of each service request, in the order of arrival."""
    found: dict[str, list[int]] = defaultdict(list)
    for request in receiver.requests:
        said = json.loads(request.body)
        found[said["sr_uuid"]].append(int(said["timestamp"][14:16]))
    return found


@pytest.mark.parametrize("why", ["paused", "held"])
async def test_events_that_arrive_in_reverse_are_delivered_in_the_order_of_their_timestamps(
    tmp_path: Path, receiver: Receiver, why: str
) -> None:
    requests, minutes = [f"order-{number}" for number in range(5)], range(8)
    with Running(tmp_path, http_sink(receiver, more='ordering = "sr"') + route("erp")) as running, no_traceback(running):
        if why == "paused":
            await act(running, "/api/sinks/erp/pause")
        else:
            receiver.always = (429, {"Retry-After": "2"})
            await running.post(event("first"))
            await until(lambda: running.audit("delivery.deferred"))
            receiver.requests.clear()
        bodies = [event(sr, timestamp=timestamp(minute)) for minute in reversed(minutes) for sr in requests]
        for body in bodies:
            assert (await running.post(body)).status == 200
        if why == "paused":
            assert receiver.requests == []
            await act(running, "/api/sinks/erp/resume")
        else:
            receiver.always = (200, {})  # some may have been answered 429 again, and were held once more
        await all_delivered(running)
        if why == "paused":
            assert {sr: by_request(receiver)[sr] for sr in requests} == {sr: list(minutes) for sr in requests}
            assert len(receiver.requests) == len(bodies)
        else:
            await until(lambda: len(running.audit("delivery.delivered")) == len(bodies) + 1)
            ends = [line["message_id"] for line in running.audit("delivery.delivered")]
            sent = {message: json.loads(body) for message, body in running.rows("SELECT id, body FROM messages")}
            for sr in requests:
                delivered = [sent[message]["timestamp"] for message in ends if sent[message]["sr_uuid"] == sr]
                assert delivered == [timestamp(minute) for minute in minutes]

        # One that arrives after a later one was delivered waits for nothing.
        receiver.requests.clear()
        late = event(requests[0], timestamp="2026-03-01T21:00:00Z")
        await running.post(late)
        await until(lambda: receiver.of(late))


async def test_a_retry_holds_back_later_events_of_its_service_request_and_no_others(tmp_path: Path, receiver: Receiver) -> None:
    more = 'ordering = "sr"\nretry = ["0s", "5s", "5s", "5s"]\nbreaker = { failures = 4 }'  # time enough for the others
    with Running(tmp_path, http_sink(receiver, more=more) + route("erp")) as running, no_traceback(running):
        receiver.script.append((500, {}))
        await running.post(event("slow", timestamp=timestamp(1)))
        await until(lambda: running.audit("delivery.retrying"))
        for minute in (2, 3):
            await running.post(event("slow", timestamp=timestamp(minute)))
            await running.post(event("other", timestamp=timestamp(minute)))
        await all_delivered(running)
        arrived = by_request(receiver)
        assert arrived == {"slow": [1, 1, 2, 3], "other": [2, 3]}
        order = [json.loads(request.body)["sr_uuid"] for request in receiver.requests]
        assert order == ["slow", "other", "other", "slow", "slow", "slow"]


# --- gates


async def test_concurrency_is_reached_and_never_exceeded(tmp_path: Path) -> None:
    with Gauge() as receiver, Gauge() as single:
        sinks = http_sink(receiver, more="concurrency = 5") + http_sink(single, "one", "concurrency = 1")
        with Running(tmp_path, sinks + route("erp", "one")) as running, no_traceback(running):
            await asyncio.gather(*(running.post(event()) for _ in range(100)))
            await all_delivered(running)
        assert (receiver.most, single.most) == (5, 1)
        assert len(receiver.requests) == len(single.requests) == 100


async def test_a_slot_is_held_until_its_outcome_is_committed(tmp_path: Path, receiver: Receiver) -> None:
    """A connection pool would limit the sink, too, but only the slots limit how many deliveries a crash can repeat."""
    with Running(tmp_path, http_sink(receiver, more="concurrency = 5") + route("erp")) as running, no_traceback(running):
        receiver.hold()
        await asyncio.gather(*(running.post(event()) for _ in range(40)))
        await until(lambda: len(receiver.requests) == 5)
        with closing(sqlite3.connect(running.database, isolation_level=None, timeout=60)) as other:
            other.execute("BEGIN IMMEDIATE")
            receiver.release()
            await asyncio.sleep(1)  # time enough for the others, if they were let through
            assert len(receiver.requests) == 5
            other.execute("ROLLBACK")
            await all_delivered(running)
        assert len(receiver.requests) == 40


async def test_the_rate_is_kept_through_a_burst_and_costs_no_attempt(tmp_path: Path, receiver: Receiver) -> None:
    """A rested lane sends 20 at once, then 20 a second: 100 take four seconds, however fast the machine is."""
    with Running(tmp_path, http_sink(receiver, more='rate = "20/s"') + route("erp")) as running, no_traceback(running):
        await asyncio.gather(*(running.post(event()) for _ in range(100)))
        await all_delivered(running)
        instants = sorted(request.at for request in receiver.requests)
        assert len(instants) == 100
        assert instants[-1] - instants[0] > 3  # a quarter less, because some of the first ones arrive late
        late = 10  # as many as half a second's worth may have been delayed on their way
        for begin, end in itertools.combinations(range(0, 100, 10), 2):
            assert end - begin <= 20 + 20 * (instants[end] - instants[begin]) + late
        assert running.rows("SELECT DISTINCT attempts, retries FROM deliveries") == [(1, 0)]
