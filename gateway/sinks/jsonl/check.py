"""The rules about the values of a `jsonl` sink."""

from __future__ import annotations

from gateway.sinks.checking import Files, Say
from gateway.sinks.jsonl.config import JsonlConfig


def check(config: JsonlConfig, say: Say, files: Files) -> None:
    if not config.path:
        say("path", "is empty")
