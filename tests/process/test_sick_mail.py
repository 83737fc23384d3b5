"""Faulty mail servers: mail is sent later, never twice and never in clear text, and no other sink is delayed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from email import message_from_bytes
from pathlib import Path
from typing import Any

from tests.sinks.mail_server import DROP, HANG, MailServer, ScriptedSmtp
from tests.support.configurations import http_sink, route
from tests.support.gateway_process import Running, no_traceback
from tests.support.receivers import Mailbox, Receiver
from tests.support.waiting import until
from tests.support.webhooks import event

PASSWORD = "password-7Kp9-never-shown"


def mail_sink(port: int, more: str = "", *, recipients: str = '["care@example.com"]') -> str:
    return (
        f'[sinks.care]\ntype = "email"\nhost = "127.0.0.1"\nport = {port}\nsender = "gateway@example.com"\n'
        f'recipients = {recipients}\nretry = ["0s", "100ms", "100ms"]\n{more}\n'
    )


CLEAR = 'security = "none"'


def story(running: Running, message_id: str) -> list[tuple[Any, ...]]:
    lines = running.audit(message_id=message_id, sink="care")
    return [
        (line["event"].removeprefix("delivery."), line.get("attempt"), line.get("status"), line.get("reason")) for line in lines
    ]


async def delivered(running: Running, body: bytes) -> str:
    """Post a message and wait until its mail was taken; its id."""
    message_id = str((await running.post(body)).json()["id"])
    await until(lambda: running.audit("delivery.delivered", message_id=message_id, sink="care"))
    return message_id


def message_id_of(mail: bytes) -> str:
    return str(message_from_bytes(mail.removesuffix(b".\r\n"))["Message-ID"])


class Greylisting(MailServer):
    """Refuses the first recipient that is named."""

    def __init__(self) -> None:
        super().__init__()
        self.sent_away = 0

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if not self.sent_away:
            self.sent_away += 1
            return "451 4.7.1 greylisted, come back later"
        return await super().handle_RCPT(server, session, envelope, address, options)


async def test_a_server_that_greylists_gets_the_mail_at_the_second_attempt(tmp_path: Path) -> None:
    async with Greylisting() as server:
        with Running(tmp_path, mail_sink(server.port, CLEAR) + route("care")) as running, no_traceback(running):
            message_id = await delivered(running, event())
            assert story(running, message_id) == [("retrying", 1, 451, "smtp_status"), ("delivered", 2, 250, None)]
            assert (server.sent_away, len(server.mails)) == (1, 1)


async def test_a_refused_recipient_causes_no_second_mail_to_the_other(tmp_path: Path) -> None:
    async with MailServer() as server:
        server.refuse = {"gone@example.com": "550 5.1.1 no such user"}
        toml = mail_sink(server.port, CLEAR, recipients='["care@example.com", "gone@example.com"]') + route("care")
        with Running(tmp_path, toml) as running, no_traceback(running):
            first = await delivered(running, event())
            # A retry of the first would be due long before the second and the third have been delivered.
            for _ in range(3):
                await delivered(running, event())
            assert story(running, first) == [("delivered", 1, 250, None)]
            (line,) = running.audit("delivery.delivered", message_id=first)
            assert line["detail"] == f"127.0.0.1:{server.port} refused 1 of 2 recipients: gone@example.com (SMTP 550)"
            assert server.envelopes == [("gateway@example.com", ["care@example.com"])] * 4
            assert len({message_id_of(mail) for mail in server.mails}) == 4


async def test_a_recipient_refused_for_now_gets_the_mail_later_and_the_other_gets_no_second_one(tmp_path: Path) -> None:
    async with MailServer() as server:
        server.refuse = {"full@example.com": "452 4.2.2 mailbox full"}
        more = f'{CLEAR}\nbreaker = {{ failures = 1000, probe = "1s" }}'
        toml = mail_sink(server.port, more, recipients='["care@example.com", "full@example.com"]')
        toml = toml.replace('["0s", "100ms", "100ms"]', json.dumps(["0s", *["100ms"] * 100]))
        with Running(tmp_path, toml + route("care")) as running, no_traceback(running):
            message_id = str((await running.post(event())).json()["id"])
            await until(lambda: len(running.audit("delivery.retrying", message_id=message_id)) >= 3)
            server.refuse = {}
            await until(lambda: running.audit("delivery.delivered", message_id=message_id))
            assert server.envelopes == [
                ("gateway@example.com", ["care@example.com"]),
                ("gateway@example.com", ["full@example.com"]),
            ]
            *retried, (what, attempt, status, reason) = story(running, message_id)
            assert retried == [("retrying", at, 452, "smtp_status") for at in range(1, attempt)]
            assert (what, status, reason) == ("delivered", 250, None)
            detail = f"127.0.0.1:{server.port} refused 1 of 2 recipients: full@example.com (SMTP 452)"
            assert {line["detail"] for line in running.audit("delivery.retrying", message_id=message_id)} == {detail}
            first, second = server.mails
            assert message_id_of(first) == message_id_of(second) != "None"


async def test_a_mail_server_that_never_says_goodbye_gets_each_mail_once(tmp_path: Path) -> None:
    async with ScriptedSmtp(QUIT=HANG) as server:
        toml = mail_sink(server.port, f'{CLEAR}\ntimeout = "1s"') + route("care")
        with Running(tmp_path, toml) as running, no_traceback(running):
            message_id = await delivered(running, event())
            assert story(running, message_id) == [("delivered", 1, 250, None)]
            assert len(server.mails) == 1


class DropsOnce(ScriptedSmtp):
    """Drops the connection after the data of the first mail, and never says whether it took the mail."""

    async def _say(self, verb: str, writer: asyncio.StreamWriter, reader: asyncio.StreamReader) -> None:
        if verb == ".":
            self._script["."] = DROP if len(self.mails) == 1 else b"250 2.0.0 taken\r\n"
        await super()._say(verb, writer, reader)


async def test_a_server_that_drops_the_connection_in_the_data_is_sent_the_same_mail_again(tmp_path: Path) -> None:
    async with DropsOnce() as server:
        with Running(tmp_path, mail_sink(server.port, CLEAR) + route("care")) as running, no_traceback(running):
            message_id = await delivered(running, event())
            assert story(running, message_id) == [("retrying", 1, None, "reset"), ("delivered", 2, 250, None)]
            first, second = server.mails
            assert message_id_of(first) == message_id_of(second) != "None"  # so that the reader's client can tell


async def test_nothing_is_sent_in_clear_if_the_server_does_not_offer_starttls(tmp_path: Path) -> None:
    async with ScriptedSmtp(EHLO=b"250-mail.test\r\n250-AUTH PLAIN LOGIN\r\n250 8BITMIME\r\n") as server:
        toml = mail_sink(server.port, 'username = "gateway"\npassword = { env = "MAIL" }') + route("care")
        with Running(tmp_path, toml, {"MAIL": PASSWORD}) as running, no_traceback(running):
            message_id = (await running.post(event("sr-in-clear"))).json()["id"]
            await until(lambda: running.audit("sink.opened", sink="care"))
            assert story(running, message_id) == [("retrying", 1, None, "tls")], "every mail would meet it: the rest waits"
            assert server.connections == 1 and not server.mails
            assert {line.split()[0].upper() for line in server.lines} <= {b"EHLO", b"STARTTLS", b"QUIT"}
            assert b"sr-in-clear" not in b"".join(server.lines)
            assert PASSWORD not in running.stderr() + running.audit_file.read_text()


async def test_a_mail_server_that_is_down_delays_no_other_sink_and_gets_all_its_mails_later(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    port = free_port()
    with Receiver() as well:
        more = f'{CLEAR}\nconcurrency = 1\nbreaker = {{ failures = 2, probe = "200ms" }}'
        toml = mail_sink(port, more) + http_sink(well, "well") + route("care", "well")
        with Running(tmp_path, toml) as running, no_traceback(running):
            answers = [await running.post(event()) for _ in range(20)]
            assert {answer.outcome for answer in answers} == {(200, "accepted")}
            await until(lambda: len(running.audit("delivery.delivered", sink="well")) == 20)
            await until(lambda: running.audit("sink.opened", sink="care"))
            failed = running.audit("delivery.retrying", sink="care")
            assert {(line["reason"], line.get("status")) for line in failed} == {("connect", None)}
            assert running.rows("SELECT count(*), sum(retries) FROM deliveries WHERE sink = 'care'") == [(20, 2)]
            with Mailbox(port) as mailbox:
                await until(lambda: len(running.audit("delivery.delivered", sink="care")) == 20)
                assert len({mail["Message-ID"] for mail in mailbox.mails}) == len(mailbox.mails) == 20
            assert not running.audit("delivery.dead")
            assert len(running.audit("sink.opened")) == len(running.audit("sink.closed")) == 1
