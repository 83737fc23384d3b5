"""The probe of each sink: what it finds at the other end, and what it says. It sends nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import msgspec
import pytest
import trustme

from gateway.core.outcome import Retry
from gateway.core.values import Duration
from gateway.host.clock import Clock
from gateway.sinks.base import Found, SinkSettings
from gateway.sinks.email.config import EmailConfig
from gateway.sinks.http.config import HttpConfig
from gateway.sinks.jsonl.config import JsonlConfig
from gateway.sinks.net.address_guard import AddressGuard
from gateway.sinks.net.http_client import Transport
from gateway.sinks.slack.config import SlackConfig
from tests.sinks.conftest import Certificate, Certificates
from tests.sinks.mail_server import DROP, HANG, RESET, MailServer, ScriptedSmtp
from tests.sinks.sending import LONG, PATIENCE, SECRETS, SHORT, probe, ref
from tests.sinks.tcp_server import Server, reset_connection

MAIL = EmailConfig(
    host="127.0.0.1", security="none", sender="Gateway <gateway@example.com>", recipients=["care@example.com"], timeout=SHORT
)
LOGIN = {"username": "gateway", "password": ref("PASSWORD")}
OFFERED = b"250-mail.test\r\n250 AUTH PLAIN LOGIN\r\n"
STARTTLS = b"250-mail.test\r\n250 STARTTLS\r\n"


class Listener(Server):
    """A server that keeps every byte that is sent to it, and says nothing."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(self._listen, tls)
        self.heard = b""

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heard += await reader.read()


async def probed(config: SinkSettings, base: Path, **secrets: str) -> Found:
    async with asyncio.timeout(PATIENCE):
        found = await probe(config, base, Clock(), **secrets)
    for value in (SECRETS | secrets).values():
        assert value not in found.detail
    return found


async def failed(config: SinkSettings, base: Path, **secrets: str) -> str:
    found = await probed(config, base, **secrets)
    assert not found.ok
    return found.detail


def http(port: int, scheme: str = "https", host: str = "127.0.0.1", **more: object) -> HttpConfig:
    return msgspec.structs.replace(HttpConfig(url=f"{scheme}://{host}:{port}/hook", timeout=Duration("5s")), **more)


def mail(port: int, **more: object) -> EmailConfig:
    return msgspec.structs.replace(MAIL, port=port, **{"timeout": Duration("5s"), **more})


@pytest.fixture
def full() -> Iterator[int]:
    """The port of a listener whose queue is full: to a client it looks like a firewall that drops packets."""
    with contextlib.ExitStack() as sockets:
        listener = sockets.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(8):
            waiting = sockets.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_probe_of_a_url_with_tls_connects_and_sends_nothing(
    host: str, tmp_path: Path, certificates: Certificates
) -> None:
    async with Listener(certificates("good")) as server:
        found = await probed(http(server.port, host=host), tmp_path)
        await asyncio.wait_for(server.gone.wait(), PATIENCE)
    said = rf"connects to 127\.0\.0\.1:{server.port} in (\d+) ms, TLS 1\.3, certificate valid for \d+ days"
    assert (match := re.fullmatch(said, found.detail))
    assert found.ok
    assert round(found.seconds * 1000) == int(match[1])
    assert (server.connections, server.heard) == (1, b"")


@pytest.mark.parametrize(
    ("left", "said"),
    [(timedelta(days=41, hours=1), "41 days"), (timedelta(days=1, hours=1), "1 day"), (timedelta(hours=1), "0 days")],
)
async def test_a_probe_tells_how_many_days_a_certificate_is_valid(
    left: timedelta,
    said: str,
    tmp_path: Path,
    authorities: tuple[trustme.CA, trustme.CA],
    certificates: Certificates,
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authorities[0].issue_cert("127.0.0.1", not_after=datetime.now(UTC) + left).configure_cert(context)
    async with Listener(context) as server:
        found = await probed(http(server.port), tmp_path)
    assert found.detail.endswith(f"certificate valid for {said}")


async def test_a_service_that_never_closes_its_tls_does_not_delay_the_probe(tmp_path: Path, certificates: Certificates) -> None:
    left = threading.Event()

    def shake_hands(listener: socket.socket) -> None:
        with certificates("good").wrap_socket(listener.accept()[0], server_side=True):
            left.wait(2 * PATIENCE)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.ensure_future(asyncio.to_thread(shake_hands, listener))
        try:
            found = await probed(http(listener.getsockname()[1], timeout=LONG), tmp_path)
        finally:
            left.set()
            await serving
    assert found.ok


async def test_an_address_that_does_not_answer_does_not_delay_another(
    full: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A probe dials as the sinks do, which try the next address meanwhile."""
    async with Listener() as server:
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in (full, server.port)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_: found)
        detail = (await probed(http(443, "http", "erp.test"), tmp_path)).detail
    assert f"connects to 127.0.0.1:{server.port} in " in detail


async def test_a_probe_of_a_url_without_tls_connects_and_sends_nothing(tmp_path: Path) -> None:
    async with Listener() as server:
        found = await probed(http(server.port, "http"), tmp_path)
        await asyncio.wait_for(server.gone.wait(), PATIENCE)
    assert found.ok
    assert re.fullmatch(rf"connects to 127\.0\.0\.1:{server.port} in \d+ ms, without TLS", found.detail)
    assert (server.connections, server.heard) == (1, b"")


async def test_the_url_of_a_slack_sink_stays_secret_whether_it_answers_or_not(
    tmp_path: Path, certificates: Certificates, free_port: Callable[[], int]
) -> None:
    config = SlackConfig(webhook_url=ref("HOOK"))
    async with Listener(certificates("good")) as server:
        found = await probed(config, tmp_path, HOOK=f"https://127.0.0.1:{server.port}/services/T0/never-shown")
    assert found.ok
    assert server.heard == b""
    detail = await failed(config, tmp_path, HOOK=f"https://127.0.0.1:{free_port()}/services/T0/never-shown")
    assert "never-shown" not in found.detail + detail


CERTIFICATES: dict[Certificate, str] = {
    "expired": "the certificate has expired; it has to be renewed there",
    "untrusted": "by an authority that this host does not trust; add it to the authorities of this host",
    "wrong host": "the certificate is for another name; write the name",
}


@pytest.mark.parametrize("kind", CERTIFICATES)
async def test_an_invalid_certificate_is_reported_with_its_fault(
    kind: Certificate, tmp_path: Path, certificates: Certificates
) -> None:
    async with Listener(certificates(kind)) as server:
        detail = await failed(http(server.port), tmp_path)
    assert detail.startswith(f"127.0.0.1:{server.port}: ")
    assert CERTIFICATES[kind] in detail
    assert server.heard == b""


@pytest.mark.parametrize("security", ["tls", "starttls"])
@pytest.mark.parametrize("kind", CERTIFICATES)
async def test_a_mail_host_with_an_invalid_certificate_gets_no_login(
    kind: Certificate, security: Literal["tls", "starttls"], tmp_path: Path, certificates: Certificates
) -> None:
    context = certificates(kind)
    server = MailServer(tls=context) if security == "tls" else MailServer(starttls=context, login=True)
    async with server:
        detail = await failed(mail(server.port, security=security, **LOGIN), tmp_path)
    assert CERTIFICATES[kind] in detail
    assert server.logins == []


async def test_a_service_that_speaks_no_tls_is_reported(tmp_path: Path, certificates: Certificates) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 peer-text\r\n\r\n")
        await reader.read()

    async with Server(talk) as server:
        detail = await failed(http(server.port), tmp_path)
    assert f"127.0.0.1:{server.port}: TLS failed" in detail
    assert "peer-text" not in detail
    async with ScriptedSmtp() as smtp:
        assert "TLS failed" in await failed(mail(smtp.port, security="tls"), tmp_path)


@pytest.mark.parametrize("close", [reset_connection, lambda writer: writer.close()], ids=["reset", "close"])
async def test_a_connection_that_is_closed_before_tls_is_reported(
    close: Callable[[asyncio.StreamWriter], None], tmp_path: Path, certificates: Certificates
) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        close(writer)

    async with Server(talk) as server:
        detail = await failed(http(server.port), tmp_path)
    assert f"127.0.0.1:{server.port} closed the connection, before TLS was done" in detail


@pytest.mark.parametrize("make", [http, mail])
async def test_a_port_that_refuses_is_reported(
    make: Callable[[int], SinkSettings], tmp_path: Path, free_port: Callable[[], int]
) -> None:
    port = free_port()
    assert (await failed(make(port), tmp_path)).startswith(f"127.0.0.1:{port}: Connection refused; ")


@pytest.mark.parametrize("make", [http, mail])
async def test_a_probe_ends_in_time_if_there_is_no_connection(
    make: Callable[..., SinkSettings], tmp_path: Path, full: int
) -> None:
    detail = await failed(make(full, timeout=SHORT), tmp_path)
    assert f"127.0.0.1:{full}: no connection within 1 s" in detail


async def test_a_probe_ends_in_time_if_the_tls_handshake_hangs(tmp_path: Path, certificates: Certificates) -> None:
    async with Listener() as server:
        detail = await failed(http(server.port, timeout=SHORT), tmp_path)
    assert f"127.0.0.1:{server.port}: no TLS within 1 s" in detail


@pytest.mark.parametrize("verb", ["greeting", "EHLO", "AUTH"])
async def test_a_probe_ends_in_time_if_the_mail_host_hangs(verb: str, tmp_path: Path) -> None:
    async with ScriptedSmtp(**{"EHLO": OFFERED, verb: HANG}) as server:
        detail = await failed(mail(server.port, timeout=SHORT, **LOGIN), tmp_path)
    assert f"127.0.0.1:{server.port}: no SMTP up to the login within 1 s" in detail


@pytest.mark.parametrize(("timeout", "seconds"), [("30s", 10), ("10s", 10), ("3s", 3), ("300ms", 0.3)])
def test_a_probe_waits_as_long_as_its_sink_and_at_most_ten_seconds(timeout: str, seconds: float) -> None:
    assert http(1, timeout=Duration(timeout)).probe_seconds == seconds


async def test_a_name_without_an_address_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RES_OPTIONS", "timeout:1 attempts:1")  # where no resolver answers at all
    detail = await failed(http(443, host="nowhere.invalid", timeout=Duration("10s")), tmp_path)
    assert detail.startswith("nowhere.invalid has no address (")
    assert "check url" in detail
    detail = await failed(mail(25, host="mail.invalid", timeout=Duration("10s")), tmp_path)
    assert detail.startswith("mail.invalid has no address (")
    assert "check host" in detail


@pytest.mark.parametrize("host", ["erp..internal", "x" * 70 + ".internal"])
async def test_a_name_that_can_have_no_address_is_reported(host: str, tmp_path: Path) -> None:
    assert (await failed(http(443, host=host), tmp_path)).startswith("url has ")
    assert "is not a valid DNS name" in await failed(mail(25, host=host), tmp_path)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"])
async def test_an_address_outside_the_networks_is_reported_and_not_dialled(host: str, tmp_path: Path) -> None:
    networks = ["10.0.0.0/8"]
    async with Listener() as server:
        details = [
            await failed(http(server.port, "http", host, allow_networks=networks), tmp_path),
            await failed(mail(server.port, host=host.strip("[]"), allow_networks=networks), tmp_path),
            await failed(
                SlackConfig(webhook_url=ref("HOOK"), allow_networks=networks), tmp_path, HOOK=f"http://{host}:{server.port}/"
            ),
        ]
    for detail in details:
        assert f":{server.port}" in detail
        assert "not in allow_networks" in detail
    assert server.connections == 0


@pytest.mark.parametrize("host", ["169.254.169.254", "[fd00:ec2::254]", "[::ffff:169.254.169.254]", "0.0.0.0", "[::]"])
async def test_an_address_that_no_sink_may_dial_is_reported(host: str, tmp_path: Path) -> None:
    for config in (http(80, "http", host), mail(25, host=host.strip("[]"))):
        assert "no sink may dial a link-local, metadata, multicast or unspecified address" in await failed(config, tmp_path)


@pytest.mark.parametrize("host", ["2130706433", "127.1", "0177.0.0.1", "0x7f000001"])
async def test_an_address_inside_an_ipv6_form_is_refused_as_the_sink_refuses_it(host: str, tmp_path: Path) -> None:
    async with Listener() as server:
        detail = await failed(http(server.port, "http", host), tmp_path)
    assert "four numbers" in detail
    assert server.connections == 0


@pytest.mark.parametrize(
    "url",
    [
        "http://ERP.test",
        "http://Bücher.test:8080/x?sp=%2Fa",
        "http://erp.test.:8080?x=1",
        "http://[2001:DB8::1]/",
        "http://127.0.0.1:81/a/../b",
        "http://127.1/",
        "http://straße.test/",
        "http://erp.test:0/",
        "http://erp.test:/",
        "http://erp.test /",
        "http://a@erp.test/",
        "http://${HOST}/",
        "ftp://erp.test/",
    ],
)
async def test_a_probe_dials_what_the_sink_dials_and_refuses_what_the_sink_refuses(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, int]] = []

    def nowhere(host: str, port: int, *_: object) -> list[object]:
        asked.append((host, port))
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    await failed(HttpConfig(url=url), tmp_path)
    by_the_probe = asked.copy()
    asked.clear()
    transport = Transport(AddressGuard(), 1, 5.0)
    try:
        assert isinstance(await transport.post(url, b"", {}), Retry)
    finally:
        await transport.aclose()
    assert by_the_probe == asked


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_a_probe_logs_in_to_a_mail_host_and_sends_nothing(
    security: Literal["tls", "starttls"], tmp_path: Path, certificates: Certificates
) -> None:
    context = certificates("good")
    server = MailServer(starttls=context, login=True) if security == "starttls" else MailServer(tls=context)
    login = LOGIN if security == "starttls" else {}
    async with server:
        found = await probed(mail(server.port, security=security, **login), tmp_path)
    kind = "STARTTLS, " if security == "starttls" else ""
    said = "login as gateway accepted" if login else "no login"
    pattern = rf"connects to 127\.0\.0\.1:{server.port} in \d+ ms, {kind}TLS 1\.3, certificate valid for \d+ days, {said}"
    assert found.ok
    assert re.fullmatch(pattern, found.detail)
    assert server.logins == ([True] if login else [])
    assert server.mails == []
    assert server.envelopes == []


async def test_a_mail_host_hears_no_more_than_a_login_and_a_goodbye(tmp_path: Path) -> None:
    async with ScriptedSmtp(EHLO=OFFERED) as server:
        found = await probed(mail(server.port, **LOGIN), tmp_path)
        await asyncio.wait_for(server.gone.wait(), PATIENCE)
    assert found.ok
    assert "without TLS, login as gateway accepted" in found.detail
    assert [line.split()[0].upper() for line in server.lines] == [b"EHLO", b"AUTH", b"QUIT"]


@pytest.mark.parametrize("timeout", [SHORT, LONG])
@pytest.mark.parametrize("goodbye", [HANG, DROP, RESET, b"421 4.0.0 no\r\n"])
async def test_a_mail_host_that_says_no_goodbye_is_still_good(goodbye: bytes, timeout: Duration, tmp_path: Path) -> None:
    async with ScriptedSmtp(QUIT=goodbye) as server:
        assert (await probed(mail(server.port, timeout=timeout), tmp_path)).ok


async def test_a_refused_login_is_reported(tmp_path: Path, certificates: Certificates) -> None:
    async with MailServer(starttls=certificates("good"), login=True) as server:
        config = mail(server.port, security="starttls", **LOGIN)
        detail = await failed(config, tmp_path, PASSWORD="wrong-3Ty7-never-shown")
    assert detail == f"127.0.0.1:{server.port} refused the login: SMTP 535; check username and password"
    assert server.logins and not any(server.logins)


async def test_a_mail_host_without_a_login_is_reported(tmp_path: Path) -> None:
    for offered in (b"250-mail.test\r\n250 8BITMIME\r\n", b"250-mail.test\r\n250 AUTH OTHER\r\n"):
        async with ScriptedSmtp(EHLO=offered) as server:
            detail = await failed(mail(server.port, **LOGIN), tmp_path)
        assert detail == f"127.0.0.1:{server.port} offers no login; check port and security, or remove username and password"


async def test_a_mail_host_without_starttls_is_reported_and_gets_no_login(tmp_path: Path, certificates: Certificates) -> None:
    async with ScriptedSmtp(EHLO=OFFERED) as server:
        detail = await failed(mail(server.port, security="starttls", **LOGIN), tmp_path)
    assert detail == f"127.0.0.1:{server.port} offers no STARTTLS; nothing was sent in clear text; check port and security"
    assert not any(line.upper().startswith(b"AUTH") for line in server.lines)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ({"greeting": b"554 5.3.2 peer-text\r\n"}, "refuses mail: SMTP 554"),
        ({"EHLO": b"550 5.3.2 peer-text\r\n", "HELO": b"550 5.3.2 peer-text\r\n"}, "refuses mail: SMTP 550"),
        ({"EHLO": STARTTLS, "STARTTLS": b"454 4.7.0 peer-text\r\n"}, "454"),
        ({"greeting": b"SSH-2.0-peer-text\r\n"}, "the answer is not SMTP"),
        ({"greeting": DROP}, "closed the connection, before SMTP was done"),
        ({"EHLO": RESET}, "closed the connection, before SMTP was done"),
    ],
    ids=str,
)
async def test_a_mail_host_that_refuses_this_host_is_reported(script: dict[str, bytes], said: str, tmp_path: Path) -> None:
    async with ScriptedSmtp(**script) as server:
        detail = await failed(mail(server.port, security="starttls" if "STARTTLS" in script else "none"), tmp_path)
    assert f"127.0.0.1:{server.port}" in detail
    assert said in detail
    assert "peer-text" not in detail


async def test_a_missing_file_that_could_be_made_is_good_and_is_not_made(tmp_path: Path) -> None:
    found = await probed(JsonlConfig(path="events.jsonl"), tmp_path)
    assert (found.ok, found.detail) == (True, f"{tmp_path}/events.jsonl can be appended to")
    assert list(tmp_path.iterdir()) == []


async def test_an_existing_file_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"v":1}\n{"torn')
    before = path.stat()
    assert (await probed(JsonlConfig(path=str(path)), Path("/"))).ok
    after = path.stat()
    assert (after.st_mtime_ns, after.st_ctime_ns, after.st_size) == (before.st_mtime_ns, before.st_ctime_ns, before.st_size)


async def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    """The reader would take that for the end: Linux says POLLHUP once a writer has come and gone."""
    os.mkfifo(tmp_path / "events.jsonl")
    reader = os.open(tmp_path / "events.jsonl", os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert (await probed(JsonlConfig(path="events.jsonl"), tmp_path)).ok
        poll = select.poll()
        poll.register(reader)
        assert poll.poll(0) == []
    finally:
        os.close(reader)


async def test_a_file_that_cannot_be_appended_to_is_reported(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "link").symlink_to(tmp_path / "gone" / "events.jsonl")
    for path, place, said in (
        ("none/events.jsonl", "none", "No such file or directory; make the folder, or check path"),
        ("folder", "folder", "Is a directory; check path"),
        ("file/events.jsonl", "file", "Not a directory; check path"),
        ("circle", "circle", "Too many levels of symbolic links; check path"),
        ("link", "gone", "No such file or directory; make the folder"),
    ):
        assert (await failed(JsonlConfig(path=path), tmp_path)).startswith(f"{tmp_path}/{place}: {said}")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["circle", "file", "folder", "link"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize("there", [True, False])
async def test_a_file_of_another_user_is_reported(there: bool, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    if there:
        (folder / "events.jsonl").touch(mode=0o400)
    folder.chmod(0o500)
    assert "Permission denied; check path, and who may write there" in await failed(JsonlConfig(path="events.jsonl"), folder)
