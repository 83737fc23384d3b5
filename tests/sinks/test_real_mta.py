"""The `email` sink against a mail server that many run: Exim, with STARTTLS and login. Debian has it as exim4-daemon-light."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default as email_policy
from pathlib import Path

import msgspec
import pytest
import trustme

from gateway.core.outcome import Delivered, Reason, Retry
from gateway.sinks.base import Locale
from gateway.sinks.email.config import EmailConfig
from gateway.sinks.email.mail import render, template_of
from tests.sinks.left_behind import descriptors
from tests.sinks.mail_server import parsed
from tests.sinks.sending import PATIENCE, SECRETS, opened, outgoing, ref, send
from tests.support.waiting import until

EXIM = shutil.which("exim4", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
CONFIG = """
keep_environment =
primary_hostname = mail.test
spool_directory = {folder}/spool
log_file_path = {folder}/log/%slog
pid_file_path = {folder}/log/exim.pid
never_users =
log_selector = +smtp_connection
deliver_drop_privilege = true
rfc1413_query_timeout = 0s
tls_advertise_hosts = *
tls_certificate = {folder}/certificate.pem
tls_privatekey = {folder}/key.pem
acl_smtp_rcpt = recipient
acl_smtp_data = accept

begin acl
recipient:
  deny !authenticated = *
  deny local_parts = refused
       message = nobody of that name
  defer local_parts = busy
  accept

begin routers
everybody:
  driver = accept
  transport = folder

begin transports
folder:
  driver = appendfile
  directory = {folder}/mail
  maildir_format
  envelope_to_add
  return_path_add

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_advertise_condition = ${{if def:tls_in_cipher}}
  server_prompts = :
  server_condition = ${{if and {{{{eq{{$auth2}}{{gateway}}}}{{eq{{$auth3}}{{{password}}}}}}}}}
  server_set_id = $auth2
"""


class Exim:
    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port

    @property
    def mails(self) -> list[EmailMessage]:
        """The mails in the order in which they came."""
        files = sorted((self.folder / "mail" / "new").glob("*"), key=lambda path: path.stat().st_mtime_ns)
        return [BytesParser(policy=email_policy).parsebytes(path.read_bytes()) for path in files]

    @property
    def log(self) -> str:
        return (self.folder / "log" / "mainlog").read_text(encoding="utf-8")

    def to(self, recipient: str) -> list[EmailMessage]:
        return [mail for mail in self.mails if recipient in str(mail["Envelope-To"])]


@pytest.fixture
def exim(
    authorities: tuple[trustme.CA, trustme.CA], monkeypatch: pytest.MonkeyPatch, free_port: Callable[[], int]
) -> Iterator[Exim]:
    if EXIM is None:
        pytest.skip("there is no Exim here: on Debian, apt install exim4-daemon-light")
    if os.getuid() != 0:
        pytest.skip("Exim, as Debian builds it, listens for root alone")
    # Not below the folder of pytest, which is closed to the user that Exim becomes.
    with tempfile.TemporaryDirectory(prefix="exim") as name:
        folder, port = Path(name), free_port()
        folder.chmod(0o755)
        trusted, _ = authorities
        authority = folder / "authority.pem"
        trusted.cert_pem.write_to_path(str(authority))
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        issued = trusted.issue_cert("localhost", "127.0.0.1")
        (folder / "certificate.pem").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(str(folder / "key.pem"))
        (folder / "exim.conf").write_text(CONFIG.format(folder=folder, password=SECRETS["PASSWORD"]), encoding="utf-8")
        for inner in ("mail", "spool", "log"):
            (folder / inner).mkdir()
        with suppress(KeyError):
            user = pwd.getpwnam("Debian-exim")  # whom it becomes
            for inner in ("mail", "spool", "log", "key.pem"):
                os.chown(folder / inner, user.pw_uid, user.pw_gid)
        command = [EXIM, "-C", str(folder / "exim.conf"), "-bdf", "-odf", "-oX", f"127.0.0.1.{port}"]
        with (folder / "said").open("wb") as said:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        try:
            await_listening(port, process, folder / "said")
            yield Exim(folder, port)
        finally:
            process.terminate()
            process.wait(10)


@pytest.fixture(autouse=True)
async def nothing_is_left_open(exim: Exim) -> AsyncIterator[None]:
    before = descriptors()  # what the fixture `exim` needs is open
    yield
    await until(lambda: descriptors() <= before, PATIENCE)


def await_listening(port: int, process: subprocess.Popen[bytes], said: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise AssertionError(f"Exim does not listen: {said.read_text(encoding='utf-8')}")


def config_for(exim: Exim, *recipients: str, locale: Locale = "en") -> EmailConfig:
    return EmailConfig(
        host="127.0.0.1",
        port=exim.port,
        security="starttls",
        username="gateway",
        password=ref("PASSWORD"),
        sender="Legitmark gateway <gateway@example.com>",
        recipients=list(recipients),
        locale=locale,
    )


@pytest.mark.parametrize("locale", ["en", "ja"])
async def test_a_mail_arrives_as_it_was_written(locale: Locale, exim: Exim, tmp_path: Path) -> None:
    config = config_for(exim, "care@example.com", "desk@example.com", locale=locale)
    async with opened(config, tmp_path) as sink:
        assert await send(sink) == Delivered(250)
    await until(lambda: exim.mails, PATIENCE)
    mail = exim.mails[0]
    written = parsed(render(outgoing(), config, template_of(config)).raw)
    assert not mail.defects
    for header in written.keys():  # noqa: SIM118 (of a mail, not of a dict)
        assert mail[header] == written[header], header
    for kind in ("plain", "html"):
        ours, theirs = written.get_body((kind,)), mail.get_body((kind,))
        assert ours is not None and theirs is not None
        assert theirs.get_content() == ours.get_content()
    assert "esmtpsa" in str(mail["Received"]), "under TLS, and logged in"
    assert mail["Return-Path"] == "<gateway@example.com>"


async def test_a_refused_recipient_is_named_and_the_other_has_the_mail(exim: Exim, tmp_path: Path) -> None:
    async with opened(config_for(exim, "care@example.com", "refused@example.com"), tmp_path) as sink:
        outcome = await send(sink)
    assert isinstance(outcome, Delivered)
    assert "refused@example.com (SMTP 550)" in outcome.detail
    await until(lambda: exim.to("care@example.com"), PATIENCE)


async def test_a_mail_whose_recipients_are_all_refused_opens_the_breaker(exim: Exim, tmp_path: Path) -> None:
    async with opened(config_for(exim, "refused@example.com"), tmp_path) as sink:
        outcome = await send(sink)
    assert isinstance(outcome, Retry) and outcome.sink_wide
    assert (outcome.reason, outcome.status) == (Reason.SMTP_STATUS, 550)
    assert "nobody of that name" not in outcome.detail


async def test_a_busy_recipient_is_tried_again_and_one_who_has_the_mail_is_not(exim: Exim, tmp_path: Path) -> None:
    async with opened(config_for(exim, "care@example.com", "busy@example.com"), tmp_path) as sink:
        for number in (1, 2):
            outcome = await send(sink, outgoing(attempt=number))
            assert isinstance(outcome, Retry)
            assert (outcome.reason, outcome.status) == (Reason.SMTP_STATUS, 451)
    await until(lambda: exim.to("care@example.com"), PATIENCE)
    assert exim.log.count(" <= gateway@example.com") == 1


async def test_a_wrong_password_is_a_retry_that_does_not_tell_it(exim: Exim, tmp_path: Path) -> None:
    async with opened(config_for(exim, "care@example.com"), tmp_path, PASSWORD="wrong-6Yt1-never-shown") as sink:
        outcome = await send(sink)
    assert isinstance(outcome, Retry)
    assert (outcome.reason, outcome.status) == (Reason.SMTP_STATUS, 535)
    assert "wrong-6Yt1" not in repr(outcome)


async def test_mails_one_after_the_other_go_over_one_connection(exim: Exim, tmp_path: Path) -> None:
    def connections() -> int:
        return exim.log.count("TCP/IP connection count")

    await until(lambda: connections() == 1, PATIENCE)  # the one that saw whether it listens
    async with opened(config_for(exim, "care@example.com"), tmp_path) as sink:
        for number in range(3):
            delivery = msgspec.structs.replace(outgoing(), delivery_id=f"d{number}-care")
            assert await send(sink, delivery) == Delivered(250)
    await until(lambda: len(exim.mails) == 3, PATIENCE)
    assert connections() == 2
    assert len({mail["Message-ID"] for mail in exim.mails}) == 3
