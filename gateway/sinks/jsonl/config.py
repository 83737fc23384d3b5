"""The keys of a `jsonl` sink."""

from __future__ import annotations

from typing import Literal

from gateway.sinks.base import SinkSettings


class JsonlConfig(SinkSettings, frozen=True, kw_only=True, tag_field="type", tag="jsonl"):
    path: str
    fsync: Literal["never", "batch", "always"] = "batch"
    """When a line counts as delivered: `never`, once the system has it; `batch`, once the disk has it and every line that waited
    with it; `always`, once the disk has this line alone."""
    concurrency: int = 1
