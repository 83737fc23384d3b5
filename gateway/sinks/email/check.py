"""The rules about the values of an `email` sink."""

from __future__ import annotations

from gateway.core.mailbox import MailboxError, parse_mailbox
from gateway.core.urls import UrlError, parse_host
from gateway.sinks.checking import Files, Keys, Say, check_networks, check_reachable, check_username
from gateway.sinks.email.config import EmailConfig
from gateway.sinks.email.mail import TEMPLATES
from gateway.sinks.text.readable import check_readable


def check(config: EmailConfig, say: Say, files: Files) -> None:
    check_readable(config, TEMPLATES, say, files)
    check_networks("allow_networks", config.allow_networks, say)
    if not config.recipients:
        say("recipients", "names no recipient")
    _check_mailbox("sender", config.sender, say)
    for number, text in enumerate(config.recipients):
        _check_mailbox(("recipients", number), text, say)
    try:
        check_reachable("host", parse_host(config.host), config.allow_networks, say)
    except UrlError as error:
        say("host", error.wrong, error.hint)
    if not 1 <= config.port <= 65535:
        say("port", "must be between 1 and 65535")
    if config.username is not None:
        _check_login(config.username, config, say)
    elif config.password is not None:
        say("username", "is missing: there is a password")


def _check_login(username: str, config: EmailConfig, say: Say) -> None:
    check_username("username", username, say)
    if config.password is None:
        say("password", "is missing: there is a username")
    if config.security == "none":
        say("security", 'is "none": the password crosses the network in clear text', 'use "starttls" or "tls"', level="warning")


def _check_mailbox(keys: Keys, text: str, say: Say) -> None:
    """Check one address. Warn if it needs SMTPUTF8, since the part before the @ has no form in ASCII (RFC 6531)."""
    try:
        mailbox = parse_mailbox(text)
    except MailboxError as error:
        say(keys, error.wrong, error.hint)
        return
    if mailbox.needs_utf8:
        wrong = f"{mailbox.local} is beyond ASCII: only a mail server that offers SMTPUTF8 takes it"
        say(keys, wrong, "ask the server by: gateway check --probe", level="warning")
