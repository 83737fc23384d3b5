"""`gateway status`: shows the state of the running gateway on one screen, and what needs a person."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from gateway.cli.client import connected
from gateway.cli.options import AdminOption, ConfigOption, JsonOption
from gateway.cli.output import console, printable, size, to_json
from gateway.core.attention import MOST_COUNTED, Attention, Flow, GatewayStatus, SinkStatus

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_SECONDS = 5.0
"""Seconds to wait for an answer. It takes milliseconds, however long the queues are."""
_WIDTH = 80
_LABEL = 13
_LONGEST_NAME = 24
"""Characters of a sink's name in the table; a longer name gets a line of its own."""
_STATES = {
    "ok": ("ok", "green"),
    "rate_limited": ("rate-limited", "yellow"),
    "breaker_open": ("breaker open", "bold red"),
    "paused": ("paused", "yellow"),
    "held": ("held: no such sink", "bold red"),
}


def status(*, json_: JsonOption = False, config: ConfigOption = None, admin: AdminOption = None) -> int:
    """Show the state of the running gateway: configuration, traffic, each sink, the disk, and what needs a person.

    A person is needed if the gateway is not ready, if the last reload was refused, if the disk has less than twice
    store.min_free, if the TLS certificate ends within 21 days, if an invariant was violated, or if a message was not judged; if
    a source refuses every request, or if the clock of this host seems wrong; if a delivery is dead, if a breaker is open, or if
    deliveries wait for a sink that is not configured; and if a delivery has waited for an hour, behind a pause too.

    Exit codes: 0 all is well, 1 something needs a person, 69 no gateway answers.

    Example: gateway status
    """
    return asyncio.run(_status(json_, config, admin))


async def _status(as_json: bool, config: Path | None, admin: str | None) -> int:
    async with connected(config, admin) as client:
        answer = await client.get("/api/status", seconds=_SECONDS)
    if as_json:
        print(to_json(answer))
    else:
        _show(msgspec.convert(answer, GatewayStatus), console())
    return 1 if answer["attention"] else 0


def _show(status: GatewayStatus, out: Console) -> None:
    from rich.text import Text

    ready = ("ready", "bold green") if status.ready else ("not ready", "bold red")
    out.print(Text.assemble((f"legitmark-gateway {status.version}", "bold"), "  ", ready, "  ", (_iso(status.time), "dim")))
    for label, fact in _facts(status):
        for number, line in enumerate(_wrapped(fact, out, _WIDTH - 2 - _LABEL)):
            out.print(Text.assemble("  ", (f"{'' if number else label:<{_LABEL}}", "dim"), line))
    out.print(f"  if this host stops now, Legitmark keeps retrying for about {_span(status.outage_budget_seconds)}")
    out.print()
    names = [sink.sink for sink in status.sinks if len(sink.sink) <= _LONGEST_NAME]
    width = max(map(len, [*names, "sink"]))
    out.print(f"  {'sink':<{width}} {'waiting':>11} {'oldest':>11} {'dead':>9}  state", style="dim")
    for sink in status.sinks:
        _show_sink(sink, status.time, width, out)
    out.print()
    if not status.attention:
        out.print("nothing needs a person", style="bold green")
        return
    out.print("needs a person:", style="bold red")
    for one in status.attention:
        _show_attention(one, out)


def _facts(status: GatewayStatus) -> Iterator[tuple[str, str]]:
    now, running = status.time, status.config
    yield "up since", f"{_iso(status.started_at)} ({_between(status.started_at, now)})"
    yield "runs by", running.file
    yield "", f"sha256 {running.sha256[:12]}, loaded {_iso(running.loaded_at)} ({_between(running.loaded_at, now)} ago)"
    if running.refused is not None:
        yield "", f"a reload was refused at {_iso(running.refused.time)}"
    since = "over the last hour" if now - status.started_at >= timedelta(hours=1) else "since the start"
    yield "received", _flow(status.received, since)
    yield "delivered", _flow(status.delivered, since)
    yield "refused", _flow(status.refused, since)
    if status.quarantined or status.unrouted:
        which = "quarantined" if status.quarantined else "unrouted"
        kept = f"{_counted(status.quarantined)} quarantined, {_counted(status.unrouted)} unrouted"
        yield "set aside", f"{kept} (gateway messages --status {which})"
    for source in status.sources:
        if source.kept_refused:
            number = f"{source.kept_refused:,} refused requests of {source.source} are kept ({size(source.kept_refused_bytes)})"
            yield "", f"{number}: gateway reverify {source.source}"
    yield "disk", f"{size(status.disk_free_bytes)} free; webhooks are answered 503 below {size(status.disk_min_free_bytes)}"
    yield "database", f"{size(status.database_bytes)}, write-ahead log {size(status.wal_bytes)}"
    if (filling := status.ledger_filling) is not None:
        share = 100 * filling.read_to // max(filling.newest, 1)
        yield "ledger", f"reads in older messages: {filling.read_to:,} of {filling.newest:,} ({share} %)"
        yield "", "until it has them all, new messages have no facts, and `gateway sr` tells only what it has"
    yield "clock", "seems wrong: webhooks come with other times" if status.clock_suspect else "agrees with the senders"
    if (expires := status.certificate_expires_at) is not None:
        left = f"in {_between(now, expires)}" if expires > now else "that is over"
        yield "certificate", f"expires {_iso(expires)} ({left})"


def _show_sink(sink: SinkStatus, now: datetime, width: int, out: Console) -> None:
    from rich.text import Text

    name = sink.sink
    if len(name) > _LONGEST_NAME:
        out.print(f"  {name}", markup=False)
        name = ""
    oldest = _span(sink.oldest_seconds) if sink.queued else "-"
    numbers = f"  {name:<{width}} {_number(sink.queued):>11} {oldest:>11} {_number(sink.dead):>9}  "
    out.print(Text.assemble(numbers, _STATES[sink.state]))
    for line in _about(sink, now):
        text = Text(f"    {printable(line)}", style="dim")
        text.truncate(_WIDTH, overflow="ellipsis")
        out.print(text)


def _about(sink: SinkStatus, now: datetime) -> Iterator[str]:
    if sink.paused_at is not None:
        yield f"paused by {sink.paused_by or 'somebody'} {_between(sink.paused_at, now)} ago"
    if sink.next_probe_at is not None:
        yield f"next probe in {_between(now, sink.next_probe_at)}"
    if sink.held_until is not None:
        yield f"it asked to wait for {_between(now, sink.held_until)}"
    if (last := sink.last_error) is not None:
        yield f"last error {_between(last.time, now)} ago: {last.reason} {last.detail}"


def _show_attention(one: Attention, out: Console) -> None:
    name = one.sink or one.source
    about = f"{name}: {one.detail}" if name else one.detail
    for line in _wrapped(about, out, _WIDTH - 2):
        out.print("  ", line, sep="")
    out.print(f"      {printable(one.run)}", style="bold", markup=False)


def _wrapped(text: str, out: Console, width: int) -> list[Text]:
    """Break a text into lines of at most `width` columns; wide characters take two."""
    from rich.text import Text

    lines = list(Text(printable(text), overflow="fold").wrap(out, width))
    for line in lines:
        line.rstrip()
    return lines


def _flow(flow: Flow, since: str) -> str:
    return f"{flow.minute:,g} a minute; on average {since} {flow.hour:,g} a minute"


def _number(number: int | None) -> str:
    return "?" if number is None else f"{number:,}"


def _counted(number: int | None) -> str:
    return f"{number:,} or more" if number == MOST_COUNTED else _number(number)


def _iso(instant: datetime) -> str:
    return f"{instant:%Y-%m-%dT%H:%M:%SZ}"


def _between(earlier: datetime, later: datetime) -> str:
    return _span((later - earlier).total_seconds())


def _span(seconds: float) -> str:
    """Return a duration in its two largest units: minutes alone, seconds below a minute."""
    minutes = int(max(seconds, 0.0) // 60)
    hours, days = minutes // 60, minutes // 1440
    if days:
        return f"{days} d {hours % 24} h"
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min" if minutes else f"{int(max(seconds, 0.0))} s"
