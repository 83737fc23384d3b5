"""Connects to the service of a `pager` sink, and sends nothing."""

from __future__ import annotations

import asyncio

from gateway.sinks.base import Found, Opening
from gateway.sinks.net.probe import Way
from tests.sinks.pager.config import PagerConfig


async def probe(config: PagerConfig, opening: Opening) -> Found:
    networks, seconds = config.allow_networks, config.probe_seconds
    way = Way(config.host, config.port, key="host", networks=networks, seconds=seconds, clock=opening.clock)
    try:
        async with asyncio.timeout(way.seconds):
            with await way.dialler.connect(await way.look_up()) as dialled:
                return way.leads_to(dialled.getpeername())
    except (OSError, UnicodeError) as error:
        return way.ends(error)
