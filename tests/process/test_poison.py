"""A message that its sink never takes dies alone, in a real gateway too."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.sinks.http_server import Heard, HttpServer, answer
from tests.support.configurations import route
from tests.support.gateway_process import Running, no_traceback
from tests.support.waiting import until
from tests.support.webhooks import event


async def test_a_poisoned_message_dies_alone_in_a_real_gateway(tmp_path: Path) -> None:
    def reply(heard: Heard) -> bytes:
        return answer(500 if b"poison" in heard.body else 200)

    more = 'retry = ["0s", "1ms", "1ms", "1ms", "1ms"]\nbreaker = { failures = 3, probe = "100ms" }'
    async with HttpServer(reply) as server:
        toml = f'[sinks.erp]\ntype = "http"\non_stale = "annotate"\nurl = "{server.url}"\n{more}\n' + route("erp")
        with Running(tmp_path, toml) as running, no_traceback(running):
            await running.post(event("poison"))
            others = []
            while not running.audit("delivery.dead"):
                others.append(event())
                await running.post(others[-1])
                await until(lambda: len(running.audit("delivery.delivered")) == len(others))
                assert len(others) < 300
            (dead,) = running.audit("delivery.dead")
            assert dead["reason"] == "attempts_exhausted" and dead["attempt"] >= 5
            heard = Counter(one.body for one in server.heard)
            assert [heard[body] for body in others] == [1] * len(others)
