"""The `http` sink and its probe under TLS, with a configured authority and a client certificate."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from gateway.core.errors import SinkSetupError
from gateway.core.outcome import Delivered, Outcome, Reason, Retry
from gateway.core.secrets import SecretRef
from gateway.core.values import Duration
from gateway.host.clock import Clock
from gateway.sinks import open_sink
from gateway.sinks.base import Found
from gateway.sinks.http.config import HttpConfig
from tests.sinks.conftest import Certificates
from tests.sinks.http_server import HttpServer
from tests.sinks.left_behind import connections_to
from tests.sinks.sending import PATIENCE, opened, opening, probe, send

Authorities = tuple[trustme.CA, trustme.CA]


def asking(certificates: Certificates, authorities: Authorities, version: ssl.TLSVersion) -> ssl.SSLContext:
    """A server that accepts only clients with a certificate of the first authority."""
    context = certificates("good")
    context.minimum_version = context.maximum_version = version
    authorities[0].configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


@contextmanager
def strict(context: ssl.SSLContext, clients: int) -> Iterator[int]:
    """A server for so many clients one after the other, and its port. OpenSSL on a plain socket says why it refuses, which
    asyncio's servers keep to themselves."""

    def serve(listener: socket.socket) -> None:
        for _ in range(clients):
            dialled = context.wrap_socket(listener.accept()[0], server_side=True, do_handshake_on_connect=False)
            with dialled, suppress(OSError):
                dialled.settimeout(PATIENCE)
                try:
                    dialled.do_handshake()
                except ssl.SSLError:
                    socket.socket.shutdown(dialled, socket.SHUT_WR)
                    while socket.socket.recv(dialled, 4096):  # else a reset could overtake the alert
                        pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = threading.Thread(target=serve, args=(listener,))
        serving.start()
        yield listener.getsockname()[1]
        serving.join(PATIENCE)
        assert not serving.is_alive()


VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


def config(server: HttpServer, **more: Any) -> HttpConfig:
    return at(server.port, **more)


def at(port: int, **more: Any) -> HttpConfig:
    return HttpConfig(url=f"https://127.0.0.1:{port}/hook", timeout=Duration("5s"), **more)


async def sent(sink_config: HttpConfig, base: Path) -> Outcome:
    async with opened(sink_config, base) as sink:
        return await send(sink)


async def probed(sink_config: HttpConfig, base: Path) -> Found:
    async with asyncio.timeout(PATIENCE):
        return await probe(sink_config, base, Clock())


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_client_certificate_is_shown_to_a_server_that_asks_for_it(
    version: ssl.TLSVersion, shown: dict[str, SecretRef], authorities: Authorities, certificates: Certificates, tmp_path: Path
) -> None:
    async with HttpServer(tls=asking(certificates, authorities, version)) as server:
        assert await sent(config(server, **shown), tmp_path) == Delivered(200)
        assert (await probed(config(server, **shown), tmp_path)).ok
    assert len(server.heard) == 1, "a probe sends nothing"


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_sink_without_a_certificate_is_refused_by_a_server_that_asks_for_one(
    version: ssl.TLSVersion, authorities: Authorities, certificates: Certificates, tmp_path: Path
) -> None:
    with strict(asking(certificates, authorities, version), 2) as port:
        outcome = await sent(at(port), tmp_path)
        found = await probed(at(port), tmp_path)
    assert isinstance(outcome, Retry)
    assert outcome.reason is Reason.TLS
    assert not found.ok
    if version is ssl.TLSVersion.TLSv1_3:  # before that, nothing says why the handshake failed
        assert "asks for one; see certificate" in outcome.detail
        assert "asks for one; check certificate and key" in found.detail


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_client_certificate_of_an_unknown_authority_is_refused_and_reported(
    version: ssl.TLSVersion, authorities: Authorities, certificates: Certificates, tmp_path: Path
) -> None:
    leaf = authorities[1].issue_cert("gateway.test")
    leaf.cert_chain_pems[0].write_to_path(str(tmp_path / "client.pem"))
    leaf.private_key_pem.write_to_path(str(tmp_path / "client.key"))
    strange: dict[str, Any] = {"certificate": SecretRef(file="client.pem"), "key": SecretRef(file="client.key")}
    with strict(asking(certificates, authorities, version), 2) as port:
        outcome = await sent(at(port, **strange), tmp_path)
        found = await probed(at(port, **strange), tmp_path)
    assert isinstance(outcome, Retry)
    assert (outcome.reason, "refused our client certificate" in outcome.detail) == (Reason.TLS, True)
    assert not found.ok
    assert "refused our client certificate" in found.detail


async def test_a_configured_authority_is_trusted_in_place_of_those_of_the_host(
    authorities: Authorities, certificates: Certificates, tmp_path: Path
) -> None:
    for name, authority in zip(("trusted", "stranger"), authorities, strict=True):
        authority.cert_pem.write_to_path(str(tmp_path / f"{name}.pem"))
    async with HttpServer(tls=certificates("untrusted")) as server:
        assert isinstance(await sent(config(server), tmp_path), Retry)
        assert not (await probed(config(server), tmp_path)).ok
        assert await sent(config(server, ca="stranger.pem"), tmp_path) == Delivered(200)
        assert (await probed(config(server, ca="stranger.pem"), tmp_path)).ok
    async with HttpServer(tls=certificates("good")) as server:
        refused = await sent(config(server, ca="stranger.pem"), tmp_path)
        assert not (await probed(config(server, ca="stranger.pem"), tmp_path)).ok
    assert isinstance(refused, Retry)
    assert refused.reason is Reason.TLS
    assert server.heard == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"ca": "missing.pem"}, "missing.pem: No such file or directory"),
        ({"ca": "nonsense.pem"}, "nonsense.pem holds no certificate in PEM"),
        ({"ca": "empty.pem"}, "empty.pem holds no certificate in PEM"),
        ({"key": SecretRef(file="other.key")}, "key: does not belong to the certificate"),
        ({"key": SecretRef(file="nonsense.pem")}, "key: holds no private key in PEM"),
        ({"certificate": SecretRef(file="nonsense.pem")}, "certificate: holds no certificate in PEM"),
        ({"key": SecretRef(file="locked.key")}, "key: is encrypted"),
    ],
)
async def test_an_unusable_certificate_is_reported_when_the_sink_is_opened_and_probed(
    changed: dict[str, Any], said: str, shown: dict[str, SecretRef], authorities: Authorities, tmp_path: Path
) -> None:
    other = authorities[0].issue_cert("gateway.test").private_key_pem.bytes()
    (tmp_path / "other.key").write_bytes(other)
    (tmp_path / "nonsense.pem").write_text("NEVER-SHOWN nonsense\n")
    (tmp_path / "empty.pem").write_text("\n")
    locked = serialization.load_pem_private_key(other, None).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )
    (tmp_path / "locked.key").write_bytes(locked)
    broken = HttpConfig(url="https://127.0.0.1:1/", **{**shown, **changed})
    with pytest.raises(SinkSetupError) as error:
        open_sink(broken, opening(tmp_path))
    found = await probed(broken, tmp_path)
    assert not found.ok
    for text in (str(error.value), found.detail):
        assert said in text
        assert "NEVER-SHOWN" not in text


def test_opening_a_sink_with_a_key_leaves_no_file_of_it(
    shown: dict[str, SecretRef], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    before = sorted(tmp_path.iterdir())
    open_sink(HttpConfig(url="https://127.0.0.1:1/", **shown), opening(tmp_path))  # type: ignore[arg-type]
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("silent", [False, True], ids=["says-goodbye", "says-nothing"])
async def test_a_sink_is_closed_together_with_its_connections(silent: bool, certificates: Certificates, tmp_path: Path) -> None:
    """TLS ends with a goodbye of both sides (RFC 8446, section 6.1). A loop that ended before it would report an error."""
    ended = threading.Event()

    def serve(listener: socket.socket) -> None:
        with certificates("good").wrap_socket(listener.accept()[0], server_side=True) as accepted:
            accepted.recv(65_536)
            accepted.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            if silent:
                ended.wait(PATIENCE)
            else:
                accepted.recv(1)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = threading.Thread(target=serve, args=(listener,))
        serving.start()
        port = listener.getsockname()[1]
        async with opened(at(port), tmp_path) as sink:
            assert await send(sink) == Delivered(200)
            assert connections_to(port) == 1
            began = asyncio.get_running_loop().time()
        assert connections_to(port) == 0
        assert asyncio.get_running_loop().time() - began < 5
        ended.set()
        serving.join(PATIENCE)
        assert not serving.is_alive()
