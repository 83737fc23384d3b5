"""The rules about values: what decodes, and still can't work. Adds findings, raises nothing."""

from __future__ import annotations

import hashlib
import re
import ssl
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

from gateway.config import access, paths
from gateway.config.decode import secret_refs
from gateway.config.location import Finding, Findings, Place
from gateway.config.memo import Memo, Same
from gateway.config.settings import Config, SourceSettings
from gateway.core.mailbox import MailboxError, parse_mailbox
from gateway.core.secrets import Secret, SecretRef
from gateway.core.signature import Key
from gateway.core.urls import UrlError, parse_host, parse_url
from gateway.host.certificates import PairError, load_pair, validity
from gateway.sinks import EmailConfig, HttpConfig, JsonlConfig, SinkConfig, SlackConfig
from gateway.sinks.http.sink import MOST_SECRETS, OWN_HEADERS
from gateway.sinks.net import tls
from gateway.sinks.net.guard import parse_network

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,47}")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_MOST_CONCURRENT = 256

_Say = Callable[..., None]
"""Takes a key or several, one below the other, then message and hint."""


def check_name(name: str, where: Place, findings: Findings) -> None:
    if _NAME.fullmatch(name) is None:
        hint = "a small letter, then up to 47 small letters, digits, - or _"
        findings.append(Finding(where, f'"{name}" can not be a name', hint, on="key"))


def check(config: Config, findings: Findings, memo: Memo) -> None:
    """Everything that can be said without the secrets."""
    access.check(config, findings)
    paths.check(config, findings, access.sockets(config))
    if config.store.retention <= 0:
        findings.append(Finding(config.place("store", "retention"), "has to be longer than 0s"))
    for name, source in config.sources.items():
        if _NAME.fullmatch(name):  # else its default path, made of the name, is no better
            _check_source(source, config.place("sources", name), findings)
    for path, number in Counter(source.path for source in config.sources.values()).items():
        if number > 1:
            sharing = [name for name, source in config.sources.items() if source.path == path]
            message = f"{' and '.join(sharing)} have the same path {path}"
            findings.append(Finding(config.place("sources", sharing[-1], "path"), message))
    for name, sink in config.sinks.items():
        where = config.sink_places[name]
        memo.collect(("check", Same(sink), where), findings, partial(_check_sink, sink, where))


def check_secrets(config: Config, findings: Findings, now: float, memo: Memo) -> None:
    """Whether each secret can be what it has to be; says nothing of its content. `now` in Unix seconds."""
    access.check_certificate(config, findings, now)
    for name, source in config.sources.items():
        for number, ref in enumerate(source.secrets):
            _check_key(config, ref, config.place("sources", name, "secrets", number), findings)
    for name, sink in config.sinks.items():
        where = config.sink_places[name]
        if isinstance(sink, HttpConfig):
            for place, ref in secret_refs(sink.secret, where / "secret"):
                _check_key(config, ref, place, findings)
            _check_tls(name, sink, where, config, findings, now, memo)
            for place, secret in [
                (where / "bearer", sink.bearer),
                *((where / "headers" / k, v) for k, v in sink.headers.items()),
            ]:
                if not isinstance(secret, SecretRef) or secret not in config.secrets:
                    continue
                value = config.secrets[secret].reveal()
                if place.keys[-1] == "bearer" and " " in value:
                    message, hint = (
                        f"the secret of {secret} can't be a token: it has a blank in it",
                        "the token alone, without Bearer",
                    )
                    findings.append(Finding(place, message, hint))
                elif place.keys[-1] == "bearer" and (trouble := _quotes(value)) is not None:
                    findings.append(Finding(place, f"the secret of {secret} {trouble}", "the token alone"))
                elif not (value.isascii() and value.isprintable()):
                    message = f"the secret of {secret} can't stand in a header: it is not plain ASCII"
                    findings.append(Finding(place, message))
        if isinstance(sink, SlackConfig):
            if sink.webhook_url in config.secrets:
                try:
                    parse_url(config.secrets[sink.webhook_url].reveal())
                except UrlError as error:
                    message = f"the secret of {sink.webhook_url} {error.message}"
                    findings.append(Finding(where / "webhook_url", message, error.hint))
            if sink.token in config.secrets and not re.fullmatch(r"[!-~]+", config.secrets[sink.token].reveal()):
                findings.append(Finding(where / "token", f"the secret of {sink.token} can't be a token: it is not plain ASCII"))
            elif sink.token in config.secrets and (trouble := _quotes(config.secrets[sink.token].reveal())) is not None:
                findings.append(Finding(where / "token", f"the secret of {sink.token} {trouble}", "the token alone"))


def _quotes(token: str) -> str | None:
    """Say what is wrong with a token in quotes, which a shell or a file of variables would have taken away."""
    return (
        "can't be a token: it has quotes around it" if len(token) > 1 and token[0] == token[-1] and token[0] in "\"'`" else None
    )


def _check_source(source: SourceSettings, where: Place, findings: Findings) -> None:
    say = _sayer(where, findings)
    path = source.path or ""
    if not re.fullmatch(r"/[!-~]*", path) or set(path) & set("?#%\\"):
        say("path", "has to start with /, without ?, #, % or \\")
    elif path.startswith("//") or {".", ".."} & set(path.split("/")):
        say("path", "begins with //, or has a . or .. between its slashes: clients send another path then")
    if source.verify == "standard_webhooks" and not source.secrets:
        hint = 'name the signing secret of the webhook page, or write verify = "none" to run unverified'
        say("secrets", "there is none", hint)
    if source.verify == "none" and source.secrets:
        say("verify", 'is "none", and there are secrets', "remove one of the two")
    if source.tolerance <= 0:
        say("tolerance", "has to be longer than 0s")
    for event_type, fields in source.identity.items():
        for number, path in enumerate(fields):
            if not all(path.split(".")):
                say(("identity", event_type, number), f'"{path}" is no path such as state.primary')


def _check_sink(sink: SinkConfig, where: Place, findings: Findings) -> None:
    say = _sayer(where, findings)
    if not sink.retry:
        say("retry", "names no attempt", 'at least ["0s"]')
    if not 1 <= sink.concurrency <= _MOST_CONCURRENT:
        say("concurrency", f"has to lie between 1 and {_MOST_CONCURRENT}")
    if sink.breaker.failures < 1:
        say(("breaker", "failures"), "has to be at least 1")
    spans = (("timeout", sink.timeout), ("give_up_after", sink.give_up_after), (("breaker", "probe"), sink.breaker.probe))
    for key, span in spans:
        if span <= 0:
            say(key, "has to be longer than 0s")
    for number, text in enumerate([] if isinstance(sink, JsonlConfig) else sink.allow_networks or []):
        try:
            parse_network(text)
        except ValueError:
            hint = 'write "10.0.0.0/8", with zeros behind the prefix'
            say(("allow_networks", number), f'"{text}" is not a network', hint)
    match sink:
        case HttpConfig():
            _check_http(sink, say)
        case SlackConfig():
            _check_slack(sink, say)
        case EmailConfig():
            _check_email(sink, say)
        case JsonlConfig():
            if not sink.path:
                say("path", "is empty")


def _check_url(key: str, text: str, say: _Say) -> None:
    try:
        parse_url(text)
    except UrlError as error:
        say(key, error.message, error.hint)


def _check_tls(name: str, sink: HttpConfig, where: Place, config: Config, findings: Findings, now: float, memo: Memo) -> None:
    """Whether the files are what they have to be. With the secrets, since a machine that has none has no such files either."""
    if sink.ca is not None and paths.unfit_as_written(sink.ca, where.file.parent) is None:
        if config.authorities[name]:  # else it is read anew: why it can't be is not in its text
            key = ("ca", where, sink.ca, config.authorities[name])
            memo.collect(key, findings, partial(_check_authorities, config.base / sink.ca, where))
        else:
            _check_authorities(config.base / sink.ca, where, findings)
    if sink.certificate in config.secrets and sink.key in config.secrets:
        certificate, private = config.secrets[sink.certificate], config.secrets[sink.key]
        digest = hashlib.sha256(f"{certificate.reveal()}\0{private.reveal()}".encode()).digest()
        if memo.collect(("pair", where, digest), findings, partial(_check_pair, certificate, private, where)):
            access.warn_of_certificate(certificate, where / "certificate", findings, now, who="servers")


def _check_authorities(ca: Path, where: Place, findings: Findings) -> None:
    try:
        tls.context(ca)
    except ValueError as error:
        findings.append(Finding(where / "ca", str(error).removeprefix("ca: ")))


def _check_pair(certificate: Secret, key: Secret, where: Place, findings: Findings) -> bool:
    """Return whether they are a pair."""
    try:
        load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), certificate, key)
        validity(certificate)
    except PairError as error:
        findings.append(Finding(where / error.part, error.reason))
    except ValueError as error:
        findings.append(Finding(where / "certificate", str(error)))
    else:
        return True
    return False


def _check_http(sink: HttpConfig, say: _Say) -> None:
    _check_url("url", sink.url, say)
    if isinstance(sink.secret, list) and not 1 <= len(sink.secret) <= MOST_SECRETS:
        say("secret", f"names {len(sink.secret) or 'none'}", "write one, or a list of two while it is being changed")
    if sink.basic is not None:
        if sink.bearer is not None:
            say("basic", "excludes bearer: a request has one authorization", "remove one of the two")
        if ":" in sink.basic.username or not sink.basic.username.isprintable():
            say(("basic", "username"), "can't be sent: no colon and no control characters may stand in it")
        else:
            _check_username(("basic", "username"), sink.basic.username, say)
    if sink.certificate is not None and sink.key is None:
        say("key", "is missing: there is a certificate")
    if sink.key is not None and sink.certificate is None:
        say("certificate", "is missing: there is a key")
    if sink.url[:5].lower() == "http:":
        for key in ("certificate", "ca"):
            if getattr(sink, key) is not None:
                say(key, "has no use: the URL is http://, without TLS")
    for number, status in enumerate(sink.reject_on):
        if not 300 <= status <= 599:
            say(("reject_on", number), f"{status} is no status that can be final", "300 to 599")
    written: dict[str, str] = {}
    for name, value in sink.headers.items():
        lowered = name.lower()
        if (other := written.setdefault(lowered, name)) != name:
            say(("headers", name), f'"{name}" and "{other}" are one header', "names differ in more than case", on="key")
        if _HEADER.fullmatch(name) is None:
            say(("headers", name), f'"{name}" is no name of a header', on="key")
        elif lowered in OWN_HEADERS or lowered.startswith(("webhook-", "x-gateway-")):
            hint = "use bearer for a token" if lowered == "authorization" else ""
            say(("headers", name), f'"{name}" is set by the gateway itself', hint, on="key")
        if isinstance(value, str) and not (value.isascii() and value.isprintable()):
            say(("headers", name), f'the value of "{name}" has control characters, or characters beyond ASCII')
        elif isinstance(value, str) and value != value.strip():
            say(("headers", name), f'the value of "{name}" begins or ends with a blank', "a blank there is not sent; remove it")


def _check_slack(sink: SlackConfig, say: _Say) -> None:
    if sink.webhook_url is None and sink.token is None and sink.channel is None:
        say("webhook_url", "is missing", "or a token and a channel, for a thread per service request")
    elif sink.webhook_url is None and sink.token is None:
        say("token", "is missing: there is a channel")
    elif sink.webhook_url is None and not sink.channel:
        say("channel", "is missing: there is a token" if sink.channel is None else "is empty")
    elif sink.webhook_url is None and (trouble := _no_channel(sink.channel or "")) is not None:
        say("channel", trouble, 'write its id, such as "C0123456789", or its name, such as "#fraud-desk"')
    _check_url("api", sink.api, say)
    if "?" in sink.api:
        say("api", "has a query, and the methods of the API come behind it", "leave it out")


def _no_channel(text: str) -> str | None:
    """Say why a text is no channel of Slack (docs.slack.dev, chat.postMessage: an id, or a name of at most 80 characters)."""
    if not text.isprintable() or any(character.isspace() for character in text):
        return "has a blank or a control character in it"
    if "://" in text or "/" in text:
        return "is a link, and has to be a channel"
    if re.search(r"[${}<>,;\"]", text) or text.startswith("@"):
        return "is no channel"
    return None


def _check_email(sink: EmailConfig, say: _Say) -> None:
    if not sink.recipients:
        say("recipients", "names nobody")
    for keys, text in [("sender", sink.sender), *((("recipients", at), text) for at, text in enumerate(sink.recipients))]:
        try:
            parse_mailbox(text)
        except MailboxError as error:
            say(keys, error.message, error.hint)
    try:
        parse_host(sink.host)
    except UrlError as error:
        say("host", error.message, error.hint)
    if not 1 <= sink.port <= 65535:
        say("port", "has to lie between 1 and 65535")
    if sink.username is not None and sink.password is None:
        say("password", "is missing: there is a username")
    if sink.username is not None:
        _check_username("username", sink.username, say)
    if sink.password is not None and sink.username is None:
        say("username", "is missing: there is a password")


def _check_username(keys: str | tuple[str, ...], text: str, say: _Say) -> None:
    if not text:
        say(keys, "is empty")
    elif not text.isprintable():
        say(keys, "has a control character or an invisible character in it", "remove it")
    elif text != text.strip():
        say(keys, "begins or ends with a blank", "remove it")
    elif "${" in text or "{{" in text:
        say(keys, "has a placeholder in it, and nothing is filled in here", "write the name itself")


def _check_key(config: Config, ref: SecretRef, where: Place, findings: Findings) -> None:
    if ref in config.secrets:
        try:
            Key(config.secrets[ref])
        except ValueError as error:
            findings.append(Finding(where, f"the secret of {ref}: {error}"))


def _sayer(where: Place, findings: Findings) -> _Say:
    def say(keys: str | tuple[str | int, ...], message: str, hint: str = "", on: Literal["key", "value"] = "value") -> None:
        place = where
        for key in (keys,) if isinstance(keys, str) else keys:
            place = place / key
        findings.append(Finding(place, message, hint, on=on))

    return say
