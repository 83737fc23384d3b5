"""A secret that was pasted into the configuration is shown by no log, answer, audit line or command."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.running import command, environment, gateway
from tests.support.configurations import http_sink, route
from tests.support.gateway_process import Running
from tests.support.receivers import Receiver
from tests.support.waiting import until

PIECE = 6
KEY = "kX9vQ2mZ7pL4wR8tJ3nB6yHf"
SECRETS = {
    "signing": f"whsec_{KEY}MIGf",
    "token": f"xoxe.xoxp-1-{KEY}",
    "hook": f"https://hooks.slack.com/services/T0A1B2C3/B0A1B2C3/{KEY}",
    "password": "qzxvbnkplmrtwd7",
}
LAYOUTS = [
    ("signing", '[sources.legitmark]\nsecrets = [\n  "§"\n]\n'),
    ("signing", '[sources.legitmark]\nsecrets = [\n  "§"\n  "§"\n]\n'),
    ("signing", "[sources.legitmark]\nsecrets =\n§\n"),
    ("signing", '[sources."§"]\nsecrets = [{ env = "LEGITMARK" }]\n'),
    ("signing", '[sources.legitmark]\nsecrets = { "§" = "§" }\n'),
    ("signing", '[sources.legitmark]\r\nsecrets = [{ env = "§" }]\r\nsecrets = [{ file = "§" }] # §\r\n'),
    ("token", '[sinks.care]\ntype = "slack"\ntoken = """\n§\n"""\nchannel = "§"\n'),
    ("token", "[sinks.care]\ntype = 'slack'\ntoken: §\n"),
    ("hook", '[sinks.care]\ntype = "slack"\nwebhook_url = "§"\n'),
    ("hook", '[sinks.care]\ntype = "http"\nurl = "§ "\nlink = "§"\n'),
    ("password", '[sinks.erp]\ntype = "http"\nurl = "https://user:§@erp.example/"\n'),
    ("password", '[sinks.mail]\ntype = "email"\nhost = "h.example"\npassword "§"\n'),
    ("password", '[sinks.erp]\ntype = "http"\nurl = "https://erp.example/"\nheaders = { x-key = [\n"§"\n] }\n'),
    ("password", '[admin]\nexport token=[{ env = "A" }, §]\n'),
]
BY_COMMAND = [LAYOUTS[1], LAYOUTS[5], LAYOUTS[7], LAYOUTS[12]]
COMMANDS = [
    ["check"],
    ["check", "--json"],
    ["check", "--no-secrets", "--strict"],
    ["reload"],
    ["reload", "--json"],
    ["reload", "--diff"],
    ["backtest", "--against", "gateway.toml"],
    ["route", "counterfeit"],
    ["test"],
    ["send", "counterfeit"],
    ["status"],
    ["serve"],
]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A gateway whose configuration the tests spoil. At its end, none of its output shows one of their secrets."""
    with Receiver() as receiver, Running(tmp_path_factory.mktemp("pasted"), http_sink(receiver) + route("erp")) as running:
        yield running
        assert asyncio.run(running.stop()) == 0
        for kind, layout in LAYOUTS:
            assert shown(SECRETS[kind], layout, running.stderr(), running.audit_file.read_text()) == []


def pieces(secret: str, layout: str) -> list[str]:
    rest = f"{layout} whsec_ https://hooks.slack.com/services/"
    return [piece for piece in (secret[at : at + PIECE] for at in range(len(secret) - PIECE + 1)) if piece not in rest]


def shown(secret: str, layout: str, *said: str) -> list[str]:
    return [piece for piece in pieces(secret, layout) if any(piece in one for one in said)]


@pytest.mark.parametrize(("kind", "layout"), LAYOUTS)
async def test_a_reload_shows_a_pasted_secret_nowhere(kind: str, layout: str, running: Running) -> None:
    secret = SECRETS[kind]
    before, refused = len(running.stderr()), len(running.audit("config.refused"))
    running.config.write_bytes(layout.replace("§", secret).encode())
    answers = [
        await running.admin("/-/reload", method="POST"),
        await running.admin("/-/reload?dry_run=1", method="POST"),
    ]
    assert [answer.status for answer in answers] == [422, 422]
    assert running.process is not None
    running.process.send_signal(signal.SIGHUP)
    await until(lambda: len(running.audit("config.refused")) == refused + 2)
    answers += [await running.admin(path) for path in ("/api/status", "/metrics", "/-/ready", "/api/sinks")]
    said = [answer.body.decode() for answer in answers]
    assert len(running.stderr()) > before
    assert shown(secret, layout, *said, running.stderr(), running.audit_file.read_text()) == []


@pytest.mark.parametrize(("kind", "layout"), BY_COMMAND)
async def test_no_command_shows_a_pasted_secret(kind: str, layout: str, running: Running) -> None:
    secret = SECRETS[kind]
    running.config.write_bytes(layout.replace("§", secret).encode())
    host, port = running.addresses["admin"]  # type: ignore[misc]
    for arguments in COMMANDS:
        admin = ["--admin", f"{host}:{port}"] if arguments[0] in ("reload", "backtest", "status") else []
        done = await asyncio.to_thread(gateway, *arguments, *admin, cwd=running.folder)
        assert done.status == (1 if arguments == ["status"] else 78), (arguments, done.err)
        assert "Traceback" not in done.err
        assert shown(secret, layout, done.out, done.err) == [], arguments
    assert shown(secret, layout, running.stderr(), running.audit_file.read_text()) == []


@pytest.mark.parametrize(("kind", "layout"), BY_COMMAND)
def test_the_journal_shows_no_pasted_secret(kind: str, layout: str, tmp_path: Path) -> None:
    secret = SECRETS[kind]
    (tmp_path / "gateway.toml").write_bytes(layout.replace("§", secret).encode())
    with (tmp_path / "journal").open("wb") as journal:
        state = os.fstat(journal.fileno())
        variables = environment({"JOURNAL_STREAM": f"{state.st_dev}:{state.st_ino}"})
        done = subprocess.run(command("serve"), cwd=tmp_path, env=variables, stderr=journal, check=False, timeout=60)
    said = (tmp_path / "journal").read_text()
    assert done.returncode == 78 and said.startswith("<3>") and shown(secret, layout, said) == []
