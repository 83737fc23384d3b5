"""Deliveries, secrets and opened sinks for the tests of sinks."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from gateway.core.events import Event, decode
from gateway.core.ledger import Facts
from gateway.core.outcome import Outcome
from gateway.core.records import message_about
from gateway.core.secrets import SecretRef
from gateway.core.values import Duration
from gateway.host.clock import Clock
from gateway.host.environment import Environment
from gateway.sinks import open_sink, type_of
from gateway.sinks.base import Found, Opening, Outgoing, Sink, SinkSettings
from tests.fakes import START, FakeClock
from tests.support.webhooks import SECRET

MESSAGE_ID = "019c8f0e7a417c55b1d204a96bd3e871"
DELIVERY_ID = f"{MESSAGE_ID}-erp"
PATIENCE = 60.0
"""Seconds after which a test fails because something hangs."""
SHORT = Duration("1s")
"""The timeout of an attempt that hangs: long enough to connect on a busy machine."""
LONG = Duration("300s")
"""A timeout that no test reaches: a test that waits for it fails by PATIENCE."""

SECRETS = {
    "SIGNING": SECRET,
    "BEARER": "bearer-8Hq2-never-shown",
    "TENANT": "tenant-41xZ-never-shown",
    "PASSWORD": "password-7Kp9-never-shown",
    "HOOK": "http://127.0.0.1:1/services/T0/B0/hook-5Wd3-never-shown",
}


def ref(name: str) -> SecretRef:
    return SecretRef(env=name)


def opening(base: Path, clock: Clock | None = None, /, **secrets: str) -> Opening:
    """Make an opening that resolves secrets by the real rules, but not from the environment of this process."""
    environment = Environment(SECRETS | secrets)
    return Opening(name="erp", base=base, secret=lambda ref: environment.secret(ref, base), clock=clock or FakeClock())


def opened(config: SinkSettings, base: Path, clock: Clock | None = None, /, **secrets: str) -> contextlib.aclosing[Sink]:
    return contextlib.aclosing(open_sink(config, opening(base, clock, **secrets)))


def outgoing(
    body: bytes = b'{"event_type":"state_change","sr_uuid":"sr-1","reference_id":"BAG-1",'
    b'"state":{"primary":"COMPLETE","supplement":"APPROVED"},"timestamp":"2026-03-02T09:14:27.512Z"}',
    *,
    delivery_id: str = DELIVERY_ID,
    sender_id: str | None = "msg_2f9b",
    content_type: str | None = "application/json",
    source: str = "legitmark",
    attempt: int = 1,
    facts: Facts | None = None,
) -> Outgoing:
    """Make the delivery that a lane makes of a message; the event is None if the body is not a JSON object."""
    decoded = decode(body)
    message = message_about(
        decoded if isinstance(decoded, Event) else None,
        body,
        message_id=MESSAGE_ID,
        source=source,
        received_at=START,
        sender_id=sender_id,
        content_type=content_type,
        facts=facts,
    )
    return Outgoing(delivery_id, message, attempt)


async def probe(config: SinkSettings, base: Path, clock: Clock | None = None, /, **secrets: str) -> Found:
    return await type_of(config).probe(config, opening(base, clock, **secrets))


async def send(sink: Sink, delivery: Outgoing | None = None) -> Outcome:
    async with asyncio.timeout(PATIENCE):
        return await sink.send(delivery or outgoing())


async def attempt(sink: Sink, timeout: float) -> Outcome:
    """Send as a lane does: after `timeout` seconds the attempt is cut, and raises TimeoutError at once."""

    async def cut() -> Outcome:
        async with asyncio.timeout(timeout):
            return await sink.send(outgoing())

    sending = asyncio.ensure_future(cut())
    await asyncio.wait([sending], timeout=timeout + 3)
    assert sending.done(), "it goes on after its time is over"
    return await sending
