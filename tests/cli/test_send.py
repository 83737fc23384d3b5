"""`gateway send` signs as Legitmark does, and posts to the first source of the configuration."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme
from msgspec import Struct
from standardwebhooks import Webhook

from gateway.core.samples import SAMPLES
from tests.cli.running import CONFIG, gateway
from tests.support.webhooks import PAYLOADS, SECRET

COUNTERFEIT = PAYLOADS / "state_change.complete_rejected.json"


class Received(Struct, frozen=True):
    path: str
    headers: dict[str, str]
    body: bytes


class Receiver:
    """A server in the gateway's place: keeps each request, and answers with `status`."""

    def __init__(self) -> None:
        self.status = 200
        self.answer = b'{"status": "accepted", "id": "0"}'
        self.received: list[Received] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.received.append(Received(self.path, headers, body))
                self.send_response(receiver.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(receiver.answer)))
                self.end_headers()
                self.wfile.write(receiver.answer)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def speak_tls(self, certificate: trustme.LeafCert) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]  # handshakes fail on purpose

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def running(tmp_path: Path, receiver: Receiver) -> Path:
    """A receiver, and a folder whose configuration names it as the gateway."""
    (tmp_path / "gateway.toml").write_text(CONFIG.format(port=receiver.port))
    return tmp_path


def test_it_ends_with_69_and_says_what_to_do_if_no_gateway_answers(folder: Path) -> None:
    result = gateway("send", "authentic", cwd=folder)
    assert (result.status, result.out) == (69, "")
    assert "no gateway answers at 127.0.0.1:" in result.err
    assert "gateway serve" in result.err
    assert "Traceback" not in result.err


def test_a_missing_unix_socket_is_69_too(folder: Path) -> None:
    text = (folder / "gateway.toml").read_text()
    (folder / "gateway.toml").write_text(text.replace('listen = ["127.0.0.1:', 'listen = ["unix:gateway.sock", "127.0.0.1:'))
    result = gateway("send", "authentic", cwd=folder)
    assert result.status == 69
    assert "gateway.sock" in result.err


def test_a_url_may_end_in_the_path_of_the_source_as_the_webhook_page_has_it(folder: Path, receiver: Receiver) -> None:
    for url in (f"http://127.0.0.1:{receiver.port}/", f"http://127.0.0.1:{receiver.port}/webhooks/legitmark"):
        assert gateway("send", "authentic", "--url", url, cwd=folder).status == 0
    assert [received.path for received in receiver.received] == ["/webhooks/legitmark"] * 2


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "localhost:8080", "ftp://localhost", "https://"])
def test_a_malformed_url_is_a_usage_error(url: str, folder: Path) -> None:
    result = gateway("send", "authentic", "--url", url, cwd=folder)
    assert (result.status, result.out) == (2, "")
    assert result.err.startswith("gateway: error: --url ")


def test_an_untrusted_certificate_is_named_and_the_advice_to_trust_it_works(folder: Path, receiver: Receiver) -> None:
    authority = trustme.CA()
    receiver.speak_tls(authority.issue_cert("localhost"))
    url = f"https://localhost:{receiver.port}"
    refused = gateway("send", "authentic", "--url", url, cwd=folder)
    assert (refused.status, refused.out) == (69, "")
    assert "its certificate is not trusted here" in refused.err and "SSL_CERT_FILE" in refused.err
    assert "gateway serve" not in refused.err, "one answers there"
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    trusting = {"SSL_CERT_FILE": str(folder / "ca.pem")}
    assert gateway("send", "authentic", "--url", url, cwd=folder, variables=trusting).status == 0


def test_http_in_place_of_https_and_the_reverse_are_named(folder: Path, receiver: Receiver) -> None:
    result = gateway("send", "authentic", "--url", f"https://127.0.0.1:{receiver.port}", cwd=folder)
    assert result.status == 69
    assert "is it http://?" in result.err
    receiver.speak_tls(trustme.CA().issue_cert("localhost"))
    result = gateway("send", "authentic", "--url", f"http://127.0.0.1:{receiver.port}", cwd=folder)
    assert result.status == 69
    assert "is it https://?" in result.err


def test_a_sample_arrives_signed_at_the_path_of_the_first_source(running: Path, receiver: Receiver) -> None:
    result = gateway("send", "counterfeit", cwd=running)
    assert (result.status, result.err) == (0, "")
    assert result.out.startswith('200  {"status": "accepted", "id": "0"}')
    (received,) = receiver.received
    assert received.path == "/webhooks/legitmark"
    signed = {f"webhook-{name}": received.headers[f"svix-{name}"] for name in ("id", "timestamp", "signature")}
    event = Webhook(SECRET).verify(received.body, signed)
    assert event == SAMPLES["counterfeit"] | {"timestamp": event["timestamp"]}
    assert event["timestamp"] != SAMPLES["counterfeit"]["timestamp"], "else it would be a duplicate of the one before"


def test_a_file_goes_byte_for_byte(running: Path, receiver: Receiver) -> None:
    (running / "odd.json").write_bytes(b'{ "event_type":\t"x", "n": 1.0e2 }\r\n')
    assert gateway("send", "odd.json", cwd=running).status == 0
    assert receiver.received[0].body == (running / "odd.json").read_bytes()


def test_standard_input_goes_byte_for_byte(running: Path, receiver: Receiver) -> None:
    result = gateway("send", "-", cwd=running, stdin=COUNTERFEIT.read_bytes())
    assert result.status == 0
    assert receiver.received[0].body == COUNTERFEIT.read_bytes()


def test_standard_input_is_sent_as_often_as_asked(running: Path, receiver: Receiver) -> None:
    gateway("send", "-", "--count", "3", cwd=running, stdin=COUNTERFEIT.read_bytes())
    assert [received.body for received in receiver.received] == [COUNTERFEIT.read_bytes()] * 3


def test_set_changes_the_event(running: Path, receiver: Receiver) -> None:
    arguments = ("--set", "reference_id=BAG-1", "--set", "timestamp=2026-01-01T00:00:00Z")
    assert gateway("send", "authentic", *arguments, cwd=running).status == 0
    event = json.loads(receiver.received[0].body)
    assert (event["reference_id"], event["timestamp"]) == ("BAG-1", "2026-01-01T00:00:00Z")


def test_count_sends_several_events_that_are_not_duplicates(running: Path, receiver: Receiver) -> None:
    result = gateway("send", "authentic", "--count", "5", cwd=running)
    assert result.status == 0
    assert len(result.out.splitlines()) == 5
    assert len({received.headers["svix-id"] for received in receiver.received}) == 5
    assert len({json.loads(received.body)["timestamp"] for received in receiver.received}) == 5


def test_json_is_a_line_for_each(running: Path, receiver: Receiver) -> None:
    result = gateway("send", "authentic", "--count", "3", "--rate", "100/s", "--json", cwd=running)
    documents = [json.loads(line) for line in result.out.splitlines()]
    assert [document["sender_id"] for document in documents] == [received.headers["svix-id"] for received in receiver.received]
    assert all(document["duration_ms"] >= 0 for document in documents)


def test_a_refusal_ends_with_1_and_is_shown(running: Path, receiver: Receiver) -> None:
    receiver.status, receiver.answer = 401, b'{"error": "bad_signature", "detail": "no signature fits"}'
    result = gateway("send", "authentic", cwd=running)
    assert result.status == 1
    assert result.out.startswith("401  ")
    assert "bad_signature" in result.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["authentic", "--count", "0"], "--count"),
        (["authentic", "--count", "-1"], "--count"),
        (["authentic", "--rate", "fast"], "fast"),
        (["authentic", "--rate", "0/s"], "above 0"),
        (["authentik"], 'did you mean "authentic"?'),
        (["authentic", "--set", "a"], "path=value"),
    ],
    ids=str,
)
def test_an_event_that_can_not_be_sent_is_a_usage_error(
    arguments: list[str], said: str, running: Path, receiver: Receiver
) -> None:
    result = gateway("send", *arguments, cwd=running)
    assert (result.status, result.out) == (2, "")
    assert said in result.err
    assert receiver.received == []


def test_an_unverified_source_is_sent_no_signature(tmp_path: Path, receiver: Receiver) -> None:
    text = CONFIG.format(port=receiver.port).replace('secrets = [{ env = "LEGITMARK_SECRET" }]', 'verify = "none"')
    (tmp_path / "gateway.toml").write_text(text)
    assert gateway("send", "authentic", cwd=tmp_path, variables={"LEGITMARK_SECRET": ""}).status == 0
    assert {name for name in receiver.received[0].headers if name.startswith("svix-")} == {"svix-id"}


def test_the_secret_is_shown_nowhere(running: Path) -> None:
    result = gateway("send", "authentic", "--json", cwd=running)
    assert SECRET.removeprefix("whsec_") not in result.out + result.err
