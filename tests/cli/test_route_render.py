"""`gateway route --render SINK` prints exactly the bytes that the sink would get. It sends nothing, and reads no secret."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import re
import socket
from email import message_from_bytes, policy
from pathlib import Path

import pytest

from gateway.sinks import type_of
from gateway.sinks.email.config import EmailConfig
from gateway.sinks.http.config import Basic, HttpConfig
from gateway.sinks.jsonl.config import JsonlConfig
from gateway.sinks.slack.config import SlackConfig
from tests.cli.running import Result, gateway
from tests.cli.terminal import shown
from tests.fakes import START
from tests.sinks.http_server import answer
from tests.sinks.mail_server import MailServer
from tests.sinks.sending import SECRETS, opened, outgoing, ref, send
from tests.sinks.tcp_server import Server
from tests.support.webhooks import PAYLOADS

SINKS = """
[sinks.erp]
type = "http"
on_stale = "annotate"
url = "http://127.0.0.1:{port}/hooks/%E5%88%A4%E5%AE%9A?shop=%E6%9D%B1%E4%BA%AC"
secret = {{ env = "NOT_SET_1" }}
bearer = {{ file = "not-there" }}
headers = {{ "x-tenant" = "acme", "x-key" = {{ credential = "none" }} }}

[sinks.plain]
type = "http"
on_stale = "annotate"
url = "http://127.0.0.1:{port}/"

[sinks.desk]
type = "slack"
webhook_url = {{ env = "NOT_SET_2" }}

[sinks.care]
type = "email"
host = "127.0.0.1"
port = {port}
username = "gateway"
password = {{ env = "NOT_SET_3" }}
sender = "Legitmark gateway <gateway@example.com>"
recipients = ["care@example.com", "二 <two@example.com>"]
"""
JAPANESE = PAYLOADS / "media_rejected.ja.json"


@pytest.fixture
def sinks(folder: Path) -> Path:
    """A configuration with a sink of each type, at addresses where no server listens."""
    text = (folder / "gateway.toml").read_text()
    (folder / "gateway.toml").write_text(text + SINKS.format(port=9), encoding="utf-8")
    return folder


def render(sink: str, folder: Path, event: str | Path = "counterfeit", *more: str) -> Result:
    return gateway("route", event, "--render", sink, *more, cwd=folder)


# What is printed is what is sent: each sink, opened as the gateway does, against a real receiver.


class Recorder:
    """An HTTP server that keeps requests as they came over the wire."""

    def __init__(self) -> None:
        self.server = Server(self._converse)
        self.raw = b""

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: *(\d+)", head)
        assert length is not None
        self.raw = head + await reader.readexactly(int(length[1]))
        writer.write(answer())
        await writer.drain()


def hidden(raw: bytes) -> bytes:
    """Return a request with stars for its secrets and signatures, as a rendering shows it."""
    for name in ("BEARER", "TENANT"):
        raw = raw.replace(SECRETS[name].encode(), b"***")
    raw = raw.replace(base64.b64encode(f"gateway:{SECRETS['PASSWORD']}".encode()), b"***")
    return re.sub(rb"(?<=[ ])v1,[A-Za-z0-9+/=]+", b"***", raw)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"secret": ref("SIGNING")},
        {"secret": ref("SIGNING"), "bearer": ref("BEARER"), "headers": {"x-tenant": ref("TENANT"), "X-Shop": "a"}},
        {"headers": {"user-agent": "shop/1", "accept": "application/json"}},
        {"format": "envelope", "method": "PUT", "secret": [ref("SIGNING"), ref("SIGNING")]},
        {"format": "cloudevents", "method": "PATCH", "basic": Basic(username="gateway", password=ref("PASSWORD"))},
    ],
    ids=["plain", "signed", "signed, with a token and headers", "with headers in place of ours", "envelope", "cloudevents"],
)
@pytest.mark.parametrize("path", ["", "/", "/hook", "/%E5%88%a4?sp=%2Ftriggers&sig=a%2Bb&x=a%20b"])
async def test_the_request_is_the_one_on_the_wire(more: dict[str, object], path: str, tmp_path: Path) -> None:
    recorder = Recorder()
    async with recorder.server as server:
        config = HttpConfig(url=f"http://127.0.0.1:{server.port}{path}", **more)  # type: ignore[arg-type]
        async with opened(config, tmp_path) as sink:
            await send(sink)
    assert type_of(config).preview(config, outgoing(), START) == hidden(recorder.raw)


async def test_the_slack_message_is_the_body_on_the_wire(tmp_path: Path) -> None:
    recorder = Recorder()
    delivery = outgoing(JAPANESE.read_bytes())
    config = SlackConfig(webhook_url=ref("HOOK"))
    async with recorder.server as server, opened(config, tmp_path, HOOK=f"{server.url}/T0/B0/x?y=1") as sink:
        await send(sink, delivery)
    assert type_of(config).preview(config, delivery, START) == recorder.raw.partition(b"\r\n\r\n")[2]


async def test_the_mail_is_the_one_that_the_server_gets(tmp_path: Path) -> None:
    async with MailServer() as server:
        config = EmailConfig(
            host="127.0.0.1",
            port=server.port,
            security="none",
            sender="Gateway <gateway@example.com>",
            recipients=["care@example.com"],
        )
        delivery = outgoing(JAPANESE.read_bytes())
        async with opened(config, tmp_path) as sink:
            await send(sink, delivery)
    assert [type_of(config).preview(config, delivery, START)] == server.mails


async def test_the_line_is_the_one_in_the_file(tmp_path: Path) -> None:
    config = JsonlConfig(path="events.jsonl")
    delivery = outgoing(JAPANESE.read_bytes())
    async with opened(config, tmp_path) as sink:
        await send(sink, delivery)
    assert type_of(config).preview(config, delivery, START) == (tmp_path / "events.jsonl").read_bytes()


# The command.


def test_an_http_sink_shows_its_request_with_stars_for_secrets_and_the_body_byte_for_byte(sinks: Path) -> None:
    result = render("erp", sinks, JAPANESE)
    head, _, body = result.out.partition("\r\n\r\n")
    assert (result.status, body) == (0, JAPANESE.read_text())
    line, *fields = head.split("\r\n")
    headers = dict(field.split(": ", 1) for field in fields)
    assert line == "POST /hooks/%E5%88%A4%E5%AE%9A?shop=%E6%9D%B1%E4%BA%AC HTTP/1.1"
    assert headers["Host"] == "127.0.0.1:9"
    assert headers["webhook-signature"] == headers["x-key"] == "***"
    assert headers["authorization"] == "Bearer ***"
    assert headers["x-tenant"] == "acme"
    assert headers["webhook-timestamp"].isdigit()
    assert re.fullmatch(r"[0-9a-f]{32}-erp", headers["webhook-id"])
    assert headers["idempotency-key"] == headers["webhook-id"] == f"{headers['x-gateway-message-id']}-erp"
    assert headers["x-gateway-milestone"] == "needs_resubmission"
    assert headers["Content-Length"] == str(len(JAPANESE.read_bytes()))


def test_a_request_without_a_secret_has_no_signature(sinks: Path) -> None:
    out = render("plain", sinks).out
    assert "webhook-id: " in out and "***" not in out
    assert "webhook-signature" not in out and "webhook-timestamp" not in out and "authorization" not in out


def test_a_slack_sink_shows_its_json(sinks: Path) -> None:
    document = json.loads(render("desk", sinks, JAPANESE).out)
    assert document["unfurl_links"] is False
    assert "ピント" in document["text"] or "photos" in document["text"]


def test_an_email_sink_shows_its_mail(sinks: Path) -> None:
    mail = message_from_bytes(render("care", sinks, JAPANESE).out.encode(), policy=policy.default)
    assert mail["To"] == "care@example.com, 二 <two@example.com>"
    assert mail["Subject"] == "Legitmark: バッグ-0042 (c3a8e0f4)"
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
    body = mail.get_body(("plain",))
    assert body is not None and "New photos are needed" in body.get_content()


def test_a_jsonl_sink_shows_its_line(sinks: Path) -> None:
    out = render("archive", sinks, JAPANESE).out
    assert out.count("\n") == 1
    line = json.loads(out)
    assert (line["v"], line["source"], line["body"]) == (1, "legitmark", json.loads(JAPANESE.read_bytes()))


@pytest.mark.parametrize("sink", ["erp", "desk", "care", "archive"])
def test_nothing_is_sent_nor_written(sink: str, folder: Path) -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listening:
        listening.settimeout(0)
        text = (folder / "gateway.toml").read_text() + SINKS.format(port=listening.getsockname()[1])
        (folder / "gateway.toml").write_text(text, encoding="utf-8")
        before = sorted(folder.iterdir())
        assert render(sink, folder).status == 0
        with pytest.raises(BlockingIOError):
            listening.accept()
    assert sorted(folder.iterdir()) == before


def test_it_says_so_if_the_routes_do_not_send_the_event_to_this_sink(sinks: Path) -> None:
    assert 'does not go to "erp"' in render("erp", sinks).err
    assert "does not go" not in render("archive", sinks).err


def test_set_and_expect_work_with_render_too(sinks: Path) -> None:
    result = render("archive", sinks, "authentic", "--set", "reference_id=BAG-バッグ", "--expect", "archive")
    assert (result.status, json.loads(result.out)["reference_id"]) == (0, "BAG-バッグ")
    differs = render("archive", sinks, "authentic", "--expect", "archive")
    assert (differs.status, json.loads(differs.out)["milestone"]) == (1, "authentic")
    assert "archive is missing" in differs.err


def test_an_unknown_sink_is_a_usage_error_with_a_suggestion(sinks: Path) -> None:
    result = render("archiv", sinks)
    assert (result.status, result.out) == (2, "")
    assert 'did you mean "archive"?' in result.err


def test_render_and_json_can_not_be_combined(sinks: Path) -> None:
    result = render("archive", sinks, "counterfeit", "--json")
    assert (result.status, result.out) == (2, "")


def test_the_text_of_an_event_can_not_draw_on_the_terminal(sinks: Path) -> None:
    hostile = {"event_type": "a", "reference_id": "\x9b31m \u202egnp.exe", "more": "日本"}
    (sinks / "event.json").write_text(json.dumps(hostile, ensure_ascii=False), encoding="utf-8")
    for sink in ("archive", "erp", "desk"):
        seen = shown("route", "event.json", "--render", sink, cwd=sinks)
        assert [line for line in seen.replace("\r\n", "\n").split("\n") if not line.isprintable()] == []
        assert "gnp.exe" in seen
    assert "\x9b" in render("archive", sinks, "event.json").out, "a pipe gets the bytes"


# A message that tells both events of a rejection.


@pytest.mark.parametrize("order", [("qc_rejected", "needs_resubmission"), ("needs_resubmission", "qc_rejected")])
def test_a_message_that_tells_two_events_is_rendered_too(order: tuple[str, str], sinks: Path) -> None:
    result = render("care", sinks, order[0], "--partner", order[1])
    mail = message_from_bytes(result.out.encode(), policy=policy.default)
    text = mail.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    assert "Photos failed the quality review, new ones are needed" in text and "Out of focus" in text


@pytest.mark.parametrize(
    ("sink", "event", "partner", "said"),
    [
        ("plain", "qc_rejected", "needs_resubmission", '"plain" tells each event alone: only slack and email sinks join two'),
        ("care", "qc_rejected", "authentic", "a message tells two events only of a rejection"),
        ("care", "qc_rejected", "qc_rejected", "a message tells two events only of a rejection"),
    ],
)
def test_two_events_that_are_never_joined_are_a_usage_error(sink: str, event: str, partner: str, said: str, sinks: Path) -> None:
    result = render(sink, sinks, event, "--partner", partner)
    assert result.status == 2 and said in result.err


def test_two_events_of_different_service_requests_are_a_usage_error(sinks: Path) -> None:
    result = render("care", sinks, "qc_rejected", "--set", "sr_uuid=another", "--partner", "needs_resubmission")
    assert result.status == 2 and "of different service requests" in result.err


def test_a_partner_without_a_rendering_is_a_usage_error(sinks: Path) -> None:
    result = gateway("route", "qc_rejected", "--partner", "needs_resubmission", cwd=sinks)
    assert (result.status, result.err) == (
        2,
        "gateway: error: --partner needs --render: it shows the message that tells both events\n",
    )
