"""`config/nginx.conf` and `config/Caddyfile` as they are shipped, in the real servers, before the real gateway.

The tests replace in them only names, ports, certificates, and the folders that only root has.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.config import load
from gateway.host.environment import Environment
from tests.support.certificates import HOST, Certified
from tests.support.exchange import Answer, exchange, request_bytes
from tests.support.gateway_process import Running, no_traceback
from tests.support.socket_activated import SocketActivated
from tests.support.webhooks import SECRET, event, signed

SHIPPED = Path(__file__).parents[2] / "config"
SENDER, STRANGER = "127.0.0.2", "127.0.0.3"
FreePort = Callable[[], int]
Replaced = Sequence[tuple[str, str]]


class Proxy:
    """A proxy on loopback, before a gateway that allows SENDER alone."""

    def __init__(self, name: str, folder: Path, port: int, upstream: str) -> None:
        self.folder = folder / name
        self.folder.mkdir()
        self.certified = Certified(self.folder)
        self.certified.issue()
        self.address = ("127.0.0.1", port)
        self._command, replaced = getattr(self, f"_{name}")(port, upstream)
        shipped = {"nginx": "nginx.conf", "caddy": "Caddyfile"}[name]
        text = (SHIPPED / shipped).read_text(encoding="utf-8")
        for old, new in replaced:
            assert old in text, f"{shipped} has no {old!r} any more"
            text = text.replace(old, new)
        self.file = self.folder / shipped
        self.file.write_text(text, encoding="utf-8")
        self.log = self.folder / "stderr.log"

    def _nginx(self, port: int, upstream: str) -> tuple[list[str], Replaced]:
        folders = "".join(
            f"    {kind}_temp_path {self.folder};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        return ["nginx", "-p", str(self.folder), "-e", "stderr", "-c", "nginx.conf", "-g", "daemon off; master_process off;"], [
            ("user www-data;\n", ""),
            ("worker_processes auto;\n", ""),
            ("pid /run/nginx.pid;\n", "pid nginx.pid;\n"),
            ("error_log /var/log/nginx/error.log warn;\n", "error_log stderr warn;\n"),
            ("http {\n", f"http {{\n{folders}"),
            ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
            ("listen [::]:443 ssl", f"listen 127.0.0.4:{port} ssl"),
            ("hooks.example.com;", f"{HOST};"),
            ("/etc/letsencrypt/live/hooks.example.com/fullchain.pem", "server.pem"),
            ("/etc/letsencrypt/live/hooks.example.com/privkey.pem", "server.key"),
            (" server 127.0.0.1:8080 ", f" server {upstream} "),
        ]

    def _caddy(self, port: int, upstream: str) -> tuple[list[str], Replaced]:
        return ["caddy", "run", "--config", "Caddyfile", "--adapter", "caddyfile"], [
            ("{\n\tservers {\n", "{\n\tadmin off\n\tauto_https disable_redirects\n\tskip_install_trust\n\tservers {\n"),
            ("hooks.example.com {\n", f"https://{HOST}:{port} {{\n\tbind 127.0.0.1\n\ttls server.pem server.key\n"),
            ("reverse_proxy 127.0.0.1:8080 ", f"reverse_proxy {upstream.replace('unix:', 'unix/')} "),
        ]

    @contextmanager
    def running(self) -> Iterator[None]:
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "TMPDIR": str(self.folder)}
        with self.log.open("wb") as log:
            process = subprocess.Popen(
                self._command, cwd=self.folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            self._await(process)
            yield
        finally:
            process.kill()
            process.wait(60)

    def _await(self, process: subprocess.Popen[bytes]) -> None:
        for _ in range(1000):
            assert process.poll() is None, self.log.read_text()
            with socket.socket() as probe:
                if probe.connect_ex(self.address) == 0:
                    return
            time.sleep(0.01)
        raise AssertionError(self.log.read_text())

    async def send(self, raw: bytes, source: str = SENDER) -> Answer:
        raw = raw.replace(b"Host: 127.0.0.1", f"Host: {HOST}".encode(), 1)
        return await exchange(self.address, raw, local_addr=(source, 0), **self.certified.options)

    async def post(
        self, source: str = SENDER, *more: tuple[str, str], body: bytes | None = None, path: str = "legitmark"
    ) -> Answer:
        body = event() if body is None else body
        headers = [("Host", HOST), *signed(body), *more]
        raw = request_bytes(body, headers, path=f"/webhooks/{path}")
        return await self.send(raw.replace(b"Host: 127.0.0.1\r\n", b""), source)


def toml(listen: str, trusted: str) -> str:
    return (
        f'[server]\nlisten = ["{listen}"]\ntrusted_proxies = ["{trusted}"]\n'
        f'[sources.legitmark]\nsecrets = [{{ env = "LEGITMARK" }}]\nallow_from = ["{SENDER}"]\n[[routes]]\nsinks = []\n'
    )


@pytest.fixture(params=["nginx", "caddy"])
def name(request: pytest.FixtureRequest) -> str:
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return str(request.param)


@pytest.mark.parametrize("way", ["tcp", "unix"])
async def test_a_proxy_passes_webhooks_on_with_the_address_of_their_sender_and_nothing_else(
    way: str, name: str, free_port: FreePort, tmp_path: Path
) -> None:
    listen = f"127.0.0.1:{free_port()}" if way == "tcp" else f"unix:{tmp_path}/hooks.sock"
    proxy = Proxy(name, tmp_path, free_port(), listen)
    with (
        Running(tmp_path, toml(listen, "127.0.0.1" if way == "tcp" else "unix")) as gateway,
        no_traceback(gateway),
        proxy.running(),
    ):
        body = event()
        assert (await proxy.post(body=body)).outcome == (200, "accepted")
        assert gateway.rows("SELECT body FROM messages") == [(body,)], "not a byte is another one"
        answer = await proxy.post(STRANGER)
        assert (answer.outcome, answer.json()["detail"]) == ((403, "forbidden"), f"{STRANGER} may not send here")
        for forged in (SENDER, f"{SENDER}, {SENDER}", f"[{SENDER}]:1"):
            assert (await proxy.post(STRANGER, ("X-Forwarded-For", forged))).status == 403
            assert (await proxy.post(STRANGER, ("X-Forwarded-For", forged), ("X-Forwarded-For", SENDER))).status == 403
            assert (await proxy.post(SENDER, ("X-Forwarded-For", STRANGER))).status == 200
        assert {line["detail"] for line in gateway.audit("message.rejected") if "count" not in line} == {
            f"{STRANGER} is not in allow_from"
        }
        for _ in range(5):
            assert (await proxy.post(body=b"x" * 300_000)).outcome == (413, "body_too_large"), "the gateway's own answer"
            assert (await proxy.post(body=b"x" * 600_000)).status == 413
        assert (await proxy.post(path="none")).outcome == (404, "not_found")
        for path in ("/", "/metrics", "/-/ready", "/-/reload", "/api/sinks", "/webhooks/../metrics"):
            for method in ("GET", "POST"):
                refused = await proxy.send(request_bytes(b"", path=path, method=method))
                assert refused.status == 404 and b"not_found" not in refused.body, f"{path} reached the gateway"
        many = await asyncio.gather(*(proxy.post() for _ in range(30)))
        assert {answer.outcome for answer in many} == {(200, "accepted")}
    said = [
        line for line in proxy.log.read_text().splitlines() if re.search(r"\[(?:emerg|alert|crit|error|warn)\]|\"error\"", line)
    ]
    assert [line for line in said if "OCSP" not in line and "too large body" not in line] == []


async def test_a_proxy_tells_the_sender_to_try_again_while_the_gateway_is_down(
    name: str, free_port: FreePort, tmp_path: Path
) -> None:
    port = free_port()
    proxy = Proxy(name, tmp_path, free_port(), f"127.0.0.1:{port}")
    with Running(tmp_path, toml(f"127.0.0.1:{port}", "127.0.0.1")) as gateway, proxy.running():
        assert (await proxy.post()).status == 200
        for _ in range(2):
            await asyncio.to_thread(gateway.kill)
            answer = await proxy.post()
            assert (answer.outcome, answer.header("retry-after")) == ((503, "store_unavailable"), "5")
            await asyncio.to_thread(gateway.start)
            assert (await proxy.post()).outcome == (200, "accepted"), "nothing is remembered of the time before"


async def test_a_restart_behind_a_proxy_and_a_socket_of_systemd_fails_no_request(
    name: str, free_port: FreePort, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
        proxy = Proxy(name, tmp_path, free_port(), f"127.0.0.1:{port}")
        with SocketActivated(tmp_path, toml("fd:webhooks", "127.0.0.1"), {"webhooks": held}) as gateway, proxy.running():
            assert (await proxy.post()).outcome == (200, "accepted")
            assert await gateway.stop() == 0
            waiting = [asyncio.ensure_future(proxy.post()) for _ in range(5)]
            await asyncio.to_thread(gateway.start)
            assert {answer.outcome for answer in await asyncio.gather(*waiting)} == {(200, "accepted")}


@pytest.mark.parametrize("file", ["nginx.conf", "Caddyfile"])
def test_the_gateway_configuration_in_each_proxy_example_is_valid(file: str, tmp_path: Path) -> None:
    said = re.findall(r"^#   (.+)$", (SHIPPED / file).read_text(encoding="utf-8"), re.MULTILINE)
    assert said[0] == "[server]" and len(said) == 3
    source = '[sources.legitmark]\nsecrets = [{ env = "S" }]\nallow_from = ["203.0.113.0/24"]\n[[routes]]\nsinks = []\n'
    (tmp_path / "gateway.toml").write_text("\n".join(said) + "\n" + source)
    assert load(tmp_path / "gateway.toml", Environment({"S": SECRET})).warnings == ()


@pytest.mark.parametrize("file", ["nginx.conf", "Caddyfile"])
def test_the_proxy_examples_name_no_host_outside_the_reserved_domains(file: str) -> None:
    text = (SHIPPED / file).read_text(encoding="utf-8")
    hosts: list[Any] = re.findall(r"\b[a-z-]+(?:\.[a-z-]+)*\.(?:com|org|net|io|dev)\b", text)
    assert set(hosts) == {"hooks.example.com"}
    assert all(len(line) <= 130 for line in text.splitlines())
