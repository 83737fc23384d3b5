"""Connects to Slack as a `slack` sink would, and with a bot's token asks whether Slack accepts it. Posts nothing."""

from __future__ import annotations

import asyncio

from gateway.core.proxies import Proxy
from gateway.sinks.base import Found, Opening
from gateway.sinks.net.probe import probe_url
from gateway.sinks.net.proxy import configured
from gateway.sinks.slack.config import SlackConfig
from gateway.sinks.slack.sink import SlackSink


async def probe(config: SlackConfig, opening: Opening) -> Found:
    try:
        proxy = configured(config.proxy, opening)
    except ValueError as error:
        return Found(False, f"{error}", 0.0)
    if config.webhook_url is None:
        return await _probe_api(config, opening, proxy)
    url, networks, seconds = opening.secret(config.webhook_url).reveal(), config.allow_networks, config.probe_seconds
    return await probe_url(url, key="webhook_url", networks=networks, seconds=seconds, clock=opening.clock, proxy=proxy)


async def _probe_api(config: SlackConfig, opening: Opening, proxy: Proxy | None) -> Found:
    networks, clock = config.allow_networks, opening.clock
    found = await probe_url(config.api, key="api", networks=networks, seconds=config.probe_seconds, clock=clock, proxy=proxy)
    if not found.ok:
        return found
    begun, sink = clock.monotonic(), SlackSink(config, opening)
    try:
        async with asyncio.timeout(max(config.probe_seconds - found.seconds, 1.0)):
            taken, said = await sink.check_token()
    except TimeoutError:
        taken, said = False, "auth.test: no answer in time"
    finally:
        await sink.aclose()
    seconds = found.seconds + clock.monotonic() - begun
    return Found(taken, f"{found.detail}, {said}" if taken else said, seconds)
