"""The `http` sink against Caddy, with TLS, HTTP/1.1 and a client certificate. Debian has it as caddy.

The URLs name localhost, because Caddy compares the name in TLS with the `Host` field, and TLS cannot name an address (RFC 6066,
section 3).
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from gateway.core.outcome import Delivered, Reason, Retry
from gateway.core.secrets import SecretRef
from gateway.core.values import Duration
from gateway.sinks.http.config import HttpConfig
from tests.sinks.left_behind import connections_to
from tests.sinks.sending import PATIENCE, opened, outgoing, send
from tests.support.real_server import running, write_certificate
from tests.support.waiting import until

CADDY = shutil.which("caddy")
CONFIG = """
{{
    admin off
    auto_https off
}}
(answers) {{
    log {{
        output file {folder}/access.log
    }}
    respond /kept "taken" 200
    handle /closes {{
        header Connection close
        respond "taken" 200
    }}
    handle /drops {{
        abort
    }}
    handle /small {{
        request_body {{
            max_size 1KB
        }}
        reverse_proxy 127.0.0.1:{old}
    }}
    handle /chunks {{
        reverse_proxy 127.0.0.1:{old}
    }}
}}
https://localhost:{tls} {{
    bind 127.0.0.1
    tls {folder}/certificate.pem {folder}/key.pem
    import answers
}}
https://localhost:{strict} {{
    bind 127.0.0.1
    tls {folder}/certificate.pem {folder}/key.pem {{
        client_auth {{
            mode require_and_verify
            trusted_ca_cert_file {folder}/authority.pem
        }}
    }}
    import answers
}}
"""


class Caddy:
    def __init__(self, folder: Path, ports: dict[str, int]) -> None:
        self._folder = folder
        self.ports = ports

    def config(self, path: str, port: str = "tls", **more: Any) -> HttpConfig:
        return HttpConfig(url=f"https://localhost:{self.ports[port]}/{path}", timeout=Duration("10s"), **more)

    async def logged(self, requests: int) -> list[dict[str, Any]]:
        """Return the requests of the log once it has so many, because Caddy writes a line after it has answered."""
        await until(lambda: len(self._lines()) >= requests, PATIENCE)
        return [json.loads(line)["request"] for line in self._lines()]

    def _lines(self) -> list[str]:
        return (self._folder / "access.log").read_text(encoding="utf-8").splitlines()


@pytest.fixture
def caddy(
    old: int, authorities: tuple[trustme.CA, trustme.CA], monkeypatch: pytest.MonkeyPatch, free_port: Callable[[], int]
) -> Iterator[Caddy]:
    if CADDY is None:
        pytest.skip("there is no caddy here: on Debian, apt install caddy")
    with tempfile.TemporaryDirectory(prefix="caddy") as name:
        folder, ports = Path(name), {port: free_port() for port in ("tls", "strict")}
        write_certificate(folder, authorities[0])
        monkeypatch.setenv("SSL_CERT_FILE", str(folder / "authority.pem"))
        (folder / "Caddyfile").write_text(CONFIG.format(folder=folder, old=old, **ports), encoding="utf-8")
        command = [CADDY, "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]
        with running(command, ports["tls"], folder):
            yield Caddy(folder, ports)
            assert not connections_to(*ports.values()), "a sink that was closed has left some"


@pytest.mark.parametrize(("path", "connections"), [("kept", 1), ("chunks", 1), ("closes", 5)])
async def test_a_connection_is_kept_as_long_as_caddy_wants(path: str, connections: int, caddy: Caddy, tmp_path: Path) -> None:
    """Caddy offers HTTP/2; the sink speaks HTTP/1.1. An answer without a length comes in chunks."""
    async with opened(caddy.config(path), tmp_path) as sink:
        for _ in range(5):
            assert await send(sink) == Delivered(200)
    log = await caddy.logged(5)
    assert len({request["remote_port"] for request in log}) == connections
    assert {(request["proto"], request["tls"]["version"]) for request in log} == {("HTTP/1.1", 0x0304)}


async def test_caddy_knows_the_sink_by_its_client_certificate(caddy: Caddy, shown: dict[str, SecretRef], tmp_path: Path) -> None:
    async with opened(caddy.config("kept", "strict", **shown), tmp_path) as sink:
        for _ in range(3):
            assert await send(sink) == Delivered(200)
    log = await caddy.logged(3)
    assert {request["tls"]["client_common_name"] for request in log} == {"gateway"}
    assert len({request["remote_port"] for request in log}) == 1


async def test_a_sink_without_a_certificate_is_told_that_caddy_asks_for_one(caddy: Caddy, tmp_path: Path) -> None:
    async with opened(caddy.config("kept", "strict"), tmp_path) as sink:
        outcome = await send(sink)
    assert isinstance(outcome, Retry)
    assert (outcome.reason, "asks for one; see certificate" in outcome.detail) == (Reason.TLS, True)


async def test_a_request_that_caddy_drops_without_an_answer_is_not_delivered(caddy: Caddy, tmp_path: Path) -> None:
    async with opened(caddy.config("drops"), tmp_path) as sink:
        outcome = await send(sink)
    assert isinstance(outcome, Retry)
    assert outcome.reason is Reason.RESET


@pytest.mark.parametrize("size", [2_000, 200_000, 4_000_000])
async def test_a_body_that_is_too_large_for_caddy_is_a_retry(size: int, caddy: Caddy, tmp_path: Path) -> None:
    async with opened(caddy.config("small"), tmp_path) as sink:
        outcomes = [await send(sink, outgoing(b"x" * size)) for _ in range(3)]
        assert await send(sink) == Delivered(200), "a small one goes through"
    assert {type(outcome) for outcome in outcomes} == {Retry}
