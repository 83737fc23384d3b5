"""Checks on values that decode, but cannot work. They add findings and raise nothing.

The checks on the keys of one sink type are in `sinks/<type>/check.py`.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import partial

from gateway.config import access_checks, admin_checks, join_checks, paths, reconcile_checks, store_checks
from gateway.config.location import Finding, Findings, Place, say_at
from gateway.config.memo import Memo, Same
from gateway.config.settings import Config, SourceSettings
from gateway.core.values import Duration
from gateway.sinks import type_of
from gateway.sinks.base import SinkSettings
from gateway.sinks.checking import Files, Resolved, Say, check_signing_secret
from gateway.sinks.text.readable import check_timezone

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,47}")
_MOST_CONCURRENT = 256
_SHORTEST_SILENCE = Duration("5m")
"""A sender's second retry comes after 5 minutes, so a shorter silence may be one lost request."""
_SHORTEST_FAILURE = Duration("5m")


def check_name(name: str, where: Place, findings: Findings) -> None:
    if _NAME.fullmatch(name) is None:
        hint = "use a lower-case letter, then up to 47 lower-case letters, digits, - or _"
        findings.append(Finding(where, f'"{name}" cannot be a name', hint, on="key"))


def check(config: Config, findings: Findings, memo: Memo) -> None:
    """Check everything that needs no secret."""
    access_checks.check(config, findings)
    paths.check(config, findings, access_checks.sockets(config))
    store_checks.check(config, findings)
    reconcile_checks.check(config, findings)
    join_checks.check(config, findings)
    check_timezone(config.defaults.timezone, say_at(config.place("defaults"), findings))
    for name, source in config.sources.items():
        if _NAME.fullmatch(name):  # the default path contains the name, so it would only repeat the error
            _check_source(source, config.place("sources", name), findings)
    for path, number in Counter(source.path for source in config.sources.values()).items():
        if number > 1:
            sharing = [name for name, source in config.sources.items() if source.path == path]
            wrong = f"{' and '.join(sharing)} have the same path {path}"
            findings.append(Finding(config.place("sources", sharing[-1], "path"), wrong))
    for name, sink in config.sinks.items():
        where, files = config.sink_places[name], _files(name, config)
        work = partial(_check_sink, sink, where, files)
        if all(files.texts.values()):
            memo.collect(("check", Same(sink), where, *files.texts.items()), findings, work)
        else:  # an unreadable file has the text "", so the key would not tell one cause from another
            work(findings)


def check_secrets(config: Config, findings: Findings, now: float, memo: Memo) -> None:
    """Check that each secret has a usable form, and show nothing of its content.

    Args:
        now: Unix seconds.
    """
    access_checks.check_certificate(config, findings, now)
    admin_checks.check_tokens(config, findings)
    store_checks.check_secrets(config, findings)
    reconcile_checks.check_secrets(config, findings, now, memo)
    for name, source in config.sources.items():
        say = say_at(config.place("sources", name), findings)
        for number, ref in enumerate(source.secrets):
            check_signing_secret(("secrets", number), ref, config.secrets, say)
    for name, sink in config.sinks.items():
        say = say_at(config.sink_places[name], findings)
        type_of(sink).check_secrets(sink, say, Resolved(_files(name, config), config.secrets, now, memo.get))


def _check_source(source: SourceSettings, where: Place, findings: Findings) -> None:
    say = say_at(where, findings)
    path = source.path or ""
    if not re.fullmatch(r"/[!-~]*", path) or set(path) & set("?#%\\"):
        say("path", "must begin with /, and cannot contain ?, #, % or \\")
    elif path.startswith("//") or {".", ".."} & set(path.split("/")):
        say("path", "begins with //, or has a . or .. between its slashes, so clients would send another path")
    if source.verify == "standard_webhooks" and not source.secrets:
        hint = 'add the signing secret from the webhook page, or write verify = "none" to accept unsigned webhooks'
        say("secrets", "has no secret", hint)
    if source.verify == "none" and source.secrets:
        say("verify", 'is "none", but there are secrets', "remove one of the two")
    if 0 < source.silent_after < _SHORTEST_SILENCE:
        say("silent_after", f"must be 0s, or at least {_SHORTEST_SILENCE}")
    if source.tolerance <= 0:
        say("tolerance", "must be longer than 0s")
    for event_type, fields in source.identity.items():
        for number, path in enumerate(fields):
            if not all(path.split(".")):
                say(("identity", event_type, number), f'"{path}" is not a path such as state.primary')


def _check_sink(sink: SinkSettings, where: Place, files: Files, findings: Findings) -> None:
    say = say_at(where, findings)
    _check_delivery(sink, say)
    type_of(sink).check(sink, say, files)


def _check_delivery(sink: SinkSettings, say: Say) -> None:
    """Check the keys that every sink has."""
    if not sink.retry:
        say("retry", "is an empty list, so there would be no attempt", 'write at least ["0s"]')
    if not 1 <= sink.concurrency <= _MOST_CONCURRENT:
        say("concurrency", f"must be between 1 and {_MOST_CONCURRENT}")
    if sink.breaker.failures < 1:
        say(("breaker", "failures"), "must be at least 1")
    if sink.breaker.failures >= len(sink.retry) > 0:
        wrong = f"opens after {sink.breaker.failures} failures, but a delivery is already dead after {len(sink.retry)}"
        say("breaker", wrong, "lower failures, or a delivery dies before the breaker protects the others", level="warning")
    if sink.timeout <= 0:
        say("timeout", "must be longer than 0s")
    if sink.give_up_after <= 0:
        say("give_up_after", "must be longer than 0s")
    if 0 < sink.failing_after < _SHORTEST_FAILURE:
        say("failing_after", f"must be 0s, or at least {_SHORTEST_FAILURE}")
    if sink.breaker.probe <= 0:
        say(("breaker", "probe"), "must be longer than 0s")


def _files(name: str, config: Config) -> Files:
    return Files(config.sink_places[name].file.parent, config.sink_files.get(name, {}))
