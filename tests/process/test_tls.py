"""TLS of a real gateway: versions, certificates, their renewal, and connections across a stop."""

from __future__ import annotations

import asyncio
import json
import resource
import signal
import socket
import ssl
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from tests.cli.running import Result
from tests.cli.running import gateway as command
from tests.sinks.http_server import HttpServer
from tests.support.certificates import Certified
from tests.support.exchange import exchange, request_bytes
from tests.support.gateway_process import Running, no_traceback
from tests.support.socket_activated import SocketActivated
from tests.support.waiting import until
from tests.support.webhooks import PATH, event, signed

ROUTES = "[[routes]]\nsinks = []\n"
METRIC = "legitmark_gateway_tls_certificate_expiry_timestamp_seconds"


@pytest.fixture
def certified(tmp_path: Path) -> Certified:
    return Certified(tmp_path)


def toml(certified: Certified, listen: str = '"127.0.0.1:0"', more: str = "") -> str:
    return f"[server]\nlisten = [{listen}]\n{certified.toml}{more}\n{ROUTES}"


def address(running: Running) -> tuple[str, int]:
    found = running.addresses["webhooks"]
    assert isinstance(found, tuple)
    return found


async def expiry(running: Running) -> float | None:
    text = (await running.admin("/metrics")).body.decode()
    return next((float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{METRIC} ")), None)


async def run(running: Running, *arguments: str) -> Result:
    host, port = running.addresses["admin"]  # type: ignore[misc]
    return await asyncio.to_thread(
        command, *arguments, "--admin", f"{host}:{port}", cwd=running.folder, variables=running.secrets
    )


async def test_a_tls_listener_accepts_webhooks_only_over_tls(certified: Certified, tmp_path: Path) -> None:
    ends = certified.issue()
    with Running(tmp_path, toml(certified)) as running, no_traceback(running):
        assert (await running.post(event(), **certified.options)).outcome == (200, "accepted")
        assert await certified.shown(address(running)) == ends, "the whole chain is shown, or the root would not be enough"
        assert await expiry(running) == ends.timestamp()
        with pytest.raises((ConnectionError, ssl.SSLError)):
            await running.post(event())
        await until(lambda: "HTTP_REQUEST" in running.stderr())
        assert (await running.admin("/-/ready")).status == 200, "the admin listener stays plain"


async def test_tls_1_2_and_1_3_are_spoken_with_http_1_1_and_nothing_older(certified: Certified, tmp_path: Path) -> None:
    certified.issue()
    client = certified.context
    client.set_ciphers("DEFAULT@SECLEVEL=0")  # or OpenSSL would not even ask for TLS 1.1
    old, middle, new = ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
    with Running(tmp_path, toml(certified)) as running, no_traceback(running):
        for version, protocols, chosen in (
            (new, ["h2", "http/1.1"], "http/1.1"),
            (middle, ["http/1.1"], "http/1.1"),
            (new, ["h2"], None),
        ):
            client.minimum_version, client.maximum_version = middle, version
            client.set_alpn_protocols(protocols)
            _, writer = await asyncio.open_connection(*address(running), **certified.options)
            negotiated = writer.get_extra_info("ssl_object")
            assert negotiated.selected_alpn_protocol() == chosen
            assert negotiated.version() == {middle: "TLSv1.2", new: "TLSv1.3"}[version]
            writer.close()
            await writer.wait_closed()
            assert (await running.post(event(), **certified.options)).outcome == (200, "accepted")
        with pytest.warns(DeprecationWarning):
            client.minimum_version = client.maximum_version = old
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await running.post(event(), **certified.options)
        await until(lambda: "UNSUPPORTED_PROTOCOL" in running.stderr())


async def test_a_unix_socket_beside_a_tls_listener_speaks_plain_http(certified: Certified, tmp_path: Path) -> None:
    certified.issue()
    with Running(tmp_path, toml(certified, '"127.0.0.1:0", "unix:hooks.sock"')):
        body = event()
        answer = await exchange(tmp_path / "hooks.sock", request_bytes(body, signed(body), path=PATH))
        assert answer.outcome == (200, "accepted")


async def test_passed_tcp_sockets_speak_tls_and_outlive_a_restart(certified: Certified, tmp_path: Path) -> None:
    certified.issue()
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "local.sock"))
        sockets = {"webhooks": tcp, "local": unix}
        with SocketActivated(tmp_path, toml(certified, '"fd:webhooks", "fd:local"'), sockets) as running, no_traceback(running):
            assert (await running.post(event(), **certified.options)).outcome == (200, "accepted")
            body = event()
            assert (await exchange(tmp_path / "local.sock", request_bytes(body, signed(body)))).outcome == (200, "accepted")
            assert await running.stop() == 0
            raw = request_bytes(body := event(), signed(body))
            waiting = asyncio.ensure_future(exchange(tcp.getsockname(), raw, **certified.options))
            await asyncio.to_thread(running.start)
            assert (await waiting).outcome == (200, "accepted")


@pytest.mark.parametrize("way", ["signal", "request", "command"])
async def test_a_reload_shows_a_renewed_certificate_and_keeps_open_connections(
    way: str, certified: Certified, tmp_path: Path
) -> None:
    first = certified.issue(days=60)
    with Running(tmp_path, toml(certified)) as running, no_traceback(running):
        reader, writer = await asyncio.open_connection(*address(running), **certified.options)
        second = certified.issue(days=90)
        assert await certified.shown(address(running)) == first, "until it is asked for"
        said = f"changed [server] tls: certificate valid until {first:%Y-%m-%d} -> renewed, valid until {second:%Y-%m-%d}"
        match way:
            case "signal":
                assert running.process is not None
                running.process.send_signal(signal.SIGHUP)
            case "request":
                answer = (await running.admin("/-/reload", method="POST")).json()
                assert [change["place"] for change in answer["changes"]] == ["[server] tls"] and answer["restart"] == []
            case _:
                result = await run(running, "reload")
                assert (result.status, result.err) == (0, "") and said in result.out
        await until(lambda: running.audit("config.reloaded"))
        assert [line["detail"] for line in running.audit("config.reloaded")] == [said]
        assert await certified.shown(address(running)) == second
        assert await expiry(running) == second.timestamp()
        body = event()
        writer.write(request_bytes(body, signed(body)))
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        writer.close()
        await writer.wait_closed()


async def test_a_reload_refuses_a_broken_certificate_and_keeps_the_old_one(certified: Certified, tmp_path: Path) -> None:
    first = certified.issue()
    key = (tmp_path / "server.key").read_text()
    with Running(tmp_path, toml(certified)) as running, no_traceback(running):
        running.write_config(toml(certified, more='drain = "3s"\n[sources.other]\nverify = "none"\n'))
        for wrong, said in (
            ("missing", "server.pem: No such file or directory"),
            ("cut", "[server] tls.certificate: holds no certificate in PEM"),
            (
                "swapped",
                "[server] tls.certificate: holds no certificate in PEM: it holds a private key, as if the two were swapped",
            ),
            ("its own last", "[server] tls.certificate: does not begin with the certificate of the key, which is number 2"),
            ("other key", "[server] tls.key: does not belong to the certificate, which is the first one in its file"),
            ("locked", "[server] tls.key: is encrypted; the gateway needs one without a passphrase"),
        ):
            certified.issue(days=120)
            match wrong:
                case "missing":
                    (tmp_path / "server.pem").unlink()
                case "cut":
                    certified.write(certificate=(tmp_path / "server.pem").read_text()[:200])
                case "swapped":
                    certified.write((tmp_path / "server.key").read_text(), (tmp_path / "server.pem").read_text())
                case "its own last":
                    own, issuer = (tmp_path / "server.pem").read_text().split("-----END CERTIFICATE-----\n")[:2]
                    certified.write(certificate="-----END CERTIFICATE-----\n".join([issuer, own, ""]))
                case "other key":
                    certified.write(key=key)
                case _:
                    certified.write(key=locked(key))
            answer = await running.admin("/-/reload", method="POST")
            assert answer.status == 422 and [problem["line"] for problem in answer.json()["problems"]] == [3]
            assert said in running.audit("config.refused")[-1]["detail"]
            assert await certified.shown(address(running)) == first
            answer = await running.post(event(), path="/webhooks/other", **certified.options)
            assert answer.outcome == (404, "not_found"), "nothing else of the file counts either"
        assert "PRIVATE KEY" not in running.stderr() + running.audit_file.read_text()
        certified.issue(days=120)
        assert (await running.admin("/-/reload", method="POST")).status == 200
        assert await certified.shown(address(running)) != first


@pytest.mark.parametrize("wrong", ["swapped", "other key", "locked"])
async def test_a_certificate_and_key_that_cannot_be_used_end_the_start_with_the_reason(
    wrong: str, certified: Certified, tmp_path: Path
) -> None:
    certified.issue()
    other = (tmp_path / "server.key").read_text()
    certified.issue()
    pem, key = (tmp_path / "server.pem").read_text(), (tmp_path / "server.key").read_text()
    match wrong:
        case "swapped":
            certified.write(key, pem)
        case "other key":
            certified.write(key=other)
        case _:
            certified.write(key=locked(key))
    running = Running(tmp_path, toml(certified))
    running.launch()
    try:
        assert await running.exit_code() == 78
    finally:
        running.kill()
    assert f"{running.config}:3:" in running.stderr() and "error: [server] tls." in running.stderr()
    assert "PRIVATE KEY" not in running.stderr() and "Traceback" not in running.stderr()
    checked = await asyncio.to_thread(command, "check", cwd=tmp_path, variables=running.secrets)
    assert checked.status == 78 and checked.out.splitlines()[:3] == running.stderr().splitlines()[:3]


def locked(key: str) -> str:
    loaded = serialization.load_pem_private_key(key.encode(), None)
    pem = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    return loaded.private_bytes(*pem).decode()


async def test_switching_tls_on_or_off_takes_a_restart(certified: Certified, tmp_path: Path) -> None:
    certified.issue()
    plain = toml(certified).replace(certified.toml, "")
    with Running(tmp_path, toml(certified)) as running:
        running.write_config(plain)
        for _ in range(2):
            answer = (await running.admin("/-/reload", method="POST")).json()
            assert (answer["status"], answer["restart"]) == ("reloaded", ["[server] tls"])
            assert (await running.post(event(), **certified.options)).outcome == (200, "accepted")
        running.write_config(toml(certified))
        assert (await running.admin("/-/reload", method="POST")).json()["changes"] == []
    (tmp_path / "second").mkdir()
    with Running(tmp_path / "second", plain) as running:
        assert await expiry(running) is None
        certified.folder = running.folder
        certified.issue()
        running.write_config(toml(certified))
        assert (await running.admin("/-/reload", method="POST")).json()["restart"] == ["[server] tls"]
        assert (await running.post(event())).outcome == (200, "accepted")


async def test_a_stop_answers_requests_over_tls_and_does_not_wait_for_idle_connections(
    certified: Certified, tmp_path: Path
) -> None:
    certified.issue()
    with Running(tmp_path, toml(certified)) as running, no_traceback(running, alive=False):
        idle, idle_writer = await asyncio.open_connection(*address(running), **certified.options)
        reader, writer = await asyncio.open_connection(*address(running), **certified.options)
        half_open, half_open_writer = await asyncio.open_connection(*address(running))
        body = event()
        raw = request_bytes(body, signed(body))
        writer.write(raw[:-1])
        assert (await running.post(event(), **certified.options)).status == 200, "it has read on meanwhile"
        running.terminate()
        assert await idle.read() == b""
        writer.write(raw[-1:])
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        assert await running.exit_code(8.0) == 0, "the handshake that never comes is cut"
        assert "gateway.cut" not in running.stderr()
        for each in (idle_writer, writer, half_open_writer):
            each.transport.abort()
        assert await half_open.read() == b""


async def test_a_listener_without_free_descriptors_waits_and_goes_on(certified: Certified, tmp_path: Path) -> None:
    certified.issue()
    with Running(tmp_path, toml(certified)) as running, no_traceback(running):
        assert (await running.post(event(), **certified.options)).status == 200
        assert running.process is not None
        pid = running.process.pid
        limit = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, limit[1]))
        waiting = asyncio.ensure_future(running.post(event(), **certified.options))
        await until(lambda: '"kind": "OSError"' in running.stderr())
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limit)
        assert (await waiting).outcome == (200, "accepted")


async def test_send_trusts_the_certificate_that_the_file_names(certified: Certified, tmp_path: Path) -> None:
    certified.issue()
    with Running(tmp_path, toml(certified)) as running:
        host, port = address(running)
        running.config.write_text(running.config.read_text().replace('"127.0.0.1:0"', f'"{host}:{port}"', 1))
        result = await run(running, "send", "counterfeit")
        assert result.status == 0 and json.loads(result.out.split("  ")[1])["status"] == "accepted", result
        certified.issue()
        result = await run(running, "send", "counterfeit")
        assert result.status == 69 and "gateway reload" in result.err


async def test_send_says_what_is_wrong_with_the_certificate_of_the_server(certified: Certified, tmp_path: Path) -> None:
    certified.issue()
    with Running(tmp_path, toml(certified)) as running:
        host, port = address(running)
        result = await run(running, "send", "counterfeit", "--url", f"https://{host}:{port}")
        assert result.status == 69 and "its certificate is not trusted here: unable to get" in result.err
        running.config.write_text(running.config.read_text().replace('"127.0.0.1:0"', '"fd:webhooks"', 1))
        assert (await run(running, "send", "counterfeit")).status == 0, "the gateway says where it listens"
        running.database.with_name("gateway.db.addresses").unlink()
        assert "--url https://" in (await run(running, "send", "counterfeit")).err
    running = Running(tmp_path, toml(certified).replace(certified.toml, ""))
    with running:
        host, port = address(running)
        running.write_config(toml(certified, f'"{host}:{port}"'))
        result = await run(running, "send", "counterfeit")
        assert result.status == 69 and "[server] tls takes effect when the gateway starts again" in result.err


async def test_a_certificate_and_key_from_systemd_credentials_stay_the_same_until_a_restart(
    certified: Certified, tmp_path: Path
) -> None:
    first = certified.issue()
    certified.toml = 'tls = { certificate = { credential = "server.pem" }, key = { credential = "server.key" } }\n'
    running = Running(tmp_path, toml(certified), {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    with running, no_traceback(running):
        certified.issue(days=30)
        said = (await running.admin("/-/reload", method="POST")).json()
        assert (said["changes"], said["restart"]) == ([], ["credential server.pem", "credential server.key"])
        assert await certified.shown(address(running)) == first
        # The certificate can be read again but its key cannot, so both stay.
        running.write_config(toml(certified).replace('{ credential = "server.pem" }', '"server.pem"'))
        answer = await running.admin("/-/reload", method="POST")
        assert answer.status == 422 and "does not belong to the certificate" in answer.json()["detail"]
        assert await certified.shown(address(running)) == first


async def test_a_gateway_whose_certificate_has_expired_starts_and_says_so(certified: Certified, tmp_path: Path) -> None:
    ends = certified.issue(begins=-10, days=-1)
    with Running(tmp_path, toml(certified)) as running:
        said = f"warning: [server] tls.certificate: expired on {ends:%Y-%m-%d}: clients refuse it"
        assert said in running.stderr()
        assert await expiry(running) == ends.timestamp()
        ends = certified.issue(days=3.5)
        assert (await running.admin("/-/reload", method="POST")).status == 200
        assert f"[server] tls.certificate: expires on {ends:%Y-%m-%d}, in 3 day(s)" in running.stderr()


async def test_a_reload_trusts_another_authority_in_the_same_file(tmp_path: Path) -> None:
    stranger, authority = trustme.CA(), trustme.CA()
    stranger.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    async with HttpServer(tls=context) as erp:
        keys = (
            f'url = "https://127.0.0.1:{erp.port}/"\nca = "ca.pem"\nretry = ["0s", "200ms", "200ms", "200ms", "200ms", "200ms"]'
        )
        sink = f'[sinks.erp]\ntype = "http"\n{keys}\nbreaker = {{ failures = 9 }}\n[[routes]]\nsinks = ["erp"]\n'
        with Running(tmp_path, sink) as running:
            assert (await running.admin("/-/reload", method="POST")).json()["changes"] == []
            assert (await running.post(event())).status == 200
            await until(lambda: running.audit("delivery.retrying", reason="tls"))
            (tmp_path / "ca.pem").write_text("nothing")
            assert (await running.admin("/-/reload", method="POST")).status == 422
            before = (await running.admin("/api/status")).json()["config"]["sha256"]
            authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
            (change,) = (await running.admin("/-/reload", method="POST")).json()["changes"]
            assert (change["place"], change["after"]) == ("[sinks.erp] ca", "another text in the same file")
            assert (await running.admin("/api/status")).json()["config"]["sha256"] != before
            await until(lambda: running.audit("delivery.delivered"))
