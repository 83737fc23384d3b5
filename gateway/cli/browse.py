"""`gateway messages`, `gateway show` and `gateway deliveries`: what was received, and where it went."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from gateway.cli.client import Client, RequestRefused, connected, segment
from gateway.cli.completion import request_names, sink_names
from gateway.cli.errors import UsageError
from gateway.cli.options import AdminOption, ConfigOption, JsonOption, SinceOption, UntilOption, instant
from gateway.cli.output import console, printable, to_json
from gateway.cli.traces import arrival, marks, said_of_act
from gateway.core.routing import RECONCILE
from gateway.core.selection import DeliveryState, MessageStatus

_PAGE = 200

IdOption = Annotated[str | None, Parameter(name="--id", help="The gateway's id, the sender's id, an SR uuid or a reference id.")]
LimitOption = Annotated[int, Parameter(name=["--limit", "-n"], show_default=True, help="How many to list at most.")]


def messages(
    *,
    id_: IdOption = None,
    status: Annotated[MessageStatus | None, Parameter(help="Only messages with this status.")] = None,
    since: SinceOption = None,
    until: UntilOption = None,
    limit: LimitOption = 100,
    json_: JsonOption = False,
    config: ConfigOption = None,
    admin: AdminOption = None,
) -> int:
    """List the messages that were received, oldest first, with the states of their deliveries.

    Example: gateway messages --since 2h --status unrouted
    """
    query = {"id": id_, "status": status, "since": instant(since), "until": instant(until)}
    return asyncio.run(_list("messages", query, limit, json_, config, admin, _message_line))


def deliveries(
    *,
    state: Annotated[DeliveryState | None, Parameter(help="Only deliveries in this state.")] = None,
    sink: Annotated[str | None, Parameter(completer=sink_names, help="Only deliveries to this sink.")] = None,
    sr: Annotated[
        str | None, Parameter(name=["--sr", "--id"], help="Only of this service request; any other id works too.")
    ] = None,
    since: SinceOption = None,
    until: UntilOption = None,
    limit: LimitOption = 100,
    json_: JsonOption = False,
    config: ConfigOption = None,
    admin: AdminOption = None,
) -> int:
    """List deliveries by message, with their state, attempts and last reason.

    Example: gateway deliveries --state dead --sink erp
    """
    query = {"state": state, "sink": sink, "id": sr, "since": instant(since), "until": instant(until)}
    return asyncio.run(_list("deliveries", query, limit, json_, config, admin, _delivery_line))


def show(
    id_: Annotated[str, Parameter(name="ID", completer=request_names)],
    /,
    *,
    attempts: Annotated[bool, Parameter(negative="", help="Show all attempts, not only the last 20 of each delivery.")] = False,
    json_: JsonOption = False,
    config: ConfigOption = None,
    admin: AdminOption = None,
) -> int:
    """Show the whole story of a message, or of all messages of a service request: arrival, deliveries, attempts.

    Example: gateway show SNK-88213-EU42

    Parameters
    ----------
    id_
        The gateway's id, the sender's id, an SR uuid, a reference id, or the beginning of one of the first three.
    """
    return asyncio.run(_show(id_, attempts, json_, config, admin))


async def _list(
    what: str,
    query: dict[str, Any],
    limit: int,
    as_json: bool,
    config: Path | None,
    admin: str | None,
    line: Callable[[dict[str, Any]], str],
) -> int:
    if limit < 1:
        raise UsageError(f"--limit {limit} is not a number of lines: give 1 or more")
    if query.get("id") == "":
        raise UsageError("--id is empty: is a variable not set?")
    out, shown, after = console(), 0, None
    async with connected(config, admin) as client:
        while shown < limit:
            try:
                page = await client.get(f"/api/{what}", {**query, "after": after, "limit": min(_PAGE, limit - shown)})
            except RequestRefused as error:
                raise error.suggesting(str(query.get("sink"))) from None
            for document in page[what]:
                if as_json:
                    print(to_json(document))
                else:
                    out.print(printable(line(document)))
            shown += len(page[what])
            after = page["after"]
            if after is None:
                if not shown:
                    return _say_none(what, query)
                return 0
    if as_json:
        print(f"gateway: there may be more: --limit {limit * 10}", file=sys.stderr)
    else:
        out.print(f"... there may be more: --limit {limit * 10}", style="dim")
    return 0


def _say_none(what: str, query: dict[str, Any]) -> int:
    """Say on stderr that a list is empty. Return 1 if the caller named an id, and so expected an entry."""
    if query["id"] is not None:
        print(f'gateway: no message has the id "{printable(query["id"])}", or none of its {what} fit', file=sys.stderr)
        return 1
    given = any(value is not None for value in query.values())
    print(f"gateway: no {what} fit" if given else f"gateway: there are no {what}", file=sys.stderr)
    return 0


async def _show(text: str, every: bool, as_json: bool, config: Path | None, admin: str | None) -> int:
    async with connected(config, admin) as client:
        answer = await client.get(f"/api/messages/{segment(text)}")
        if every:
            for message in answer["messages"]:
                for delivery in message["deliveries"]:
                    await _fill(client, message["message_id"], delivery)
    found = answer["messages"]
    if answer["more"]:
        said = f'"{printable(text)}" stands for more than these {len(found)} messages: gateway messages --id lists them all'
        print(f"gateway: {said}", file=sys.stderr)
    if not found:
        print(f'gateway: no message has the id "{printable(text)}"', file=sys.stderr)
    if as_json:
        print(to_json(found))
    if as_json or not found:
        return 0 if found else 1
    out = console()
    for message in found:
        out.print(printable(_message_line(message)), style="bold")
        out.print(printable(f"  {_origin(message)}"))
        found_out = list(marks(message["facts"])) if message["facts"] else []
        if known := [*arrival(message), *found_out]:
            out.print(printable(f"  {'; '.join(known)}"))
        for conflict in message["conflicts"]:
            out.print(
                printable(f"  {conflict['time']}  a duplicate with another body: {conflict['body'] or '(not for your role)'}")
            )
        if message["more_conflicts"]:
            out.print("  ... more duplicates with other bodies", style="dim")
        for delivery in message["deliveries"]:
            ends = f"next {delivery['next_attempt_at']}" if delivery["next_attempt_at"] else delivery["ended_at"]
            facts = [f"{delivery['sink']}: {delivery['state']}", _held(delivery), ends, delivery["reason"], *_joined(delivery)]
            out.print(printable("  " + "  ".join(fact for fact in facts if fact)))
            if delivery["attempts"] and (earlier := delivery["attempts"][0]["attempt"] - 1):
                out.print(f"    ... {earlier} before these: gateway show --attempts", style="dim")
            for attempt in delivery["attempts"]:
                facts = [attempt["outcome"], attempt["reason"], attempt["detail"], f"{attempt['duration_ms']} ms"]
                said = "  ".join(str(fact) for fact in facts if fact)
                out.print(printable(f"    {attempt['time']}  attempt {attempt['attempt']}  {said}"))
                if attempt["answer"]:
                    out.print(printable(f"      answered: {attempt['answer']}"), style="dim")
        for act in message["acts"]:
            out.print(printable(f"  {said_of_act(act)}"))
        if message["body"] is None:
            out.print("  the body is not for your role: the role read sees it", style="dim")
        for line in str(message["body"] or "").removesuffix("\n").replace("\r\n", "\n").split("\n"):
            out.print(printable(f"  {line}", also="\t"), style="dim")
    return 0


def _origin(message: dict[str, Any]) -> str:
    """Say where a message came from; no sender signed those that a reconciliation made."""
    if message["source"] == RECONCILE:
        return "made from an answer of Legitmark's API by a reconciliation: no sender signed it"
    return f"from {message['source']}, sender's id {message['sender_id'] or 'none'}"


async def _fill(client: Client, message_id: str, delivery: dict[str, Any]) -> None:
    """Replace the last attempts of a delivery by all of them."""
    if len(delivery["attempts"]) == delivery["attempt"]:
        return
    path = f"/api/messages/{segment(message_id)}/attempts/{segment(delivery['sink'])}"
    found: list[dict[str, Any]] = []
    after = 0
    while after is not None:
        page = await client.get(path, {"after": after, "limit": _PAGE})
        found += page["attempts"]
        after = page["after"]
    delivery["attempts"] = found


def _what(document: dict[str, Any]) -> str:
    """Return the milestone, or the type of an event that has no known milestone."""
    known = document["milestone"] not in (None, "unrecognized")
    return str(document["milestone"] if known else document["event_type"] or document.get("status") or "quarantined")


def _message_line(message: dict[str, Any]) -> str:
    sinks = message.get("sinks") or {delivery["sink"]: delivery["state"] for delivery in message.get("deliveries", [])}
    told = ", ".join(f"{sink} {state}" for sink, state in sinks.items()) or message["status"]
    repeats = f"{message['duplicates']} duplicate(s)" if message["duplicates"] else ""
    unsigned = "reconciled, not signed" if message["source"] == RECONCILE else ""
    item = message["reference_id"] or message["sr_uuid"]
    facts = [message["time"], message["message_id"], _what(message), item, unsigned, told, repeats]
    return "  ".join(fact for fact in facts if fact)


def _held(delivery: dict[str, Any]) -> str | None:
    return f"held: {delivery['held']}" if "held" in delivery else None


def _joined(delivery: dict[str, Any]) -> Iterator[str]:
    """Say which part a delivery has in a message that tells a whole rejection."""
    if "told_by" in delivery:
        yield f"told by {delivery['told_by']}"
    if "tells" in delivery:
        yield f"tells {delivery['tells']} as well"
    if delivery.get("waits"):
        yield "waits for the other half of the rejection"


def _delivery_line(delivery: dict[str, Any]) -> str:
    item = delivery["reference_id"] or delivery["sr_uuid"] or ""
    facts = [delivery["time"], delivery["delivery_id"], delivery["state"], _what(delivery), item]
    facts += [f"attempts {delivery['attempt']}", delivery["reason"], _held(delivery), *_joined(delivery)]
    facts += [f"next {delivery['next_attempt_at']}" if delivery["next_attempt_at"] else None]
    return "  ".join(str(fact) for fact in facts if fact)
