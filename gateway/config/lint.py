"""What works, and is probably not meant. Warnings and notes, never errors."""

from __future__ import annotations

import difflib
import ipaddress
import stat
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from gateway.config.decode import secrets_in
from gateway.config.location import Finding, Findings, Place, warning
from gateway.config.memo import Memo, Same
from gateway.config.overlap import shadowed
from gateway.config.rules import tables_of
from gateway.config.settings import Config, Rule
from gateway.config.spelling import of_pattern, of_test
from gateway.core.errors import Problem
from gateway.core.events import Milestone
from gateway.core.mailbox import MailboxError, parse_mailbox
from gateway.core.routing import GATEWAY, may_apply
from gateway.core.urls import UrlError, parse_host, parse_url
from gateway.sinks import EmailConfig, HttpConfig, SinkConfig, SlackConfig
from gateway.sinks.net.guard import Guard


def warnings(config: Config, findings: Findings, memo: Memo) -> Iterator[Finding]:
    """Args: findings: the errors so far, so that nothing is said of what stands in their place."""
    wrong = {(finding.place.file, finding.place.keys[:2]) for finding in findings}
    unknown_routes = any(finding.place.keys == ("routes",) for finding in findings)
    for name, sink in config.sinks.items():
        where = config.sink_places[name]
        if sink.breaker.failures >= len(sink.retry) > 0:
            message = f"opens after {sink.breaker.failures} failures, and a delivery is dead after {len(sink.retry)}"
            hint = "so one delivery dies before the breaker holds the others back"
            yield warning(where / "breaker", message, hint)
        if isinstance(sink, EmailConfig) and sink.username is not None and sink.security == "none":
            message = 'is "none": the password crosses the network in clear'
            yield warning(where / "security", message, 'use "starttls" or "tls"')
        yield from _never_dialled(sink, where)
        if isinstance(sink, EmailConfig):
            yield from _addresses_beyond_ascii(sink, where)
        if isinstance(sink, SlackConfig) and sink.webhook_url is not None:
            for key in ("token", "channel"):
                if getattr(sink, key) is not None:
                    yield warning(where / key, "has no effect beside webhook_url", "keep one of the two ways")
    yield from _readable_secrets(config, memo)
    if not config.rules and not unknown_routes:
        yield warning(config.place("routes"), "there is none", "every message will be kept, and go nowhere")
    if not unknown_routes and not any(finding.place.keys[0::2] == ("routes", "sinks") for finding in findings):
        yield from _unused_sinks(config)
    yield from shadowed([rule for rule in config.rules if (rule.place.file, rule.place.keys[:2]) not in wrong], memo)
    sources = frozenset((*config.sources, GATEWAY))
    for rule in config.rules:
        yield from memo.get(("words", Same(rule), sources), partial(_words, rule, sources))
    named: set[str] = set()
    for test in config.tests:
        yield from of_test(test, sources)
        if test.settings.name in named:
            yield warning(test.place / "name", "another test has this name already")
        named.add(test.settings.name)


def notes(config: Config) -> Iterator[Problem]:
    """What a good configuration leaves out on purpose or by oversight, which only the operator can know."""
    dead = {"source": GATEWAY, "event_type": "gateway.delivery_dead", "milestone": Milestone.UNRECOGNIZED.value}
    if config.rules and not any(rule.route.sinks and may_apply(rule.route, dead) for rule in config.rules):
        message = "nobody is told when a delivery dies: no route asks for the gateway's own events"
        hint = 'add [[routes]] with source = "gateway" and the sinks of those who should know'
        yield Problem(file=str(config.file), place="[[routes]]", message=message, hint=hint, level="note")


def _words(rule: Rule, sources: frozenset[str]) -> list[Finding]:
    patterns = [("match", rule.settings.match), ("unless", rule.settings.unless)]
    tables = [pair for key, raw in patterns for pair in tables_of(raw, rule.place / key)]
    return [finding for place, table in tables for finding in of_pattern(table, place, sources)]


def _never_dialled(sink: SinkConfig, where: Place) -> Iterator[Finding]:
    """An address written as a host that the guard of the sink refuses: every delivery would end as `blocked`."""
    with suppress(UrlError, ValueError):
        match sink:
            case HttpConfig():
                key, host = "url", parse_url(sink.url).host
            case SlackConfig():
                key, host = "api", parse_url(sink.api).host
            case EmailConfig():
                key, host = "host", parse_host(sink.host)
            case _:
                return
        ipaddress.ip_address(host)
        if not Guard.of(sink.allow_networks).allows(host):
            hint = "allow_networks narrows what may be dialled; metadata, link-local and unspecified addresses are never dialled"
            yield warning(where / key, "names an address that this sink may not dial: nothing can be delivered", hint)


def _addresses_beyond_ascii(sink: EmailConfig, where: Place) -> Iterator[Finding]:
    """A domain has a form in ASCII, the part before the @ has none: some servers can't take it (RFC 6531)."""
    places = [(where / "sender", sink.sender), *((where / "recipients" / at, text) for at, text in enumerate(sink.recipients))]
    for place, text in places:
        with suppress(MailboxError):
            if (mailbox := parse_mailbox(text)).needs_utf8:
                message = f"{mailbox.local} is beyond ASCII: only a mail server that offers SMTPUTF8 takes it"
                yield warning(place, message, "ask the server by: gateway check --probe")


def _readable_secrets(config: Config, memo: Memo) -> Iterator[Finding]:
    owners = [(config.place("server"), config.server), (config.place("admin"), config.admin)]
    places = [*owners, *((config.place("sources", name), source) for name, source in config.sources.items())]
    places += [(config.sink_places[name], sink) for name, sink in config.sinks.items()]
    for where, ref in [pair for place, owner in places for pair in secrets_in(owner, place, memo)]:
        # A certificate is found like a secret, and is none.
        if ref.file is not None and where.keys[-1] != "certificate" and _others_read(config.base / ref.file):
            yield warning(where, f"every user of this machine can read {ref.file}", f"chmod o= {ref.file}")


def _others_read(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
        return stat.S_ISREG(mode) and bool(mode & stat.S_IROTH)
    except OSError:
        return False


def _unused_sinks(config: Config) -> Iterator[Finding]:
    used = {sink for rule in config.rules for sink in rule.route.sinks}
    # What was misspelt is named, too.
    used |= {close for name in used - set(config.sinks) for close in difflib.get_close_matches(name, config.sinks, 1)}
    for name, where in config.sink_places.items():
        if name not in used and config.rules:
            yield warning(where, "no route names this sink: nothing will go there", on_key=True)
