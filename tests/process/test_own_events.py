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


async def test_an_event_type_that_comes_for_the_first_time_is_told_once_through_a_kill(tmp_path: Path) -> None:
    with Receiver() as receiver:
        toml = http_sink(receiver, "chat") + route("chat", source="gateway") + '[[routes]]\nsource = "legitmark"\nsinks = []\n'
        with Running(tmp_path, toml) as gateway:
            body = json.dumps({"event_type": "sr_reopened", "sr_uuid": "sr-1"}).encode()
            assert (await gateway.post(body)).outcome == (200, "accepted")
            await until(lambda: len(receiver.requests) == 1)
            told = json.loads(receiver.requests[0].body)
            assert (told["event_type"], told["kind"], told["value"]) == ("gateway.drift", "type", "sr_reopened")
            assert (told["path"], told["source"], told["sr_uuid"]) == ("event_type", "legitmark", "sr-1")
            await until(lambda: gateway.audit("drift.found") and gateway.audit("delivery.delivered"))
            await gateway.restart()
            assert (await gateway.post(body)).outcome == (200, "accepted")
            other = json.dumps({"event_type": "sr_reopened", "sr_uuid": "sr-1", "why": "x"}).encode()
            assert (await gateway.post(other)).outcome == (200, "accepted")
            await until(lambda: len(receiver.requests) == 2)
            assert [json.loads(one.body)["value"] for one in receiver.requests] == ["sr_reopened", "why"]
            await until(lambda: len(gateway.audit("drift.found")) == 2)


async def test_a_reload_takes_over_the_rules_that_watch_service_requests(tmp_path: Path) -> None:
    with Receiver() as receiver:
        toml = http_sink(receiver, "chat") + route("chat", source="gateway")
        watch = '[[watch]]\nname = "QC"\nstate = "QC/PENDING"\nafter = "4h"\n'
        with Running(tmp_path, toml) as gateway:
            gateway.write_config(toml + watch)
            answer = await gateway.admin("/-/reload", method="POST")
            assert answer.status == 200
            assert [one["place"] for one in json.loads(answer.body)["changes"]] == ['[[watch]] "QC"']
            assert 'legitmark_gateway_stalls_total{watch="QC"} 0.0' in (await gateway.admin("/metrics")).body.decode()
            gateway.write_config(toml + watch.replace("4h", "0s"))
            assert (await gateway.admin("/-/reload", method="POST")).status == 422
