"""The real gateway tells about itself through the routes that ask for its own events."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.configurations import http_sink, route
from tests.support.gateway_process import Running
from tests.support.receivers import Receiver
from tests.support.waiting import until
from tests.support.webhooks import event


async def test_a_dead_delivery_an_open_breaker_and_a_quarantined_message_make_notices(tmp_path: Path) -> None:
    with Receiver() as receiver:
        receiver.always = (200, {})
        toml = (
            http_sink(receiver, "erp", 'retry = ["0s"]\nbreaker = { failures = 1, probe = "30s" }')
            + http_sink(receiver, "chat")
            + route("erp")
            + route("chat", source="gateway")
        )
        receiver.script.extend([(500, {})])
        with Running(tmp_path, toml) as gateway:
            body = event("sr-dead")
            assert (await gateway.post(body)).status == 200
            await until(lambda: len([one for one in receiver.requests if one.path == "/chat"]) == 2)
            assert (await gateway.post(b"not JSON")).status == 200
            await until(lambda: len([one for one in receiver.requests if one.path == "/chat"]) == 3)
            told = [json.loads(one.body)["event_type"] for one in receiver.requests if one.path == "/chat"]
            assert sorted(told) == ["gateway.delivery_dead", "gateway.message_quarantined", "gateway.sink_opened"]
            assert len(gateway.audit("message.accepted", source="gateway")) == 3
