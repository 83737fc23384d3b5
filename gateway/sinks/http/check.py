"""The rules about the values, secrets and certificates of an `http` sink."""

from __future__ import annotations

import hashlib
import re
import ssl
from pathlib import Path

from gateway.core.secrets import Secret, SecretRef
from gateway.host.certificates import PairError, load_pair, validity
from gateway.sinks.checking import (
    Files,
    Resolved,
    Say,
    check_networks,
    check_proxy,
    check_reachable_url,
    check_secret_proxy,
    check_signing_secret,
    check_url,
    check_username,
    check_validity,
    is_header_value,
    token_trouble,
)
from gateway.sinks.http.config import HttpConfig
from gateway.sinks.http.request import OWN_HEADERS, OWN_PREFIXES
from gateway.sinks.net import trust

_MOST_SECRETS = 2
"""The old one and the new one, which sign side by side."""
_BETTER = {"authorization": "use bearer for a token", "proxy-authorization": "write the login into proxy"}
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def check(config: HttpConfig, say: Say, files: Files) -> None:
    check_url("url", config.url, say)
    check_networks("allow_networks", config.allow_networks, say)
    check_reachable_url("url", config.url, config.allow_networks if config.proxy is None else None, say)
    check_proxy(config.proxy, config.allow_networks, say)
    if isinstance(config.secret, list) and not 1 <= len(config.secret) <= _MOST_SECRETS:
        say("secret", f"names {len(config.secret) or 'none'}", "write one, or a list of two while it is being changed")
    if config.basic is not None:
        if config.bearer is not None:
            say("basic", "can't be combined with bearer: a request has one authorization", "remove one of the two")
        if ":" in config.basic.username or not config.basic.username.isprintable():
            say(("basic", "username"), "can't be sent: it must not contain a colon or control characters")
        else:
            check_username(("basic", "username"), config.basic.username, say)
    if config.certificate is not None and config.key is None:
        say("key", "is missing: there is a certificate")
    if config.key is not None and config.certificate is None:
        say("certificate", "is missing: there is a key")
    if config.url[:5].lower() == "http:":
        for key in ("certificate", "ca"):
            if getattr(config, key) is not None:
                say(key, "has no use: the URL is http://, without TLS")
    for number, status in enumerate(config.reject_on):
        if not 300 <= status <= 599:
            say(("reject_on", number), f"{status} is not a status that can be final", "write 300 to 599")
    _check_headers(config, say)


def check_secrets(config: HttpConfig, say: Say, resolved: Resolved) -> None:
    if isinstance(config.secret, list):
        for number, ref in enumerate(config.secret):
            check_signing_secret(("secret", number), ref, resolved.secrets, say)
    elif config.secret is not None:
        check_signing_secret("secret", config.secret, resolved.secrets, say)
    check_secret_proxy(config.proxy, config.allow_networks, say, resolved)
    _check_authorities(config, say, resolved)
    _check_pair(config, say, resolved)
    if (token := resolved.reveal(config.bearer)) is not None:
        if " " in token:
            message = f"the secret of {config.bearer} can't be a token: it has a blank in it"
            say("bearer", message, "the token alone, without Bearer")
        elif (trouble := token_trouble(token)) is not None:
            say("bearer", f"the secret of {config.bearer} {trouble}", "the token alone")
        elif not is_header_value(token):
            say("bearer", f"the secret of {config.bearer} can't be sent in a header: it is not plain ASCII")
    for name, value in config.headers.items():
        text = resolved.reveal(value) if isinstance(value, SecretRef) else None
        if text is not None and not is_header_value(text):
            say(("headers", name), f"the secret of {value} can't be sent in a header: it is not plain ASCII")


def _check_headers(config: HttpConfig, say: Say) -> None:
    written: dict[str, str] = {}
    for name, value in config.headers.items():
        lowered = name.lower()
        if (other := written.setdefault(lowered, name)) != name:
            say(
                ("headers", name),
                f'"{name}" and "{other}" are the same header',
                "write it once: case does not matter in names",
                on="key",
            )
        if _HEADER.fullmatch(name) is None:
            say(("headers", name), f'"{name}" is not a header name', on="key")
        elif lowered in OWN_HEADERS or lowered.startswith(OWN_PREFIXES):
            hint = _BETTER.get(lowered, "")
            say(("headers", name), f'"{name}" is set by the gateway itself', hint, on="key")
        if isinstance(value, str) and not is_header_value(value):
            say(("headers", name), f'the value of "{name}" has control characters, or characters beyond ASCII')
        elif isinstance(value, str) and value != value.strip():
            say(("headers", name), f'the value of "{name}" begins or ends with a blank', "a blank there is not sent; remove it")


def _check_authorities(config: HttpConfig, say: Say, resolved: Resolved) -> None:
    """Check `ca` together with the secrets: a machine that has no secrets has no such file either."""
    if config.ca is None or "ca" not in resolved.files.texts:
        return
    path = resolved.files.folder / config.ca
    if text := resolved.files.texts["ca"]:
        trouble = resolved.once(("ca", path, text), lambda: _trouble(path))
    else:  # the text does not say why the file cannot be read
        trouble = _trouble(path)
    if trouble is not None:
        say("ca", trouble)


def _trouble(ca: Path) -> str | None:
    """Return why a file cannot be a list of authorities; None if it can."""
    try:
        trust.context(ca)
    except ValueError as error:
        return str(error).removeprefix("ca: ")
    return None


def _check_pair(config: HttpConfig, say: Say, resolved: Resolved) -> None:
    certificate, private = (resolved.secrets.get(ref) if ref is not None else None for ref in (config.certificate, config.key))
    if certificate is None or private is None:
        return
    digest = hashlib.sha256(f"{certificate.reveal()}\0{private.reveal()}".encode()).digest()
    trouble = resolved.once(("pair", digest), lambda: _pair_trouble(certificate, private))
    if trouble is not None:
        say(*trouble)
    else:
        check_validity("certificate", certificate, say, resolved.now, who="servers")


def _pair_trouble(certificate: Secret, key: Secret) -> tuple[str, str] | None:
    """Return the key of the sink that is wrong, and why; None if certificate and key are a pair."""
    try:
        load_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), certificate, key)
        validity(certificate)
    except PairError as error:
        return error.part, error.reason
    except ValueError as error:
        return "certificate", str(error)
    return None
