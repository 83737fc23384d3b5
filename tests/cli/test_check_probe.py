"""`gateway check --probe`: every sink is opened, at the same time, and nothing is sent."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.cli.running import TIMEOUT, Result, environment, gateway
from tests.sinks import sending
from tests.sinks.conftest import Certificates, authorities, certificates
from tests.sinks.http_server import HttpServer
from tests.sinks.mail_server import MailServer, ScriptedSmtp
from tests.sinks.tcp_server import Server

__all__ = ["authorities", "certificates"]
SECRETS = {
    "SMTP_PASSWORD": sending.SECRETS["PASSWORD"],
    "TOKEN": "token-8Hq2-never-shown",
    "HOOK": "https://127.0.0.1:{port}/services/T0/hook-5Wd3-never-shown",
}
CONFIG = """
[sources.legitmark]
secrets = [{{ env = "LEGITMARK_SECRET" }}]

[sinks.erp]
type = "http"
on_stale = "annotate"
url = "https://localhost:{http}/hooks"
bearer = {{ env = "TOKEN" }}
timeout = "{timeout}"

[sinks.customer_care]
type = "email"
host = "127.0.0.1"
port = {smtp}
username = "gateway"
password = {{ env = "SMTP_PASSWORD" }}
sender = "gateway@example.com"
recipients = ["care@example.com"]

[sinks.fraud_desk]
type = "slack"
webhook_url = {{ env = "HOOK" }}

[sinks.archive]
type = "jsonl"
path = "events.jsonl"

[[routes]]
name = "everything"
sinks = ["erp", "customer_care", "fraud_desk", "archive"]
"""
NAMES = ["erp", "customer_care", "fraud_desk", "archive"]


def written(folder: Path, http: int, smtp: int, timeout: str = "30s") -> Path:
    file = folder / "gateway.toml"
    file.write_text(CONFIG.format(http=http, smtp=smtp, timeout=timeout))
    return file


async def check(*arguments: str | Path, slack: int = 1, certificates: Path | None = None) -> Result:
    """Run a check beside the servers of this test, and require that its output shows no secret."""
    secrets = {name: value.format(port=slack) for name, value in SECRETS.items()}
    trusted: Mapping[str, str] = {"SSL_CERT_FILE": str(certificates)} if certificates else {}
    result = await asyncio.to_thread(gateway, "check", *arguments, variables={**secrets, **trusted})
    assert "never-shown" not in result.out + result.err
    return result


async def test_each_sink_has_a_line_with_its_finding(tmp_path: Path, certificates: Certificates, authorities: object) -> None:
    context = certificates("good")
    async with HttpServer(tls=context) as erp, HttpServer(tls=context) as slack, MailServer(starttls=context, login=True) as care:
        file = written(tmp_path, erp.port, care.port)
        result = await check(file, "--probe", slack=slack.port, certificates=tmp_path / "authority.pem")
    head, *lines = result.out.splitlines()
    assert (result.status, result.err) == (0, "")
    assert head == f"{file}: good: 1 source(s), 4 sink(s), 1 route(s)"
    assert [line.partition(":")[0] for line in lines] == NAMES
    for line, start, end in zip(
        lines,
        [f"127.0.0.1:{erp.port} in ", f"127.0.0.1:{care.port} in ", f"127.0.0.1:{slack.port} in "],
        ["days", "login as gateway accepted", "days"],
        strict=False,
    ):
        assert f": connects to {start}" in line
        assert ", TLS 1.3, certificate valid for " in line
        assert line.endswith(end)
    assert lines[3] == f"archive: {tmp_path}/events.jsonl can be appended to"
    assert erp.heard == slack.heard == []
    assert care.mails == []
    assert not (tmp_path / "events.jsonl").exists()


async def test_a_sink_that_does_not_open_ends_with_1_and_is_listed_in_the_order_of_the_file(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    erp, care, slack = free_port(), free_port(), free_port()
    result = await check(written(tmp_path, erp, care), "--probe", slack=slack)
    head, *lines = result.out.splitlines()
    assert (result.status, result.err) == (1, "")
    assert ": good: " in head
    assert [line.split(": ")[:2] for line in lines[:3]] == [[name, "failed"] for name in NAMES[:3]]
    assert all("Connection refused" in line for line in lines[:3])
    assert lines[3].startswith("archive: ")


async def test_json_has_a_key_for_the_probes_in_its_only_document(tmp_path: Path, free_port: Callable[[], int]) -> None:
    erp, care = free_port(), free_port()
    result = await check(written(tmp_path, erp, care), "--probe", "--json")
    document = result.document()
    assert result.status == 1
    assert list(document) == ["ok", "problems", "probes"]
    assert (document["ok"], document["problems"]) == (False, [])
    assert [probe["sink"] for probe in document["probes"]] == NAMES
    assert [probe["ok"] for probe in document["probes"]] == [False, False, False, True]
    for probe in document["probes"]:
        assert list(probe) == ["sink", "ok", "detail", "duration_ms"]
        assert 0 <= probe["duration_ms"] < 10_000
    assert document["probes"][1]["detail"].startswith(f"127.0.0.1:{care}: Connection refused")


async def test_all_sinks_are_opened_at_the_same_time(tmp_path: Path) -> None:
    """The server greets no client before the last one has connected: sinks opened one after the other would time out."""
    names = [f"care{number}" for number in range(6)]
    came: list[str] = []
    complete = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append("one")
        if len(came) == len(names):
            complete.set()
        await complete.wait()
        writer.write(b"220 mail.test\r\n")
        while await reader.readline():
            writer.write(b"250 ok\r\n")

    async with Server(talk) as server:
        sinks = "\n".join(
            f'[sinks.{name}]\ntype = "email"\nhost = "127.0.0.1"\nport = {server.port}\nsecurity = "none"\n'
            'sender = "gateway@example.com"\nrecipients = ["care@example.com"]\n'
            for name in names
        )
        file = tmp_path / "gateway.toml"
        file.write_text('[sources.legitmark]\nsecrets = [{ env = "LEGITMARK_SECRET" }]\n' + sinks)
        result = await check(file, "--probe")
    assert result.status == 0
    assert [line.partition(":")[0] for line in result.out.splitlines() if line.endswith("no login")] == names


async def test_a_sink_that_hangs_delays_no_other_and_ends_in_time(tmp_path: Path) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        await reader.read()

    async with Server(talk) as server, ScriptedSmtp() as care:
        result = await check(written(tmp_path, server.port, care.port, timeout="2s"), "--probe", "--json")
    probes = {probe["sink"]: probe for probe in result.document()["probes"]}
    assert "no TLS within 2 s" in probes["erp"]["detail"]
    assert "STARTTLS" in probes["customer_care"]["detail"]


async def test_a_file_with_errors_is_not_probed(tmp_path: Path) -> None:
    async with HttpServer() as server:
        file = written(tmp_path, server.port, server.port)
        file.write_text(file.read_text() + "[server2]\n")
        told = await check(file, "--probe", slack=server.port)
        document = await check(file, "--probe", "--json", slack=server.port)
        without = await check(file, slack=server.port)
    assert (told.status, document.status) == (78, 78)
    assert told.out == without.out
    assert document.document()["probes"] == []
    assert server.connections == 0


async def test_nothing_is_probed_without_the_option(tmp_path: Path) -> None:
    async with HttpServer() as server:
        result = await check(written(tmp_path, server.port, server.port), "--json", slack=server.port)
    assert (result.status, result.document()) == (0, {"ok": True, "problems": []})
    assert server.connections == 0


async def test_warnings_count_under_strict_whatever_the_probes_find(tmp_path: Path) -> None:
    file = tmp_path / "gateway.toml"
    file.write_text(
        '[sources.legitmark]\nsecrets = [{ env = "LEGITMARK_SECRET" }]\n[sinks.spare]\ntype = "jsonl"\npath = "spare.jsonl"\n'
    )
    assert (await check(file, "--probe")).status == 0
    strict = await check(file, "--probe", "--strict")
    assert strict.status == 1
    assert strict.out.endswith(f"spare: {tmp_path}/spare.jsonl can be appended to\n")


async def test_a_probe_without_secrets_is_a_usage_error(folder: Path) -> None:
    result = await check(folder / "gateway.toml", "--probe", "--no-secrets")
    assert (result.status, result.out) == (2, "")
    assert "--probe and --no-secrets" in result.err
    assert "a sink is opened with its secrets" in result.err


def test_a_check_without_probes_imports_nothing_that_sends(folder: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "gateway", "check", folder / "gateway.toml"],
        env=environment(),
        capture_output=True,
        timeout=TIMEOUT,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in run.stderr.decode().splitlines() if line.startswith("import time:")}
    assert "gateway.sinks.http.sink" in imported, "the report of importtime was read"
    assert not {name for name in imported if name.partition(".")[0] in ("aiohttp", "aiohappyeyeballs", "yarl", "aiosmtplib")}
