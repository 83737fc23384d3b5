"""Pieces of `gateway.toml` that many tests need."""

from __future__ import annotations

import json

from tests.support.receivers import Receiver

GOOD_AND_DEAD = """
[sinks.archive]
type = "jsonl"
path = "events.jsonl"

[sinks.erp]
type = "http"
on_stale = "annotate"
url = "http://127.0.0.1:9/nobody-listens-here"
retry = ["0s"]
"""
"""Two sinks: `archive` takes everything, and `erp` is tried once where nobody listens."""


def http_sink(receiver: Receiver, name: str = "erp", more: str = "", path: str | None = None) -> str:
    """An HTTP sink that sends to the receiver; `more` is further TOML for its table."""
    return f'[sinks.{name}]\ntype = "http"\non_stale = "annotate"\nurl = "{receiver.url(path or f"/{name}")}"\n{more}\n'


def route(*sinks: str, more: str = "", source: str = "legitmark") -> str:
    """A route that sends all events of a source to the sinks; the gateway's own events need `source="gateway"`."""
    return f'[[routes]]\nsource = "{source}"\nsinks = {json.dumps(sinks)}\n{more}\n'
