"""`gateway sr` and `gateway srs`: what service requests went through, who was told, and who was not and why."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from gateway.cli.client import RequestRefused, connected, segment
from gateway.cli.completion import request_names, sink_names, source_names, state_names
from gateway.cli.errors import UsageError
from gateway.cli.options import AdminOption, ConfigOption, JsonOption, instant
from gateway.cli.output import console, counted, cut, for_people, printable, to_json
from gateway.cli.traces import arrival, hindsight, marks, said_of_act
from gateway.config.decode import suggestion
from gateway.core.events import Milestone
from gateway.core.ledger import KNOWN_STATES, milestone_of

if TYPE_CHECKING:
    from rich.console import Console

_PAGE = 100
_LONGEST_UUID = 500
"""Characters of a uuid that names the service request of the further pages: a longer one may not fit into a URL."""
FlagName = Literal["skipped", "verdict_changed", "reopened", "ended_twice", "after_invalidation", "undated", "future", "drift"]
"""The flags of a service request (`core.ledger.Flag`)."""
_FLAGS: dict[str, str] = {
    "skipped": "states that it must have passed through have not come",
    "verdict_changed": "its verdict changed",
    "reopened": "it went on after its end",
    "ended_twice": "it ended twice: complete, and cancelled",
    "after_invalidation": "it went on after it was invalidated",
    "undated": "an event has no readable timestamp",
    "future": "an event is dated more than 5 minutes ahead",
    "drift": "an event is not understood by this version",
}


def sr(
    name: Annotated[str, Parameter(name="ID", allow_leading_hyphen=True, completer=request_names)],
    /,
    *,
    payload: Annotated[bool, Parameter(negative="", help="Print the body of each event, too.")] = False,
    sink: Annotated[
        list[str] | None, Parameter(negative="", completer=sink_names, help="Speak of this sink, too. Repeatable.")
    ] = None,
    source: Annotated[
        str | None, Parameter(completer=source_names, help="Only the service request of this source, if several have the name.")
    ] = None,
    limit: Annotated[int, Parameter(name=["--limit", "-n"], show_default=True, help="The newest events that are shown.")] = 100,
    json_: JsonOption = False,
    config: ConfigOption = None,
    admin: AdminOption = None,
) -> int:
    """Show what a service request went through, in the order in which it happened, and what became of each event at each sink.

    If a sink was not told of an event, the reason follows: by the rules of then, and by those of now if they differ.

    Exit codes: 0 found, 1 no request has this name or several have it, 69 no gateway answers.

    Example: gateway sr ITEM-1001

    Parameters
    ----------
    name
        An SR uuid or its beginning, a reference id in any case, or the id of a message.
    """
    if limit < 1:
        raise UsageError(f"--limit {limit} is not a number of events: give 1 or more")
    if not name.strip():
        raise UsageError("the ID is empty: is a variable not set?")
    query = {"sinks": ",".join(sink) if sink else None, "bodies": "true" if payload else None, "source": source}
    return asyncio.run(_sr(name, query, limit, json_, config, admin))


def srs(
    *,
    state: Annotated[
        list[str] | None,
        Parameter(negative="", completer=state_names, help="Only in this state: a milestone, or QC/PENDING. Repeatable."),
    ] = None,
    flag: Annotated[list[FlagName] | None, Parameter(negative="", help="Only with this flag. Repeatable.")] = None,
    stalled: Annotated[
        bool, Parameter(negative="", help="Only those that a [[watch]] rule told of, and that did not move on.")
    ] = False,
    source: Annotated[str | None, Parameter(completer=source_names, help="Only those of this source.")] = None,
    since: Annotated[str | None, Parameter(help='Only those whose state began since: "2h" ago, "7d", or a time.')] = None,
    until: Annotated[str | None, Parameter(help='Only those whose state began before: "2h" ago, "7d", or a time.')] = None,
    limit: Annotated[int, Parameter(name=["--limit", "-n"], show_default=True, help="How many to list at most.")] = 100,
    json_: JsonOption = False,
    config: ConfigOption = None,
    admin: AdminOption = None,
) -> int:
    """List service requests, the one whose present state began last first.

    Example: gateway srs --state qc_pending --until 4h
    """
    if limit < 1:
        raise UsageError(f"--limit {limit} is not a number of lines: give 1 or more")
    query = {
        "milestone": ",".join(dict.fromkeys(map(_milestone, state))) if state else None,
        "flag": ",".join(dict.fromkeys(flag)) if flag else None,
        "stalled": "true" if stalled else None,
        "source": source,
        "since": instant(since),
        "until": instant(until),
    }
    return asyncio.run(_srs(query, limit, json_, config, admin))


def _milestone(text: str) -> str:
    """Return the milestone that a state means. Raises UsageError."""
    if text in tuple(Milestone):
        return text
    known = next((state for state in KNOWN_STATES if state.casefold() == text.strip().casefold()), None)
    if known is None:
        raise UsageError(f'there is no state "{text}"; {suggestion(text, [*Milestone, *sorted(KNOWN_STATES)])}')
    return milestone_of(known).value


async def _srs(query: dict[str, Any], limit: int, as_json: bool, config: Path | None, admin: str | None) -> int:
    out, shown, after = console(), 0, None
    async with connected(config, admin) as client:
        while shown < limit:
            page = await client.get("/api/srs", {**query, "after": after, "limit": min(_PAGE, limit - shown)})
            for document in page["requests"]:
                out.print(to_json(document) if as_json else printable(_line(for_people(document))))
            shown += len(page["requests"])
            after = page["after"]
            if after is None:
                if not shown:
                    given = any(value is not None for value in query.values())
                    none = "no service requests fit" if given else "there are no service requests"
                    print(f"gateway: {none}", file=sys.stderr)
                return 0
    print(f"gateway: there may be more: --limit {limit * 10}", file=sys.stderr)
    return 0


def _line(request: dict[str, Any]) -> str:
    """Return a request on one line."""
    owed = [counted(request[name], f"delivery {word}", f"deliveries {word}") for name, word in _OWED if request[name]]
    facts = [
        request["state_at"] or request["last_seen_at"] or "",
        request["reference_id"] or "",
        _state(request),
        f"round {request['round']}" if request["round"] > 1 else "",
        ", ".join(request["flags"]),
        *owed,
        request["sr_uuid"],
    ]
    return "  ".join(fact for fact in facts if fact)


_OWED = (("queued", "waiting"), ("dead", "dead"))


def _state(request: dict[str, Any]) -> str:
    if request["milestone"] == "invalidated":
        return f"invalidated (was {request['state']})" if request["state"] else "invalidated"
    if request["state"] is None:
        return "no state yet"
    meaning = request["milestone"]
    return f"{request['state']} ({meaning})" if meaning else str(request["state"])


async def _sr(name: str, query: dict[str, Any], limit: int, as_json: bool, config: Path | None, admin: str | None) -> int:
    answer: dict[str, Any] | None = None
    events: list[dict[str, Any]] = []
    before = None
    async with connected(config, admin) as client:
        while answer is None or (before is not None and len(events) < limit):
            page_query = {**query, "before": before, "limit": min(_PAGE, limit - len(events))}
            try:
                page = await client.get(f"/api/srs/{segment(name)}", page_query)
            except RequestRefused as error:
                sinks = query["sinks"]
                raise error.suggesting(sinks.rpartition(",")[2]) if sinks else error from None
            answer = answer or page
            if page["story"] is None:
                break
            events = [*page["story"]["events"], *events]
            before = page["story"]["before"]
            purged = page["story"]["purged"]
            query["source"] = page["requests"][0]["source"]
            if len(uuid := page["requests"][0]["sr_uuid"]) < _LONGEST_UUID:
                name = uuid
    found = answer["requests"]
    if answer["story"] is not None:
        events.sort(key=lambda event: (event["happened_at"], event["time"]))
        answer["story"] |= {"events": events, "before": before, "purged": purged}
    if as_json:
        print(to_json(answer))
        return 0 if len(found) == 1 else 1
    answer = for_people(answer)
    found = answer["requests"]
    if not found:
        return _say_none(name, answer)
    out = console()
    if len(found) > 1:
        more = " and more" if answer["more"] else ""
        one_uuid = len({request["sr_uuid"] for request in found}) == 1
        do = "choose one by --source" if one_uuid else "name one by its uuid"
        print(f'gateway: "{printable(cut(name))}" stands for {len(found)} service requests{more}: {do}', file=sys.stderr)
        for request in found:
            out.print(printable(f"{_line(request)}{'  of ' + request['source'] if one_uuid else ''}"))
        return 1
    _show(found[0], answer["story"], out)
    if not answer["complete"]:
        print("gateway: messages of an earlier version are still being read into the ledger: some are missing", file=sys.stderr)
    return 0


def _say_none(name: str, answer: dict[str, Any]) -> int:
    """Say on stderr what was searched, and what may have been meant."""
    said = [f'gateway: no service request is called "{printable(cut(name))}"']
    said.append(
        "  searched: SR uuids, reference ids in any case, ids of messages (the gateway's and the sender's), and beginnings of"
        " uuids and ids with 4 characters or more"
    )
    oldest = answer["reaches_back_to"]
    said.append(f"  the database goes back to {oldest}" if oldest else "  the database has no message yet")
    if not answer["complete"]:
        said.append("  messages of an earlier version are still being read into the ledger: gateway show may find it")
    if answer["nearest"]:
        said.append(f"  much alike: {printable(', '.join(answer['nearest']))}")
    print("\n".join(said), file=sys.stderr)
    return 1


def _show(request: dict[str, Any], story: dict[str, Any], out: Console) -> None:
    item = request["reference_id"] or request["sr_uuid"]
    head = [item, _state(request), f"since {request['state_at']}" if request["state_at"] else ""]
    head += [f"round {request['round']}" if request["round"] else ""]
    out.print(printable("  ".join(part for part in head if part)), style="bold")
    if request["verdict"] and request["milestone"] != request["verdict"]:
        out.print(f"  the verdict was {request['verdict']}, {request['verdict_at']}", style="yellow")
    for flag in request["flags"]:
        missing = f": {', '.join(request['missing'])}" if flag == "skipped" else ""
        out.print(f"  ! {flag}: {_FLAGS[flag]}{missing}", style="bold yellow")
    events = counted(request["events"], "event", "events")
    seen = f", the first came {request['first_seen_at']}, the last {request['last_seen_at']}" if request["events"] else ""
    out.print(printable(f"  {request['sr_uuid']} of {request['source']}: {events}{seen}"), style="dim")
    if story["purged"]:
        out.print("  earlier events were deleted after their retention", style="dim")
    if story["before"] is not None:
        out.print(f"  ... earlier events are not shown: --limit {10 * len(story['events'])}", style="dim")
    for one in story["own_events_only"]:
        routes = ", ".join(f'"{name}"' for name in one["routes"])
        out.print(printable(f"  {one['sink']}: told only of the gateway's own events, by {routes}"), style="dim")
    for event in story["events"]:
        _show_event(event, out)


def _show_event(event: dict[str, Any], out: Console) -> None:
    facts = event["facts"]
    known = event["milestone"] not in (None, "unrecognized")
    what = event["milestone"] if known else f"{event['event_type'] or event['status']} {event['state'] or ''}".rstrip()
    line = [event["happened_at"], what, *(marks(facts) if facts else ())]
    out.print()
    out.print(printable("  ".join(line)), style="bold")
    for text in hindsight(event["hindsight"]):
        out.print(printable(f"  {text}"), style="yellow")
    out.print(printable(f"  {_arrival(event)}"), style="dim")
    for delivery in event["deliveries"]:
        text, style = _fate(delivery)
        out.print(printable(f"  {delivery['sink']}: {text}"), style=style)
    for missing in event["not_told"]:
        for text in _reasons(missing):
            out.print(printable(f"  {text}"), style="yellow")
    if event["status"] == "quarantined":
        out.print("  quarantined: nobody was told", style="yellow")
    elif not event["explained"]:
        message = event["message_id"]
        out.print(f"  the body is long: why other sinks were not told, gateway route {message} says", style="yellow")
    for act in event["acts"]:
        out.print(printable(f"  {said_of_act(act)}"), style="cyan")
    for text in str(event.get("body") or "").removesuffix("\n").splitlines():
        out.print(printable(f"    {text}", also="\t"), style="dim")
    if "body" in event and event["body"] is None:
        out.print(f"    the body is long: gateway show {event['message_id']}", style="dim")


def _arrival(event: dict[str, Any]) -> str:
    return "; ".join([f"came {event['time']}, message {event['message_id']}", *arrival(event)])


def _fate(delivery: dict[str, Any]) -> tuple[str, str]:
    """Return what became of a delivery, with the style of the line."""
    last, attempts = delivery["last"], delivery["attempt"]
    tries = f", attempt {attempts}" if attempts > 1 else ""
    said = " ".join(str(last[name]) for name in ("reason", "detail", "answer") if last and last[name])
    match delivery["state"]:
        case "delivered":
            both = f", in one message with {delivery['tells']}" if "tells" in delivery else ""
            return f"told {delivery['ended_at']}{tries}{both}", "green"
        case "dead":
            return f"dead since {delivery['ended_at']}{tries}: {delivery['reason']} {said}".rstrip(), "bold red"
        case "discarded" if "told_by" in delivery:
            return f"in one message with the other half of the rejection, by {delivery['told_by']}", "cyan"
        case "discarded":
            return f"not told: {_DISCARDED.get(delivery['reason'], 'discarded by a person')} {delivery['ended_at']}", "yellow"
        case _:
            held = f", held: {delivery['held']}" if "held" in delivery else ""
            held += ", for the other half of the rejection" if "waits" in delivery else ""
            due = f", next attempt {delivery['next_attempt_at']}" if attempts else ""
            return f"waits{due}{held}{f': {said}' if said else ''}", "yellow"


_DISCARDED = {"stale": 'it came late, and the sink has on_stale = "suppress";'}
"""Why a delivery was discarded from the start, by its reason."""


def _reasons(missing: dict[str, Any]) -> Iterator[str]:
    """Yield why a sink was not told: by the rules of then, and of now if they say something else."""
    sink, then, now = missing["sink"], missing["then"], missing["now"]
    indent = " " * (len(sink) + 2)
    first, *rest = _answers(then if then is not None else now)
    yield f"{sink}: not told{'' if then is not None else ', by the rules of now'}: {first}"
    yield from (f"{indent}{line}" for line in rest)
    if then is not None and then != now:
        first, *rest = _answers(now)
        yield f"{indent}by the rules of now: {first}"
        yield from (f"{indent}{line}" for line in rest)


def _answers(answer: dict[str, Any]) -> Sequence[str]:
    if answer["routes"]:
        return [f"told, by {', '.join(answer['routes'])}"]
    if answer["suppressed"]:
        return ['it is late, and the sink has on_stale = "suppress"']
    if not answer["reasons"]:
        return ["no route names it"]
    found = []
    for one in answer["reasons"]:
        place = f" ({one['place']})" if one["place"] else ""
        found.append(f'"{one["route"]}"{place} {one["reason"]}')
    if answer["more"]:
        found.append(f"... and {counted(answer['more'], 'further route', 'further routes')} that {_NAME[answer['more'] == 1]} it")
    return found


_NAME = {True: "names", False: "name"}
