"""The rules about values: what decodes, and still can't work. Adds problems, raises nothing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gateway.config import listen
from gateway.config.decode import place
from gateway.config.settings import Config, SourceSettings
from gateway.core.errors import Problem
from gateway.core.routing import Route
from gateway.core.signature import Key
from gateway.core.values import SecretRef
from gateway.sinks import EmailConfig, HttpConfig, JsonlConfig, SinkConfig, SlackConfig
from gateway.sinks.guard import parse_network
from gateway.sinks.http import OWN_HEADERS

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,47}")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_MAIL = re.compile(r"[^@\s<>,;\"]+@[^@\s<>,;\"]+")
_LARGEST_BODY = 64 * 1024 * 1024
_MOST_CONCURRENT = 256

Problems = list[Problem]


def check_name(name: str, where: str, problems: Problems) -> None:
    if _NAME.fullmatch(name) is None:
        problems.append(
            Problem(where, f'"{name}" can not be a name', "a small letter, then up to 47 small letters, digits, - or _")
        )


def check(config: Config, problems: Problems) -> None:
    """Everything that can be said without the secrets."""
    _check_server(config, problems)
    if config.store.retention <= 0:
        problems.append(Problem("[store] retention", "has to be longer than 0s"))
    if not config.sources and not any(problem.place.startswith("[sources") for problem in problems):
        problems.append(Problem("[sources]", "there is none", "webhooks need a place to come from: [sources.legitmark]"))
    for name, source in config.sources.items():
        if _NAME.fullmatch(name):  # else its default path, made of the name, is no better
            _check_source(source, place("sources", name), problems)
    for path, number in Counter(source.path for source in config.sources.values()).items():
        if number > 1:
            sharing = " and ".join(name for name, source in config.sources.items() if source.path == path)
            problems.append(Problem("[sources]", f"{sharing} have the same path {path}"))
    for name, sink in config.sinks.items():
        _check_sink(sink, place("sinks", name), config.base, (config.database, config.audit_log), problems)


def check_signing_secrets(config: Config, problems: Problems) -> None:
    """Whether each secret that signs can be one; says nothing of its content."""
    for name, source in config.sources.items():
        for ref in source.secrets:
            _check_key(config, ref, f"{place('sources', name)} secrets", problems)
    for name, sink in config.sinks.items():
        where = place("sinks", name)
        if isinstance(sink, HttpConfig):
            if sink.secret is not None:
                _check_key(config, sink.secret, f"{where} secret", problems)
            for secret in (sink.bearer, *sink.headers.values()):
                if not isinstance(secret, SecretRef) or secret not in config.secrets:
                    continue
                value = config.secrets[secret].reveal()
                if not (value.isascii() and value.isprintable()):
                    problems.append(Problem(where, f"the secret of {secret} can't stand in a header: it is not plain ASCII"))
        if isinstance(sink, SlackConfig) and sink.webhook_url in config.secrets:  # noqa: SIM102 (the question is one of its own)
            if not _is_url(config.secrets[sink.webhook_url].reveal()):
                problems.append(Problem(f"{where} webhook_url", f"the secret of {sink.webhook_url} is not an http(s) URL"))


def warnings(document: dict[str, Any], routes: Sequence[Route], sinks: Mapping[str, SinkConfig]) -> Iterator[Problem]:
    """What works, and is probably not meant."""
    for name, sink in sinks.items():
        if sink.breaker.failures >= len(sink.retry):
            message = f"opens after {sink.breaker.failures} failures, and a delivery is dead after {len(sink.retry)}"
            hint = "so one delivery dies before the breaker holds the others back"
            yield Problem(f"{place('sinks', name)} breaker", message, hint, level="warning")
        if isinstance(sink, EmailConfig) and sink.username is not None and sink.security == "none":
            message = 'is "none": the password crosses the network in clear'
            yield Problem(f"{place('sinks', name)} security", message, 'use "starttls" or "tls"', level="warning")
    if not routes:
        yield Problem("[[routes]]", "there is none", "every message will be kept, and go nowhere", level="warning")
    yield from _without_effect(document)


def _without_effect(document: dict[str, Any]) -> Iterator[Problem]:
    """Keys of the contract whose mechanism is not built yet: never met with silence."""

    def said(where: str) -> Problem:
        return Problem(where, "has no effect yet", level="warning")

    sinks = document.get("sinks")
    for name, table in sinks.items() if isinstance(sinks, dict) else ():
        for key in ("token", "channel"):
            if isinstance(table, dict) and key in table:
                yield said(f"{place('sinks', name)} {key}")
    if document.get("tests"):
        yield said("[[tests]]")


def _check_server(config: Config, problems: Problems) -> None:
    seen: set[str] = set()
    remote = False
    for table, texts in (("[server]", config.server.listen), ("[admin]", config.admin.listen)):
        if not texts:
            problems.append(Problem(f"{table} listen", "names no address"))
        for text in texts:
            try:
                address = listen.parse(text, config.base)
            except ValueError as error:
                problems.append(Problem(f"{table} listen", str(error)))
                continue
            if str(address) in seen and not str(address).endswith(":0"):
                problems.append(Problem(f"{table} listen", f"{text} is used twice"))
            seen.add(str(address))
            remote = remote or (table == "[admin]" and not listen.is_local(address))
    if remote and config.admin.token is None:
        problems.append(
            Problem("[admin] token", "is needed where others can reach the admin listener", "or listen on 127.0.0.1 or unix:")
        )
    if not 0 < config.server.max_body <= _LARGEST_BODY:
        problems.append(Problem("[server] max_body", "has to lie between 1B and 64MiB"))


def _check_source(source: SourceSettings, where: str, problems: Problems) -> None:
    if not re.fullmatch(r"/[!-~]*", source.path or "") or set(source.path or "") & set("?#%"):
        problems.append(Problem(f"{where} path", "has to start with /, without ?, # or %"))
    if source.verify == "standard_webhooks" and not source.secrets:
        hint = 'name the signing secret of the webhook page, or write verify = "none" to run unverified'
        problems.append(Problem(f"{where} secrets", "there is none", hint))
    if source.verify == "none" and source.secrets:
        problems.append(Problem(f"{where} verify", 'is "none", and there are secrets', "remove one of the two"))
    if source.tolerance <= 0:
        problems.append(Problem(f"{where} tolerance", "has to be longer than 0s"))
    for event_type, paths in source.identity.items():
        for path in paths:
            if not all(path.split(".")):
                problems.append(Problem(f"{where} identity.{event_type}", f'"{path}" is no path such as state.primary'))


def _check_sink(sink: SinkConfig, where: str, base: Path, reserved: tuple[Path, ...], problems: Problems) -> None:
    def problem(key: str, message: str, hint: str = "") -> None:
        problems.append(Problem(f"{where} {key}", message, hint))

    if not sink.retry:
        problem("retry", "names no attempt", 'at least ["0s"]')
    if not 1 <= sink.concurrency <= _MOST_CONCURRENT:
        problem("concurrency", f"has to lie between 1 and {_MOST_CONCURRENT}")
    if sink.breaker.failures < 1:
        problem("breaker", "failures has to be at least 1")
    for key, span in (("timeout", sink.timeout), ("give_up_after", sink.give_up_after)):
        if span <= 0:
            problem(key, "has to be longer than 0s")
    for text in [] if isinstance(sink, JsonlConfig) else sink.allow_networks or []:
        try:
            parse_network(text)
        except ValueError:
            problem("allow_networks", f'"{text}" is not a network', 'write "10.0.0.0/8", with zeros behind the prefix')
    match sink:
        case HttpConfig():
            _check_http(sink, problem)
        case SlackConfig():
            if sink.webhook_url is None:
                problem("webhook_url", "is missing", "a token and channel do not work yet")
        case EmailConfig():
            _check_email(sink, problem)
        case JsonlConfig():
            if not sink.path:
                problem("path", "is empty")
            if (base / sink.path) in reserved:
                problem("path", "is the file of the database or of the audit log")


def _check_http(sink: HttpConfig, problem: Any) -> None:
    if not _is_url(sink.url):
        problem("url", "is not an http(s) URL with a host, and without user name or password", "a token goes into bearer")
    for status in sink.reject_on:
        if not 300 <= status <= 599:
            problem("reject_on", f"{status} is no status that can be final", "300 to 599")
    for name, value in sink.headers.items():
        lowered = name.lower()
        if _HEADER.fullmatch(name) is None:
            problem("headers", f'"{name}" is no name of a header')
        elif lowered in OWN_HEADERS or lowered.startswith(("webhook-", "x-gateway-")):
            problem(
                "headers",
                f'"{name}" is set by the gateway itself',
                "use bearer for a token" if lowered == "authorization" else "",
            )
        if isinstance(value, str) and not value.isprintable():
            problem("headers", f'the value of "{name}" has control characters')


def _check_email(sink: EmailConfig, problem: Any) -> None:
    if not sink.recipients:
        problem("recipients", "names nobody")
    for text in [sink.sender, *sink.recipients]:
        address = match[1] if (match := re.fullmatch(r"[^<>\r\n]*<([^<>]*)>", text)) else text
        if _MAIL.fullmatch(address) is None or not text.isprintable():
            problem("sender" if text == sink.sender else "recipients", f'"{text}" is no mail address')
    if not 1 <= sink.port <= 65535:
        problem("port", "has to lie between 1 and 65535")
    if sink.username is not None and sink.password is None:
        problem("password", "is missing: there is a username")
    if sink.password is not None and sink.username is None:
        problem("username", "is missing: there is a password")


def _check_key(config: Config, ref: Any, where: str, problems: Problems) -> None:
    if ref in config.secrets:
        try:
            Key(config.secrets[ref])
        except ValueError as error:
            problems.append(Problem(where, f"the secret of {ref}: {error}"))


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and "@" not in parts.netloc
    except ValueError:
        return False
