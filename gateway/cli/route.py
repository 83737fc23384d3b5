"""`gateway route`: shows where an event would go, and why. Sends nothing."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from gateway.cli.completion import sink_names
from gateway.cli.errors import UsageError
from gateway.cli.events import event_with_facts, named_bytes
from gateway.cli.explain import Explainer, Verdict
from gateway.cli.options import AdminOption, ConfigOption, EventArgument, FactOption, JsonOption, SetOption, configuration
from gateway.cli.output import console, printable, to_json
from gateway.config import Config
from gateway.config.decode import suggestion
from gateway.core import events
from gateway.core.events import Event, Milestone
from gateway.core.joins import REJECTION
from gateway.core.ledger import Facts
from gateway.core.routing import Decision
from gateway.core.values import Duration

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text


def route(
    event: EventArgument,
    /,
    *,
    config: ConfigOption = None,
    set_: SetOption = None,
    fact: FactOption = None,
    source: Annotated[str | None, Parameter(help="The source of the event; default: the first one.")] = None,
    expect: Annotated[str | None, Parameter(help="Exit with 1 unless exactly these sinks get it: a,b.")] = None,
    render: Annotated[
        str | None, Parameter(completer=sink_names, help="Print the bytes that this sink would get, *** for secrets.")
    ] = None,
    partner: Annotated[
        str | None, Parameter(help="With --render: the event that goes out in the same message, named as EVENT is.")
    ] = None,
    json_: JsonOption = False,
    admin: AdminOption = None,
) -> int:
    """Show which routes an event takes, and the first condition that failed for the others. Send nothing, read no secret.

    Example: gateway route counterfeit --expect erp,fraud_desk

    Parameters
    ----------
    event
        The name of a sample, a file, - for standard input, or the id of a message in the running gateway.
    """
    if render is not None and json_:
        raise UsageError("--render and --json can't be combined: one prints bytes, the other JSON")
    if partner is not None and render is None:
        raise UsageError("--partner needs --render: it shows the message that tells both events")
    loaded = configuration(config, secrets=False)
    name = source or next(iter(loaded.sources))
    if name not in loaded.sources and name != "gateway":
        raise UsageError(f'there is no source "{name}"; there is {", ".join(loaded.sources)}')
    if render is not None and render not in loaded.sinks:
        raise UsageError(f'there is no sink "{render}"; {suggestion(render, loaded.sinks)}')
    body, facts = event_with_facts(event, set_, fact, config, admin)
    decoded = events.decode(body)
    if isinstance(decoded, events.Undecodable):
        raise UsageError(f"{decoded.detail}: this message would be quarantined, and not routed")
    explainer = Explainer(loaded)
    decision = explainer.decide(decoded, name, facts)
    waits = explainer.waits(decoded, name, facts)
    if render is not None:
        with_it = None if partner is None else _other_half(loaded, render, decoded, partner, config, admin)
        _print_rendering(loaded, render, decoded, body, name, facts, with_it)
        if render not in decision.sinks:
            print(f'gateway: by the routes, this event does not go to "{render}"', file=sys.stderr)
    elif json_:
        print(to_json(_document(loaded, explainer.explain(decoded, name, facts), decision, decoded, name, waits)))
    else:
        _print_tree(console(), explainer.explain(decoded, name, facts), decision, decoded, name)
        _print_waits(console(), waits, decoded)
    if expect is None:
        return 0
    wanted = {part.strip() for part in expect.split(",") if part.strip()}
    if wanted == set(decision.sinks):
        return 0
    out = console() if render is None and not json_ else None
    said = _difference(wanted, decision.sinks, loaded.sinks)
    if out is not None:
        out.print(said, style="bold red", markup=False)
    else:
        print(f"gateway: {said}", file=sys.stderr)
    return 1


def _print_tree(out: Console, verdicts: Sequence[Verdict], decision: Decision, event: Event, source: str) -> None:
    from rich.cells import cell_len
    from rich.text import Text

    head = f"{event.event_type or 'no event_type'}  milestone {event.milestone.value}  source {source}"
    out.print(Text(printable(head), "bold"))
    branch, last = ("|-- ", "`-- ") if out.options.ascii_only else ("├── ", "└── ")
    names = max((cell_len(verdict.name) for verdict in verdicts), default=0)
    spots = max((cell_len(verdict.spot.of_line) for verdict in verdicts), default=0)
    for number, verdict in enumerate(verdicts):
        name, spot = verdict.name, verdict.spot.of_line
        style = "bold green" if verdict.trace.matched else "dim"
        line = Text.assemble(
            (last if number == len(verdicts) - 1 else branch, "dim"),
            ("+ " if verdict.trace.matched else "- ", style),
            (name + " " * (names - cell_len(name)), style),
            ("  " + spot + " " * (spots - cell_len(spot)), "cyan"),
        )
        out.print(line.append_text(_what_follows(verdict)))
    on_purpose = "nobody: suppressed" if decision.suppressed else "nobody, on purpose"
    told = ", ".join(decision.sinks) or (on_purpose if decision.routes else "nobody: unrouted")
    out.print(Text(f"-> {told}", "bold" if decision.sinks else "yellow"))
    if decision.suppressed:
        out.print(Text(f'late, so on_stale = "suppress" keeps it from {", ".join(decision.suppressed)}', "yellow"))


def _print_waits(out: Console, waits: Mapping[str, float], event: Event) -> None:
    """Say at which sinks the event waits, and for what."""
    other = "QC/REJECTED" if event.milestone is Milestone.NEEDS_RESUBMISSION else "media_rejected"
    for sink, seconds in waits.items():
        out.print(f"{sink}: waits up to {Duration(seconds)} for the {other} of the same round", style="yellow", markup=False)


def _what_follows(verdict: Verdict) -> Text:
    """Return the sinks of a route that applied, or why it did not apply."""
    from rich.text import Text

    if verdict.trace.matched:
        marks = [word for word in ("final", "fallback") if getattr(verdict.rule.route, word)]
        sinks = ", ".join(verdict.rule.route.sinks) or "nobody, on purpose"
        return Text.assemble((f"  -> {sinks}{''.join(f'  ({mark})' for mark in marks)}", "green"))
    return Text.assemble((f"  {verdict.why_not}", "yellow"), (f"  {verdict.failed}", "cyan"))


def _document(
    config: Config, verdicts: Sequence[Verdict], decision: Decision, event: Event, source: str, waits: Mapping[str, float]
) -> dict[str, Any]:
    """The keys are those of docs/reference.md, "Command line"; `file` beside them names the file that the line is in."""
    known = config.sources.get(source)
    routes = []
    for verdict in verdicts:
        failed = verdict.trace.failed
        shown = None
        if failed is not None and verdict.failed is not None:
            spot = verdict.failed
            shown = {"path": failed.path, "expected": failed.expected, "actual": failed.actual}
            shown |= {"line": spot.line, "column": spot.column, "file": str(spot.file)}
        routes.append({"name": verdict.trace.name, "matched": verdict.trace.matched, "failed": shown})
    return {
        "sinks": decision.sinks,
        **({"suppressed": decision.suppressed} if decision.suppressed else {}),
        **({"waits": waits} if waits else {}),
        "milestone": event.milestone.value,
        "identity": events.identity(event, known.identity_fields() if known else {}) or "",
        "routes": routes,
    }


def _difference(wanted: Collection[str], came: Collection[str], known: Collection[str]) -> str:
    missing, more = sorted(set(wanted) - set(came)), sorted(set(came) - set(wanted))
    parts = [f"{sink} is missing" + ("" if sink in known else " (there is no such sink)") for sink in missing]
    parts += [f"{sink} is not expected" for sink in more]
    return printable(f"expected {', '.join(sorted(wanted)) or 'nobody'}: {', '.join(parts)}")


def _other_half(config: Config, sink: str, event: Event, partner: str, file: Path | None, admin: str | None) -> bytes:
    """Return the body of the event that goes out in the same message. Raises UsageError if the two make no rejection."""
    if not config.sinks[sink].joins:
        raise UsageError(f'"{sink}" tells each event alone: only slack and email sinks join two')
    body = named_bytes(partner, file, admin)
    other = events.decode(body)
    if isinstance(other, events.Undecodable) or {event.milestone.value, other.milestone.value} != REJECTION:
        raise UsageError("a message tells two events only of a rejection: a QC/REJECTED and a media_rejected")
    if event.sr_uuid != other.sr_uuid:
        raise UsageError(f"the two events are of different service requests: {event.sr_uuid} and {other.sr_uuid}")
    return body


def _print_rendering(
    config: Config, sink: str, event: Event, body: bytes, source: str, facts: Facts | None, partner: bytes | None
) -> None:
    """Print exactly the bytes; on a terminal without characters that could draw on it."""
    from gateway.cli.preview import first_attempt
    from gateway.host.clock import Clock
    from gateway.sinks import type_of

    clock, settings = Clock(), config.sinks[sink]
    shown = type_of(settings).preview(settings, first_attempt(sink, event, body, source, clock, facts, partner), clock.now())
    if sys.stdout.isatty():
        for line in shown.decode(errors="replace").splitlines():
            print(printable(line))
    else:
        sys.stdout.buffer.write(shown)
        sys.stdout.buffer.flush()
