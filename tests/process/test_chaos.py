"""Kills at random moments lose no answered message, and repeat no more deliveries than were in flight.

There are 30 rounds, or as many as the variable GATEWAY_CHAOS says (`make chaos`).
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections import Counter, deque
from functools import partial
from pathlib import Path

from tests.support.configurations import http_sink, route
from tests.support.gateway_process import Running
from tests.support.receivers import Receiver
from tests.support.waiting import until
from tests.support.webhooks import event, new_id, signed

ROUNDS = int(os.environ.get("GATEWAY_CHAOS") or "30")
SENDERS = 8
CONCURRENCY = 4
"""The concurrency of the HTTP sink; that of the JSONL sink is 1."""


class Senders:
    """The sender: it sends everything again that was not answered 200, with the same id and body."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self.bodies: dict[str, bytes] = {}
        """Every body that was sent, by sender id."""
        self.answered: dict[str, str] = {}
        """The gateway's id for each sender id that was answered 200."""
        self.unanswered: deque[str] = deque()
        self.stopped = False

    def have(self, answers: int) -> bool:
        return len(self.answered) >= answers

    async def send(self, sender_id: str) -> None:
        body = self.bodies[sender_id]
        try:
            answer = await self.running.post(body, signed(body, sender_id))
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            self.unanswered.append(sender_id)
            await asyncio.sleep(0.005)  # no process listens while the gateway is down
            return
        if answer.status == 200:
            self.answered[sender_id] = answer.json()["id"]
        else:
            assert answer.status == 503, answer
            self.unanswered.append(sender_id)

    async def keep_sending(self) -> None:
        while not self.stopped:
            if self.unanswered:
                sender_id = self.unanswered.popleft()
            else:
                sender_id = new_id()
                self.bodies[sender_id] = event()
            await self.send(sender_id)


async def test_kills_at_random_moments_under_load_lose_nothing_and_repeat_only_deliveries_in_flight(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"GATEWAY_CHAOS={ROUNDS} seed={seed}")
    chance = random.Random(seed)
    lines = tmp_path / "lines.jsonl"
    sinks = '[sinks.file]\ntype = "jsonl"\npath = "lines.jsonl"\n'
    with Receiver() as receiver:
        running = Running(tmp_path, sinks + http_sink(receiver, more=f"concurrency = {CONCURRENCY}") + route("erp", "file"))
        senders = Senders(running)
        kills = answered_in_rounds = 0
        try:
            for _ in range(ROUNDS):
                kills += 1
                if chance.random() < 0.15:  # at start, too: while it recovers from the last one
                    await asyncio.to_thread(running.launch)
                    await asyncio.sleep(chance.uniform(0.0, 1.0))
                    running.kill()
                    continue
                await asyncio.to_thread(running.start)
                senders.stopped = False
                before = len(senders.answered)
                load = [asyncio.create_task(senders.keep_sending()) for _ in range(SENDERS)]
                enough = before + chance.randrange(1, 120)  # so that each round does something, however busy this machine is
                await until(partial(senders.have, enough))
                await asyncio.sleep(chance.uniform(0.0, 0.02))
                running.kill()
                senders.stopped = True
                await asyncio.gather(*load)
                answered_in_rounds += len(senders.answered) - before
            await asyncio.to_thread(running.start)
            while senders.unanswered:
                await senders.send(senders.unanswered.popleft())
            assert senders.answered.keys() == senders.bodies.keys() and answered_in_rounds >= ROUNDS / 2

            await until(lambda: running.rows("SELECT count(*) FROM deliveries WHERE state = 'queued'") == [(0,)], 120)
            kept = {bytes(sender).decode(): message for sender, message in running.rows("SELECT sender_id, id FROM messages")}
            assert kept == senders.answered  # each once, under the id that was answered
            owed = running.rows("SELECT m.id, d.sink, d.state FROM messages m LEFT JOIN deliveries d ON d.message = m.seq")
            assert sorted(owed) == sorted((one, sink, "delivered") for one in kept.values() for sink in ("erp", "file"))

            counted = running.rows("SELECT sink, state, count(*) FROM deliveries GROUP BY sink, state ORDER BY sink")
            assert counted == [("erp", "delivered", len(kept)), ("file", "delivered", len(kept))]
            counters = running.rows("SELECT sink, queued, delivered, dead, discarded FROM counters ORDER BY sink")
            assert counters == [(sink, 0, count, 0, 0) for sink, _, count in counted]
            assert running.rows("PRAGMA integrity_check") == [("ok",)]
            assert await running.stop() == 0
        finally:
            running.kill()

        posted = Counter(request.headers["idempotency-key"] for request in receiver.requests)
        assert posted.keys() == {f"{one}-erp" for one in kept.values()}
        assert posted.total() - len(posted) <= kills * CONCURRENCY
        assert {request.headers["x-gateway-attempt"] for request in receiver.requests} == {"1"}  # a crash costs no attempt
        assert Counter(request.body for request in receiver.requests).keys() == set(senders.bodies.values())

        written, torn = Counter[str](), 0
        for line in lines.read_bytes().splitlines():
            try:
                written[json.loads(line)["message_id"]] += 1
            except ValueError:
                torn += 1
        assert written.keys() == set(kept.values())
        assert written.total() - len(written) + torn <= kills  # its concurrency is 1

        audited = Counter(line["message_id"] for line in whole_lines(running.audit_file) if line["event"] == "message.accepted")
        assert audited.keys() == set(kept.values())
        delivered = Counter(
            line["delivery_id"] for line in whole_lines(running.audit_file) if line["event"] == "delivery.delivered"
        )
        # Every end has exactly one whole line: a line that a kill tore is written again after it.
        assert delivered == Counter({f"{one}-{sink}": 1 for one in kept.values() for sink in ("erp", "file")})
        assert set(audited.values()) == {1}
        said = running.stderr()
        assert "Traceback" not in said and ".bug" not in said and "invariant" not in said, said[-5000:]


def whole_lines(path: Path) -> list[dict[str, object]]:
    """The whole lines of a log in which a kill may have torn a line."""
    return [json.loads(line) for line in path.read_bytes().splitlines() if line.startswith(b"{") and line.endswith(b"}")]
