"""A gateway that reaches a sink through an HTTP proxy delivers, names the proxy when that is gone, and never shows its login."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.support.configurations import http_sink, route
from tests.support.gateway_process import Running
from tests.support.receivers import Receiver
from tests.support.tinyproxy import PASSWORD, proxy_url, tinyproxy
from tests.support.waiting import until
from tests.support.webhooks import event

SINK = 'proxy = { env = "PROXY" }\nretry = ["0s", "100ms", "100ms", "100ms"]\nbreaker = { failures = 2, probe = "200ms" }'


async def test_a_gateway_delivers_through_a_proxy_before_and_after_the_proxy_is_gone(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    port = free_port()
    with Receiver() as receiver:
        gateway = Running(tmp_path, http_sink(receiver, more=SINK) + route("erp"))
        gateway.secrets["PROXY"] = proxy_url(port)
        with gateway:
            with tinyproxy(port):
                assert (await gateway.post(event("sr-1"))).status == 200
                await until(lambda: len(gateway.audit("delivery.delivered")) == 1)
            assert (await gateway.post(event("sr-2"))).status == 200
            await until(lambda: gateway.audit("sink.opened") != [])
            with tinyproxy(port):
                await until(lambda: len(gateway.audit("delivery.delivered")) == 2)
            assert await gateway.stop() == 0
        assert [request.body for request in receiver.requests] == [event("sr-1"), event("sr-2")]
        assert all("tinyproxy" in request.headers["via"] for request in receiver.requests)
        (opened,) = gateway.audit("sink.opened")
        assert f"127.0.0.1:{port}" in opened["detail"] and "proxy" in opened["detail"]
    shown = gateway.stderr() + "".join(file.read_text(errors="replace") for file in tmp_path.glob("*.jsonl"))
    assert PASSWORD not in shown
