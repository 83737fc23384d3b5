"""The line that a `pager` sink would send, with `***` in place of its token."""

from __future__ import annotations

from gateway.sinks.base import HIDDEN, Outgoing
from tests.sinks.pager.config import PagerConfig
from tests.sinks.pager.sink import line_of


def preview(config: PagerConfig, delivery: Outgoing, now: float) -> bytes:
    return line_of(config, HIDDEN, delivery)
