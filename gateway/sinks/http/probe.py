"""Connects to the host of an `http` sink: name, connection, TLS. Sends no request."""

from __future__ import annotations

from gateway.sinks.base import Found, Opening
from gateway.sinks.http.config import HttpConfig
from gateway.sinks.http.sink import tls_context
from gateway.sinks.net.probe import probe_url
from gateway.sinks.net.proxy import configured


async def probe(config: HttpConfig, opening: Opening) -> Found:
    try:
        tls, proxy = tls_context(config, opening), configured(config.proxy, opening)
    except ValueError as error:
        return Found(False, f"{error}", 0.0)
    networks, seconds = config.allow_networks, config.probe_seconds
    return await probe_url(config.url, key="url", networks=networks, seconds=seconds, clock=opening.clock, tls=tls, proxy=proxy)
