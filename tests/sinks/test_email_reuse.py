"""The `email` sink keeps its connections: the next mail goes over one that still answers, and no mail goes out twice."""

from __future__ import annotations

import asyncio
import socket
from contextlib import aclosing
from pathlib import Path

import msgspec
import pytest

from gateway.core.outcome import Delivered, Outcome, Reject, Retry
from gateway.core.values import Duration
from gateway.sinks.base import Deadline
from gateway.sinks.email.config import EmailConfig
from gateway.sinks.email.sink import EmailSink
from gateway.sinks.email.smtp import Idle
from tests.sinks.addresses import dropping, info
from tests.sinks.conftest import Certificates
from tests.sinks.mail_server import DROP, HANG, RESET, MailServer, ScriptedSmtp
from tests.sinks.sending import PATIENCE, opened, opening, outgoing, ref, send
from tests.support.waiting import until

CONFIG = EmailConfig(host="127.0.0.1", security="none", sender="gateway@example.com", recipients=["a@example.com"])
NOOP = b"250 2.0.0 still here\r\n"


def config_for(server: MailServer | ScriptedSmtp, **changed: object) -> EmailConfig:
    return msgspec.structs.replace(CONFIG, port=server.port, **changed)


async def test_mails_one_after_the_other_share_a_connection(tmp_path: Path) -> None:
    async with MailServer() as server, opened(config_for(server), tmp_path) as sink:
        for number in range(20):
            assert await send(sink, outgoing(delivery_id=f"d-{number}")) == Delivered(250)
    assert (server.sessions, len(server.mails)) == (1, 20)


async def test_a_login_is_made_once_for_all_mails(tmp_path: Path, certificates: Certificates) -> None:
    async with MailServer(starttls=certificates("good"), login=True) as server:
        config = config_for(server, security="starttls", username="gateway", password=ref("PASSWORD"))
        async with opened(config, tmp_path) as sink:
            for number in range(3):
                assert await send(sink, outgoing(delivery_id=f"d-{number}")) == Delivered(250)
    assert server.logins == [True]
    assert server.encrypted == [True] * 3


async def test_mails_at_the_same_time_have_a_connection_each_and_no_more(tmp_path: Path) -> None:
    async with MailServer() as server, opened(config_for(server, concurrency=4), tmp_path) as sink:
        for turn in range(3):
            sent = await asyncio.gather(*(send(sink, outgoing(delivery_id=f"d-{turn}-{number}")) for number in range(4)))
            assert sent == [Delivered(250)] * 4
    assert (server.sessions, len(server.mails)) == (4, 12)


async def test_the_goodbye_is_sent_when_the_sink_is_closed_and_delays_nothing(tmp_path: Path) -> None:
    async with ScriptedSmtp(QUIT=HANG) as server:
        async with opened(config_for(server), tmp_path) as sink:
            assert await send(sink) == Delivered(250)
            assert b"QUIT\r\n" not in server.lines
            async with asyncio.timeout(1):
                await sink.aclose()
                await sink.aclose()
        await until(lambda: server.lines[-1:] == [b"QUIT\r\n"])
        await asyncio.wait_for(server.gone.wait(), PATIENCE)


async def test_a_mail_that_ends_after_the_sink_was_closed_leaves_no_connection_behind(tmp_path: Path) -> None:
    async with ScriptedSmtp() as server:
        sink = EmailSink(config_for(server), opening(tmp_path))
        sending = asyncio.create_task(send(sink))
        await asyncio.wait_for(server.met.wait(), PATIENCE)
        await sink.aclose()
        assert await sending == Delivered(250)
        await asyncio.wait_for(server.gone.wait(), PATIENCE)
    assert server.lines[-1] == b"QUIT\r\n"


@pytest.mark.parametrize("how", [DROP, RESET, b"421 4.4.2 you were idle for too long\r\n", b"502 5.5.1 no such command\r\n"])
async def test_a_connection_that_no_longer_answers_is_replaced_before_anything_was_sent(how: bytes, tmp_path: Path) -> None:
    async with ScriptedSmtp(NOOP=how) as server, opened(config_for(server), tmp_path) as sink:
        assert await send(sink, outgoing(delivery_id="d-1")) == Delivered(250)
        assert await send(sink, outgoing(delivery_id="d-2")) == Delivered(250)
    assert (server.connections, len(server.mails)) == (2, 2)


@pytest.mark.parametrize("more", [b"250 taken\r\n", b"550 5.7.1 no\r\n", b"354 go on\r\n", b"2"])
@pytest.mark.parametrize("verb", ["end", "NOOP"])
async def test_an_extra_answer_never_counts_for_the_next_command(verb: str, more: bytes, tmp_path: Path) -> None:
    script = {"NOOP": NOOP, "end": b"250 2.0.0 taken\r\n"}
    async with ScriptedSmtp(**(script | {verb: script[verb] + more})) as server, opened(config_for(server), tmp_path) as sink:
        for number in range(3):
            assert await send(sink, outgoing(delivery_id=f"d-{number}")) == Delivered(250)
    assert (len(server.mails), server.connections) == (3, 3)


async def test_a_kept_connection_that_hangs_costs_seconds_and_no_attempt(tmp_path: Path) -> None:
    async with (
        ScriptedSmtp(NOOP=HANG) as server,
        aclosing(EmailSink(config_for(server), opening(tmp_path), Idle(answer=0.2))) as sink,
    ):
        assert await send(sink, outgoing(delivery_id="d-1")) == Delivered(250)
        assert await send(sink, outgoing(delivery_id="d-2")) == Delivered(250)
    assert (server.connections, len(server.mails)) == (2, 2)


async def test_a_connection_that_drops_after_the_mail_was_named_is_left_to_the_retry_of_the_lane(tmp_path: Path) -> None:
    """Nobody knows whether the server took the mail, so the sink itself does not send it a second time."""
    async with ScriptedSmtp(NOOP=NOOP, end=DROP) as server, opened(config_for(server), tmp_path) as sink:
        assert isinstance(await send(sink), Retry)
    assert (server.connections, len(server.mails)) == (1, 1)


@pytest.mark.parametrize(
    ("verb", "code", "kind"), [("MAIL", 550, Retry), ("RCPT", 550, Retry), ("end", 550, Reject), ("end", 451, Retry)]
)
async def test_a_connection_over_which_a_mail_was_refused_is_not_kept(
    verb: str, code: int, kind: type[Outcome], tmp_path: Path
) -> None:
    async with ScriptedSmtp(**{verb: b"%d no\r\n" % code}) as server, opened(config_for(server), tmp_path) as sink:
        assert isinstance(await send(sink), kind)
        await asyncio.wait_for(server.gone.wait(), PATIENCE)


async def test_an_unused_connection_is_closed_after_a_while(tmp_path: Path) -> None:
    async with ScriptedSmtp() as server:
        idle = Idle(seconds=0.05)
        sink = EmailSink(config_for(server), opening(tmp_path), idle)
        assert await send(sink) == Delivered(250)
        await asyncio.wait_for(server.gone.wait(), PATIENCE)
        assert server.lines[-1] == b"QUIT\r\n"
        assert await idle.take(Deadline(1)) is None
        await sink.aclose()


async def test_an_attempt_that_is_cut_during_noop_leaves_no_answer_for_the_next_command(tmp_path: Path) -> None:
    async with ScriptedSmtp(NOOP=HANG) as server, opened(config_for(server, timeout=Duration("5s")), tmp_path) as sink:
        assert await send(sink, outgoing(delivery_id="d-1")) == Delivered(250)
        sending = asyncio.create_task(sink.send(outgoing(delivery_id="d-2")))
        await until(lambda: server.lines[-1:] == [b"NOOP\r\n"])
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert await send(sink, outgoing(delivery_id="d-2")) == Delivered(250)
    assert (server.connections, len(server.mails)) == (2, 2)


class OneMailEach(ScriptedSmtp):
    """A host that takes no second mail in a conversation."""

    def __init__(self, no: bytes) -> None:
        super().__init__(NOOP=NOOP)  # the conversation seems good until the next mail is named
        self._no, self._yes = no, self._script["MAIL"]

    async def _say(self, verb: str, writer: asyncio.StreamWriter, reader: asyncio.StreamReader) -> None:
        self._script["MAIL"] = self._no if verb == "." else self._yes if verb == "" else self._script["MAIL"]
        await super()._say(verb, writer, reader)


@pytest.mark.parametrize("no", [b"421 4.7.0 too many mails\r\n", b"550 5.7.1 one mail per session\r\n"])
async def test_a_host_that_takes_one_mail_per_conversation_gets_a_new_conversation_for_the_next(
    no: bytes, tmp_path: Path
) -> None:
    async with OneMailEach(no) as server, opened(config_for(server), tmp_path) as sink:
        for number in range(3):
            assert await send(sink, outgoing(delivery_id=f"d-{number}")) == Delivered(250)
    assert len(server.mails) == 3


async def test_a_mail_host_whose_first_address_drops_packets_is_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = ScriptedSmtp()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await server.converse(reader, writer)
        finally:
            writer.close()

    with dropping("127.0.0.1") as port:
        listening = await asyncio.start_server(talk, "127.0.0.2", port)
        found = [info("127.0.0.1", port), info("127.0.0.2", port)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_: found)
        config = msgspec.structs.replace(CONFIG, host="mail.test", port=port, timeout=Duration("5s"))
        async with listening, opened(config, tmp_path) as sink:
            assert await send(sink) == Delivered(250)
            await sink.aclose()
            await until(lambda: server.lines[-1:] == [b"QUIT\r\n"])
    assert len(server.mails) == 1
