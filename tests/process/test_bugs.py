"""A bug in any layer, with a secret in a local variable: the traceback is logged, and the secret is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.host.line_writer import LineWriter
from gateway.observability.logs import set_up_logging
from tests.cli.running import TIMEOUT, environment
from tests.leaks.search import forms
from tests.support.configurations import http_sink, route
from tests.support.gateway_process import Running
from tests.support.receivers import Mailbox, Receiver
from tests.support.waiting import until
from tests.support.webhooks import SECRET, event

PASSWORD = "password-6Wq9-never-shown"
HOOK = "/services/T0/B0/hook-6Wq9-never-shown"
ADMIN = "admin-6Wq9-never-shown"
PLANT = """
import os, sys
from gateway.cli import main
def planted(*args, **options):
    secrets = [value for value in os.environ.values() if "never-shown" in value or "whsec_" in value]
    arguments = (args, options)
    raise RuntimeError("planted")
async def planted_task(*args, **options):
    planted(*args, **options)
def after(times, function):
    def counting(*args, **options):
        nonlocal times
        times -= 1
        return function(*args, **options) if times >= 0 else planted(*args, **options)
    return counting
{}
main()
"""


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def mailbox(free_port: Callable[[], int]) -> Iterator[Mailbox]:
    with Mailbox(free_port(), logins=True) as mailbox:
        yield mailbox


def configured(folder: Path, receiver: Receiver, mailbox: Mailbox, plant: str = "", **more: str) -> Running:
    toml = f"""
[admin]
listen = ["127.0.0.1:0"]
token = {{ env = "ADMIN_TOKEN" }}

[sinks.fraud_desk]
type = "slack"
webhook_url = {{ env = "SLACK" }}
retry = ["0s"]

[sinks.care]
type = "email"
host = "127.0.0.1"
port = {mailbox.port}
security = "none"
username = "gateway"
password = {{ env = "MAIL" }}
sender = "gateway@example.com"
recipients = ["care@example.com"]
retry = ["0s"]
"""
    keys = 'secret = { env = "LEGITMARK" }\nbasic = { username = "gateway", password = { env = "MAIL" } }\nretry = ["0s"]'
    toml += http_sink(receiver, more=keys) + route("erp", "fraud_desk", "care")
    running = Running(folder, toml, {"SLACK": receiver.url(HOOK), "MAIL": PASSWORD, "ADMIN_TOKEN": ADMIN, **more})
    if plant:
        running.program = [sys.executable, "-c", PLANT.format(plant)]
    return running


def assert_no_secret(said: str | bytes) -> None:
    said = said if isinstance(said, bytes) else said.encode()
    for secret in (SECRET, PASSWORD, HOOK, ADMIN):
        assert not any(form in said for form in forms(secret)), said.decode()


@pytest.mark.parametrize(
    ("plant", "told"),
    [
        ("from gateway.core.signature import Key; Key.signature = planted", "ingress.bug"),
        ("from gateway.ingest.receive import Intake; Intake.submit = planted", "ingress.bug"),
        ("from gateway.observability.metrics import Metrics; Metrics.message = planted", "ingress.bug"),
        ("from gateway.sinks.net.http_client import Transport; Transport.request = planted_task", "delivery.bug"),
        ("from gateway.sinks.net.http_connection import SinkConnection; SinkConnection.exchange = planted_task", "delivery.bug"),
        ("from gateway.sinks.email.sink import EmailSink; EmailSink.converse = planted_task", "delivery.bug"),
        ("import aiosmtplib; aiosmtplib.SMTP.connect = planted_task", "delivery.bug"),
    ],
)
async def test_a_bug_in_any_step_of_a_message_shows_no_secret(
    plant: str, told: str, receiver: Receiver, mailbox: Mailbox, tmp_path: Path
) -> None:
    with configured(tmp_path, receiver, mailbox, plant) as running:
        answer = await running.post(event())
        await until(lambda: told in running.stderr() and "planted" in running.stderr())
        assert "Traceback" in running.stderr()
        if told == "delivery.bug":
            await until(lambda: running.audit("delivery.dead", reason="attempts_exhausted"))
    assert_no_secret(running.stderr() + running.audit_file.read_text() + str(answer))
    assert_no_secret(running.database.read_bytes())


async def test_a_bug_of_a_reload_shows_no_secret(receiver: Receiver, mailbox: Mailbox, tmp_path: Path) -> None:
    plant = "from gateway.config import checks; checks.check_secrets = after(1, checks.check_secrets)"
    with configured(tmp_path, receiver, mailbox, plant) as running:
        answer = await running.admin("/-/reload", [("Authorization", f"Bearer {ADMIN}")], method="POST")
        assert answer.status == 422
        assert "reload.bug" in running.stderr() and "planted" in running.stderr()
    assert_no_secret(running.stderr() + running.audit_file.read_text() + str(answer))


async def test_a_bug_of_the_admin_listener_shows_no_secret(receiver: Receiver, mailbox: Mailbox, tmp_path: Path) -> None:
    plant = "from gateway.web.admin import listener; listener.scraped = planted_task"
    with configured(tmp_path, receiver, mailbox, plant) as running:
        answer = await running.admin("/metrics", [("Authorization", f"Bearer {ADMIN}")])
        assert answer.status == 503
        await until(lambda: "RuntimeError" in running.stderr())
    assert_no_secret(running.stderr() + str(answer))


@pytest.mark.parametrize(
    "plant",
    [
        "import gateway.app.serving as serving; serving.sources_of = planted",
        "from gateway.config import checks; checks.check_secrets = planted",
        "from gateway.maintenance.janitor import Janitor; Janitor.run = planted_task",
        "from gateway.sinks.http.sink import HttpSink; HttpSink.__init__ = planted",
    ],
)
async def test_a_bug_at_the_start_ends_the_gateway_with_70_and_a_traceback_without_secrets(
    plant: str, receiver: Receiver, mailbox: Mailbox, tmp_path: Path
) -> None:
    running = configured(tmp_path, receiver, mailbox, plant)
    running.launch()  # a task that dies at once may do so right after the gateway is ready
    assert await running.exit_code() == 70
    assert "RuntimeError: planted" in running.stderr() and "this is a bug in the gateway" in running.stderr()
    assert_no_secret(running.stderr())


def test_a_bug_of_a_command_shows_no_secret(receiver: Receiver, mailbox: Mailbox, tmp_path: Path) -> None:
    running = configured(tmp_path, receiver, mailbox)
    plant = PLANT.format("import gateway.core.signature as signature; signature.sign = planted")
    command = [sys.executable, "-c", plant, "send", "counterfeit"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment(running.secrets), capture_output=True, timeout=TIMEOUT, check=False
    )
    assert done.returncode == 70
    assert b"RuntimeError: planted" in done.stderr
    assert_no_secret(done.stdout + done.stderr)


@pytest.mark.parametrize("terminal", [True, False])
def test_no_renderer_of_the_log_shows_a_local_variable(terminal: bool, tmp_path: Path) -> None:
    stream = (tmp_path / "stderr").open("w")
    stream.isatty = lambda: terminal  # type: ignore[method-assign]
    writer = LineWriter(stream)
    log = set_up_logging(writer)
    try:
        secret, nested = PASSWORD, [PASSWORD]
        raise RuntimeError("planted")
    except RuntimeError:
        log.exception("some.bug")
    writer.close()
    stream.close()
    said = (tmp_path / "stderr").read_text()
    assert "planted" in said and secret in nested
    assert_no_secret(said)


async def test_the_development_mode_and_a_crash_in_c_show_no_secret(receiver: Receiver, mailbox: Mailbox, tmp_path: Path) -> None:
    """It warns of unclosed resources, slow callbacks with their arguments and unretrieved errors; faulthandler prints stacks."""
    receiver.script.extend([(500, {}), (403, {})])
    with configured(tmp_path, receiver, mailbox, PYTHONDEVMODE="1", PYTHONASYNCIODEBUG="1") as running:
        receiver.hold()
        for _ in range(3):
            assert (await running.post(event())).status == 200
        receiver.release()
        await until(lambda: len(running.audit("delivery.delivered")) + len(running.audit("delivery.dead")) == 9)
        receiver.hold()
        assert (await running.post(event())).status == 200
        assert running.process is not None
        os.kill(running.process.pid, signal.SIGABRT)
        await running.exit_code()
        receiver.release()
    assert "Fatal Python error: Aborted" in running.stderr()
    assert_no_secret(running.stderr())
