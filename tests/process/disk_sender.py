"""A sender for tests of a disk that refuses: it sends again what was refused, and everything must arrive once."""

from __future__ import annotations

from collections import Counter
from functools import partial

from tests.support.exchange import Answer
from tests.support.gateway_process import Running
from tests.support.receivers import Receiver
from tests.support.waiting import until, until_answer
from tests.support.webhooks import event, new_id, signed


class Sender:
    """Posts new messages, and sends again those that were not answered 200."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self.bodies: dict[str, bytes] = {}
        self.answers: dict[str, Answer] = {}
        """The last answer for each sender id."""

    async def post(self) -> Answer:
        sender_id = new_id()
        self.bodies[sender_id] = event(reference_id="x" * 3000)
        return await self.again(sender_id)

    async def again(self, sender_id: str) -> Answer:
        body = self.bodies[sender_id]
        self.answers[sender_id] = await self.running.post(body, signed(body, sender_id))
        return self.answers[sender_id]

    async def is_refused(self) -> None:
        """Post until one is refused."""
        for _ in range(2000):
            if (await self.post()).status != 200:
                return
        raise AssertionError("everything was taken")

    async def again_until_taken(self) -> None:
        """Send what was refused again, until each is taken."""
        for sender_id in [one for one, answer in self.answers.items() if answer.status != 200]:
            await until_answer(partial(self.again, sender_id), lambda answer: answer.status == 200)

    def ids(self) -> set[str]:
        assert all(answer.status == 200 for answer in self.answers.values())
        return {answer.json()["id"] for answer in self.answers.values()}


async def reasons(running: Running) -> str:
    ready = await running.admin("/-/ready")
    assert ready.status in (200, 503)
    return str(ready.json().get("reasons", "")) if ready.status == 503 else ""


async def is_ready(running: Running) -> None:
    """Wait until the gateway is ready."""
    await until_answer(lambda: reasons(running), lambda said: not said)


async def all_delivered_once(running: Running, receiver: Receiver, sender: Sender) -> None:
    await until(lambda: running.rows("SELECT DISTINCT state FROM deliveries") == [("delivered",)])
    kept = {bytes(sender_id).decode(): message for sender_id, message in running.rows("SELECT sender_id, id FROM messages")}
    assert kept.keys() == sender.bodies.keys() and set(kept.values()) == sender.ids()
    arrived = Counter(request.body for request in receiver.requests)
    assert arrived == dict.fromkeys(sender.bodies.values(), 1)
    assert running.rows("PRAGMA integrity_check") == [("ok",)]
    # The line of a delivery follows its commit.
    await until(lambda: {line["message_id"] for line in running.audit("delivery.delivered")} == set(kept.values()))
    for kind in ("message.accepted", "delivery.delivered"):
        assert Counter(line["message_id"] for line in running.audit(kind)) == dict.fromkeys(kept.values(), 1)


def refused(answer: Answer) -> bool:
    return (answer.outcome, answer.header("retry-after")) == ((503, "store_unavailable"), "5")
