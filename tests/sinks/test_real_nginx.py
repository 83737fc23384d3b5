"""The `http` sink against a server that many run: nginx. Debian has it as nginx-light."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import trustme

from gateway.core.outcome import Delivered, Outcome, Reason, Retry
from gateway.core.values import Duration
from gateway.sinks.http.config import HttpConfig
from tests.sinks.left_behind import connections_to
from tests.sinks.sending import PATIENCE, opened, outgoing, send
from tests.support.real_server import running, write_certificate
from tests.support.waiting import until

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
RELOADS = 3
CONFIG = """
daemon off;
{user}
worker_processes 2;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    log_format line "$pid $status $connection $server_protocol $ssl_protocol $http_x_gateway_message_id $http_webhook_id";
    access_log {folder}/access.log line;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxied;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    ssl_certificate {folder}/certificate.pem;
    ssl_certificate_key {folder}/key.pem;
    ssl_session_tickets on;
    ssl_protocols TLSv1.2 TLSv1.3;
    server {{
        listen 127.0.0.1:{plain};
        listen 127.0.0.1:{tls} ssl http2;
        location /kept {{ return 200 "taken"; }}
        location /once {{ keepalive_requests 1; return 200 "taken"; }}
        location /forgets {{ keepalive_timeout 50ms; return 200 "taken"; }}
        location /announces {{ keepalive_timeout 75s 1s; return 200 "taken"; }}
        location /nothing {{ return 444; }}
        location /small {{ client_max_body_size 1k; proxy_pass http://127.0.0.1:{upstream}; }}
        location /curt {{ client_max_body_size 1k; lingering_close off; proxy_pass http://127.0.0.1:{upstream}; }}
        location /gzip {{
            gzip on; gzip_types *; gzip_min_length 1; default_type application/json;
            return 200 "[{zeros}]";
        }}
        location /old {{ proxy_pass http://127.0.0.1:{upstream}; }}
    }}
    server {{
        listen 127.0.0.1:{h2} http2;
        location / {{ return 200; }}
    }}
}}
"""


class Line(NamedTuple):
    """A request as nginx logged it."""

    worker: str
    status: str
    connection: str
    protocol: str
    tls: str
    message_id: str
    delivery_id: str


class Nginx:
    def __init__(self, folder: Path, ports: dict[str, int], process: subprocess.Popen[bytes]) -> None:
        self.folder = folder
        self.ports = ports
        self.process = process

    def config(self, path: str, port: str = "plain", **headers: str) -> HttpConfig:
        scheme = "https" if port == "tls" else "http"
        url = f"{scheme}://127.0.0.1:{self.ports[port]}/{path}"
        return HttpConfig(url=url, timeout=Duration("10s"), headers=dict(headers), concurrency=4)

    def connections(self) -> int:
        """Count the connections of this process to it."""
        return connections_to(*self.ports.values())

    @property
    def log(self) -> list[Line]:
        lines = (self.folder / "access.log").read_text(encoding="utf-8").splitlines()
        return [Line(*line.split()) for line in lines]

    async def logged(self, requests: int) -> list[Line]:
        """Return the log once it has `lines` lines, because nginx writes a line after it has answered."""
        await until(lambda: len(self.log) >= requests, PATIENCE)
        return self.log


@pytest.fixture
def nginx(
    old: int, authorities: tuple[trustme.CA, trustme.CA], monkeypatch: pytest.MonkeyPatch, free_port: Callable[[], int]
) -> Iterator[Nginx]:
    if NGINX is None:
        pytest.skip("there is no nginx here: on Debian, apt install nginx-light")
    with tempfile.TemporaryDirectory(prefix="nginx") as name:
        folder, ports = Path(name), {port: free_port() for port in ("plain", "tls", "h2")}
        write_certificate(folder, authorities[0])
        monkeypatch.setenv("SSL_CERT_FILE", str(folder / "authority.pem"))
        user = "user root;" if os.getuid() == 0 else ""
        written = CONFIG.format(folder=folder, user=user, upstream=old, zeros="0," * 1_500 + "0", **ports)
        (folder / "nginx.conf").write_text(written, encoding="utf-8")
        with running([NGINX, "-p", name, "-c", str(folder / "nginx.conf")], ports["plain"], folder) as process:
            made = Nginx(folder, ports, process)
            yield made
            assert not made.connections(), "a sink that was closed has left some"


@pytest.mark.parametrize(
    ("path", "port", "connections"),
    [("kept", "plain", 1), ("kept", "tls", 1), ("once", "plain", 5), ("once", "tls", 5), ("announces", "plain", 5)],
)
async def test_a_connection_is_kept_as_long_as_nginx_wants(
    path: str, port: str, connections: int, nginx: Nginx, tmp_path: Path
) -> None:
    """Over TLS 1.3 nginx sends session tickets behind the handshake, which are no part of an answer. It offers HTTP/2 there; the
    sink speaks HTTP/1.1. `Keep-Alive: timeout=1` leaves no second in which a further request would be sure to meet it."""
    async with opened(nginx.config(path, port), tmp_path) as sink:
        for _ in range(5):
            assert await send(sink) == Delivered(200)
    log = await nginx.logged(5)
    assert len({line.connection for line in log}) == connections
    assert {line.protocol for line in log} == {"HTTP/1.1"}
    assert {line.tls for line in log} == {"TLSv1.3" if port == "tls" else "-"}


async def test_a_connection_that_nginx_closed_is_not_used_again(nginx: Nginx, tmp_path: Path) -> None:
    async with opened(nginx.config("forgets"), tmp_path) as sink:
        for number in range(1, 5):
            assert await send(sink, outgoing(attempt=number)) == Delivered(200)
            await until(lambda: not nginx.connections(), PATIENCE)
    assert len({line.connection for line in await nginx.logged(4)}) == 4


@pytest.mark.parametrize("path", ["small", "curt"])
@pytest.mark.parametrize("size", [2_000, 200_000, 4_000_000])
async def test_a_body_that_is_too_large_for_nginx_is_reported_as_413(size: int, path: str, nginx: Nginx, tmp_path: Path) -> None:
    """The answer overtakes the body, and with `lingering_close off` a reset follows it at once."""
    async with opened(nginx.config(path), tmp_path) as sink:
        outcomes = [await send(sink, outgoing(b"x" * size)) for _ in range(5)]
        assert await send(sink) == Delivered(200), "a small one goes through"
    assert {(type(outcome), outcome.status) for outcome in outcomes} == {(Retry, 413)}


@pytest.mark.parametrize("port", ["plain", "tls"])
async def test_a_request_that_nginx_drops_without_an_answer_is_not_delivered(port: str, nginx: Nginx, tmp_path: Path) -> None:
    async with opened(nginx.config("nothing", port), tmp_path) as sink:
        outcome = await send(sink)
    assert isinstance(outcome, Retry) and outcome.reason is Reason.RESET


async def test_a_compressed_answer_that_was_asked_for_is_an_answer(nginx: Nginx, tmp_path: Path) -> None:
    headers = {"accept-encoding": "gzip"}
    async with opened(nginx.config("gzip", **headers), tmp_path) as sink:
        for _ in range(3):
            assert await send(sink) == Delivered(200)
    assert len({line.connection for line in await nginx.logged(3)}) == 1, "its end is known, so the connection is kept"


async def test_a_server_of_http_1_0_takes_events_directly_and_behind_nginx(nginx: Nginx, old: int, tmp_path: Path) -> None:
    nginx.ports["old"] = old
    for config in (nginx.config("", "old"), nginx.config("old")):
        async with opened(config, tmp_path) as sink:
            for _ in range(3):
                assert await send(sink) == Delivered(200)


async def test_a_port_that_speaks_only_http_2_is_reported_as_such(nginx: Nginx, tmp_path: Path) -> None:
    async with opened(nginx.config("", "h2"), tmp_path) as sink:
        outcome = await send(sink)
    assert isinstance(outcome, Retry) and outcome.reason is Reason.PROTOCOL


@pytest.mark.parametrize("port", ["plain", "tls"])
async def test_reloads_of_nginx_under_load_make_no_false_delivery(port: str, nginx: Nginx, tmp_path: Path) -> None:
    """Old workers close their idle connections. A request that meets such an end is a retry, and nothing else is one."""
    outcomes: dict[str, Outcome] = {}

    async def deliver(delivery_id: str) -> None:
        outcomes[delivery_id] = await send(sink, outgoing(delivery_id=delivery_id))

    async def others(number: int) -> None:
        for count in itertools.count():
            if over.is_set():
                return
            await deliver(f"d-{number}-{count}")

    async def reload(number: int) -> None:
        workers = {line.worker for line in nginx.log}
        nginx.process.send_signal(signal.SIGHUP)
        for count in range(2_000):
            if {line.worker for line in nginx.log} - workers:
                return
            await deliver(f"r-{number}-{count}")
        raise AssertionError("no new worker took a request")

    over = asyncio.Event()
    async with opened(nginx.config("kept", port), tmp_path) as sink, asyncio.TaskGroup() as group:
        for number in range(3):
            group.create_task(others(number))
        await deliver("first")
        for number in range(RELOADS):
            await reload(number)
        over.set()
    taken = {name for name, outcome in outcomes.items() if outcome == Delivered(200)}
    log = await nginx.logged(len(taken))
    assert taken <= {line.delivery_id for line in log if line.status == "200"}
    lost = [outcome for outcome in outcomes.values() if outcome != Delivered(200)]
    assert {(type(outcome), getattr(outcome, "reason", None)) for outcome in lost} <= {(Retry, Reason.RESET)}
    assert len(lost) <= 4 * RELOADS, "a reload costs each connection one request at most"
