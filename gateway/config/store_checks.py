"""Checks on [store] and [node]: where the database is, and what only several nodes on PostgreSQL have. They raise nothing."""

from __future__ import annotations

import re

from gateway.config.location import Finding, Findings, say_at
from gateway.config.settings import Config, NodeSettings, StoreSettings
from gateway.core.database_url import parse_database_url
from gateway.core.urls import UrlError
from gateway.core.values import Duration

_SHORTEST_LEASE = Duration("5s")
"""A lease is renewed every fifth of it: below this, one slow answer of the database would lose it."""
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}")
"""A name that PostgreSQL takes without quotes; it cuts longer ones off (NAMEDATALEN)."""
_RESERVED = ("pg_", "information_schema")
_NODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


def check(config: Config, findings: Findings) -> None:
    """Run every check that needs no secret."""
    store, node = config.store, config.node
    say = say_at(config.place("store"), findings)
    if store.retention <= 0:
        say("retention", "must be longer than 0s")
    if store.path is not None and store.url is not None:
        say("url", "and path are both set, but there is one database", "keep path for SQLite, or url for PostgreSQL")
    if _SCHEMA.fullmatch(store.schema) is None:
        say(
            "schema",
            "cannot be the name of a schema",
            "use lower-case letters, digits and _, at most 63, and begin with a letter",
        )
    elif store.schema.startswith(_RESERVED):
        say("schema", "is a name that PostgreSQL keeps for itself", 'write "gateway"')
    say = say_at(config.place("node"), findings)
    if node.lease < _SHORTEST_LEASE:
        say("lease", f"must be at least {_SHORTEST_LEASE}")
    if node.name is not None and _NODE.fullmatch(node.name) is None:
        hint = "use letters, digits, ., _ and -, at most 63, and begin with a letter or a digit"
        say("name", "cannot be the name of a node", hint)
    if store.url is None:
        _note_unused(config, findings)


def check_secrets(config: Config, findings: Findings) -> None:
    """Check the form of the URL, and show nothing of its password."""
    ref = config.store.url
    if ref is None or ref not in config.secrets:
        return
    say = say_at(config.place("store"), findings)
    try:
        url = parse_database_url(config.secret(ref).reveal())
    except UrlError as error:
        say("url", f"the secret of {ref} {error.wrong}", error.hint)
        return
    if url.may_be_read_on_the_way:
        wrong = f"the secret of {ref} permits a connection without TLS to another machine"
        say("url", wrong, "add ?sslmode=verify-full, or the password and the messages may be read on the way", level="warning")


def _note_unused(config: Config, findings: Findings) -> None:
    """Warn of keys that only have a meaning on PostgreSQL."""
    for table, settings, default in (("store", config.store, StoreSettings()), ("node", config.node, NodeSettings())):
        for key in ("schema", "durability", "name", "lease"):
            if getattr(settings, key, None) != getattr(default, key, None):
                where = config.place(table, key)
                findings.append(Finding(where, "has no effect without [store] url", "remove it, or set url", level="warning"))
