"""The `http` sink: an internal callback. It gets the body byte for byte as it came, or inside an envelope, and signed if the
operator names a secret."""

from __future__ import annotations

import base64
import ssl

from gateway.core.outcome import Outcome, Retry
from gateway.core.secrets import SecretRef
from gateway.core.signature import Key
from gateway.sinks.base import Opening, Outgoing
from gateway.sinks.http.config import HttpConfig
from gateway.sinks.http.request import render
from gateway.sinks.net import trust
from gateway.sinks.net.address_guard import AddressGuard


def tls_context(config: HttpConfig, opening: Opening) -> ssl.SSLContext | None:
    """Return the TLS context of a sink that has one of its own, else None. Raises ValueError, as `trust.context` does."""
    if config.ca is None and config.certificate is None:
        return None
    return trust.context(
        None if config.ca is None else opening.base / config.ca,
        None if config.certificate is None else opening.secret(config.certificate),
        None if config.key is None else opening.secret(config.key),
    )


class HttpSink:
    def __init__(self, config: HttpConfig, opening: Opening) -> None:
        from gateway.sinks.net.http_client import Transport  # a command that sends nothing need not wait for these imports
        from gateway.sinks.net.proxy import configured

        self._config = config
        self._clock = opening.clock
        self._keys = [Key(opening.secret(ref)) for ref in config.secrets]
        secrets = [opening.secret(ref).reveal().removeprefix("whsec_") for ref in config.secrets]
        headers: dict[str, str] = {}
        for name, value in config.headers.items():
            headers[name] = opening.secret(value).reveal() if isinstance(value, SecretRef) else value
            secrets += [headers[name]] if isinstance(value, SecretRef) else []
        if config.bearer is not None:
            secrets.append(token := opening.secret(config.bearer).reveal())
            headers["authorization"] = f"Bearer {token}"
        if config.basic is not None:
            password = opening.secret(config.basic.password).reveal()
            login = base64.b64encode(f"{config.basic.username}:{password}".encode()).decode()  # RFC 7617, section 2.1: UTF-8
            secrets += [password, login]
            headers["authorization"] = f"Basic {login}"
        guard = AddressGuard.of(config.allow_networks)
        self._transport = Transport(
            guard,
            config.concurrency,
            config.timeout,
            headers=headers,
            tls=tls_context(config, opening),
            secrets=secrets,
            proxy=configured(config.proxy, opening),
        )

    async def send(self, delivery: Outgoing) -> Outcome:
        request = render(delivery, self._keys, self._clock.now(), self._config.format, marks_late=self._config.marks_late)
        del delivery  # its decoded event takes many times the memory of the body, and the answer may take long
        answer = await self._transport.request(self._config.method, self._config.url, request.body, request.headers)
        if isinstance(answer, Retry):
            return answer
        return answer.outcome(self._clock.now(), self._config.reject_on)

    async def aclose(self) -> None:
        await self._transport.aclose()
