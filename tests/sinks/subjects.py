"""The subjects of the conformance suite: for each sink type, a sink with every secret it can have, and servers to try it on."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from gateway.core.values import Duration
from gateway.sinks.base import Sink, SinkSettings
from gateway.sinks.email.config import EmailConfig
from gateway.sinks.http.config import HttpConfig
from gateway.sinks.jsonl.config import JsonlConfig
from gateway.sinks.slack.config import SlackConfig
from tests.sinks.http_server import HttpServer, after_request, answer
from tests.sinks.mail_server import DROP, HANG, RESET, ScriptedSmtp
from tests.sinks.sending import LONG, SECRETS, opened, ref
from tests.sinks.tcp_server import Server

SECRET_PATH = "services/T0/B0/hook-5Wd3-never-shown"
LOGIN = b"250-mail.test\r\n250 AUTH PLAIN LOGIN\r\n"
NEVER_SHOWN = [
    *(value for name, value in SECRETS.items() if name != "HOOK"),
    SECRETS["SIGNING"].removeprefix("whsec_"),
    SECRET_PATH,
    "hook-5Wd3",
    base64.b64encode(f"\0gateway\0{SECRETS['PASSWORD']}".encode()).decode(),
    base64.b64encode(SECRETS["PASSWORD"].encode()).decode(),
]


def assert_no_secret(*texts: str) -> None:
    for text in texts:
        for secret in NEVER_SHOWN:
            assert secret not in text


@dataclass(frozen=True, kw_only=True)
class Subject:
    settings: Callable[[int], SinkSettings]
    """Makes the settings of a sink that sends to a port of this machine."""
    secrets: Callable[[int], Mapping[str, str]] = lambda port: {}
    """Makes the secrets that depend on the port; `SECRETS` has the others."""
    taking: Callable[[], Server]
    """Makes a server that takes every delivery."""
    hanging: Callable[[], Server]
    """Makes a server that takes a delivery and never answers."""
    failures: Mapping[str, Callable[[], Server]] = field(default_factory=dict)
    """Makes servers with an expected failure, by its name. `hang` is the one that only a timeout ends."""
    connects: bool = True
    """False for a sink that writes to the file `events.jsonl` and uses no server."""
    speaks_http: bool = False

    def opened(self, port: int, base: Path, timeout: Duration = LONG) -> aclosing[Sink]:
        """Open the sink; it is closed at the end of an `async with`.

        Args:
            timeout: the time of one attempt.
        """
        return opened(msgspec.structs.replace(self.settings(port), timeout=timeout), base, **self.secrets(port))


def _http(port: int) -> HttpConfig:
    return HttpConfig(
        url=f"http://127.0.0.1:{port}/hook",
        secret=ref("SIGNING"),
        bearer=ref("BEARER"),
        headers={"x-tenant": ref("TENANT")},
    )


def _email(port: int) -> EmailConfig:
    return EmailConfig(
        host="127.0.0.1",
        port=port,
        security="none",
        username="gateway",
        password=ref("PASSWORD"),
        sender="gateway@example.com",
        recipients=["a@example.com"],
    )


HTTP_FAILURES: Mapping[str, Callable[[], Server]] = {
    "hang": lambda: after_request(hang=True),
    "drop": after_request,
    "reset": lambda: after_request(reset=True),
    "garbage": lambda: after_request(says=b"\x00garbage\r\n\r\n"),
    "echo": lambda: HttpServer(lambda heard: answer(500, b"\r\n".join([heard.line, *(v for _, v in heard.headers)]))),
    "redirect": lambda: HttpServer(lambda heard: answer(302, location=heard.line.split()[1].decode())),
    "busy": lambda: HttpServer(answer(429, retry_after="7")),
    "unauthorized": lambda: HttpServer(answer(401, www_authenticate="Basic realm=x")),
    "gone": lambda: HttpServer(answer(410)),
}

SUBJECTS: dict[str, Subject] = {
    "http": Subject(
        settings=_http,
        taking=lambda: HttpServer(answer(200)),
        hanging=lambda: after_request(hang=True),
        failures=HTTP_FAILURES,
        speaks_http=True,
    ),
    "slack": Subject(
        settings=lambda port: SlackConfig(webhook_url=ref("HOOK")),
        secrets=lambda port: {"HOOK": f"http://127.0.0.1:{port}/{SECRET_PATH}"},
        taking=lambda: HttpServer(answer(200, b"ok")),  # everything that Slack says to a webhook
        hanging=lambda: after_request(hang=True),
        failures=HTTP_FAILURES,
        speaks_http=True,
    ),
    "email": Subject(
        settings=_email,
        taking=lambda: ScriptedSmtp(EHLO=LOGIN),
        hanging=lambda: ScriptedSmtp(EHLO=LOGIN, MAIL=HANG),
        failures={
            "hang": lambda: ScriptedSmtp(EHLO=LOGIN, MAIL=HANG),
            "drop": lambda: ScriptedSmtp(greeting=DROP),
            "reset": lambda: ScriptedSmtp(EHLO=LOGIN, DATA=RESET),
            "garbage": lambda: ScriptedSmtp(greeting=b"\x00garbage\r\n"),
            "wrong password": lambda: ScriptedSmtp(EHLO=LOGIN, AUTH=b"535 5.7.8 no: password-7Kp9-never-shown\r\n"),
            "dropped login": lambda: ScriptedSmtp(EHLO=LOGIN, AUTH=DROP),
            "no login": lambda: ScriptedSmtp(),
            "later": lambda: ScriptedSmtp(EHLO=LOGIN, MAIL=b"451 4.3.0 later\r\n"),
            "never": lambda: ScriptedSmtp(EHLO=LOGIN, end=b"554 5.6.0 never\r\n"),
        },
    ),
    "jsonl": Subject(
        settings=lambda port: JsonlConfig(path="events.jsonl"),
        taking=lambda: after_request(hang=True),
        hanging=lambda: after_request(hang=True),
        connects=False,
    ),
}
"""The subject of each sink type. `test_conformance.py` fails if a type of `SINK_TYPES` has none."""
