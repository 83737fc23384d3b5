"""The line that a `jsonl` sink would write."""

from __future__ import annotations

from gateway.sinks.base import Outgoing
from gateway.sinks.jsonl.config import JsonlConfig
from gateway.sinks.jsonl.sink import render


def preview(config: JsonlConfig, delivery: Outgoing, now: float) -> bytes:
    return render(delivery)
