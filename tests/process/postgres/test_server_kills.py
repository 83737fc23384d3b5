"""While the database is away, senders get a 503 and the gateway lives; afterwards it goes on, and nothing answered is lost"""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from tests.process.postgres.kit import OnPostgres, delivered
from tests.support.gateway_process import no_traceback
from tests.support.postgres_server import PostgresPlace, postgres_server
from tests.support.receivers import Receiver
from tests.support.waiting import until, until_answer
from tests.support.webhooks import event, new_id, signed


async def test_a_killed_database_costs_503_and_no_message(tmp_path: Path, receiver: Receiver) -> None:
    with postgres_server() as server:
        gateway = OnPostgres(tmp_path, PostgresPlace(server.url, "gateway"), receiver)
        with gateway as running, no_traceback(running, alive=False):
            bodies = {new_id(): event() for _ in range(80)}
            answers = dict.fromkeys(bodies, 0)

            async def send(name: str) -> None:
                answers[name] = (await running.post(bodies[name], signed(bodies[name], name))).status

            sending = [asyncio.create_task(send(name)) for name in bodies]
            await until(lambda: 200 in answers.values())
            await asyncio.to_thread(server.stop, signal.SIGKILL)
            await asyncio.gather(*sending)
            assert set(answers.values()) <= {200, 503}
            body = event()
            refused = await until_answer(lambda: running.post(body), lambda answer: answer.status != 200)
            assert refused.status == 503
            not_ready = await until_answer(lambda: running.admin("/-/ready"), lambda answer: answer.status == 503)
            assert b"nothing listens there" in not_ready.body
            assert running.alive

            await asyncio.to_thread(server.start)
            await until_answer(lambda: running.admin("/-/ready"), lambda answer: answer.status == 200)
            for name in [name for name, status in answers.items() if status != 200]:
                await send(name)
            assert set(answers.values()) == {200}
            await until(lambda: running.states().get("delivered") == len(bodies) and len(running.states()) == 1)
            assert len(delivered(receiver)) == len(bodies)
            kept = [line["sender_id"] for line in running.audit("message.accepted")]
            assert sorted(kept) == sorted(bodies)
            assert await running.stop() == 0
