"""`gateway reconcile`: lets the running gateway ask Legitmark's API, and shows what differs while it does."""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from gateway.cli.client import Client, RequestRefused, actor, connected
from gateway.cli.completion import request_names
from gateway.cli.errors import UsageError
from gateway.cli.options import AdminOption, ConfigOption, JsonOption
from gateway.cli.output import counted, for_people, printable, to_json
from gateway.core.errors import GatewayError, StoreError
from gateway.host.clock import Clock

if TYPE_CHECKING:
    from rich.progress import Progress

IdsArgument = Annotated[
    str,
    Parameter(
        name="ID",
        allow_leading_hyphen=True,
        completer=request_names,
        help="An SR uuid or its beginning, a reference id, or the id of a message; - reads ids from stdin, one a line.",
    ),
]
_AT_ONCE = 1000
"""Ids that the gateway takes in one request."""
_PAGE = 500
_LOOK_SECONDS = 0.5
_COUNTS = ("total", "done", "same", "older", "differs", "not_found", "failed")
_WORDS = {
    "same": "agree",
    "older": "answered older",
    "differs": "differ",
    "not_found": "not found",
    "failed": "failed",
}


def reconcile(
    *ids: IdsArgument,
    open_: Annotated[
        bool, Parameter(name="--open", negative="", help="All service requests that have not ended, as far as they are known.")
    ] = False,
    json_: JsonOption = False,
    config: ConfigOption = None,
    admin: AdminOption = None,
) -> int:
    """Ask Legitmark's API for the present state of service requests, and tell what differs.

    The gateway asks for two in a second, oldest first. A state that differs is asked for again after 60 s, and then goes to the
    routes as gateway.sr_differs. A request that the gateway never heard of is named by its whole uuid. Ctrl-C ends it.

    Exit codes: 0 all agree, 1 something differs, was not found or could not be asked, 2 nothing or something unknown was named,
    69 no gateway answers, 74 an I/O error.

    Example: gateway reconcile - < uuids.txt
    """
    named = list(_named(ids))
    if not named and not open_:
        raise UsageError("name service requests by their ids, with - on stdin, or by --open")
    return asyncio.run(_reconcile(named, open_, json_, config, admin))


def _named(ids: Sequence[str]) -> list[str]:
    """Return the ids, with the lines of stdin in place of `-`. Raises UsageError."""
    found: list[str] = []
    for text in ids:
        if text == "-":
            lines = [line.strip() for line in sys.stdin.read().splitlines()]
            read = [line for line in lines if line and not line.startswith("#")]
            if not read:
                raise UsageError("there is no id on stdin")
            found += read
        elif not text:
            raise UsageError("an ID is empty: is a variable not set?")
        elif text.startswith("-"):
            raise UsageError(f"unknown option: {text}")
        else:
            found.append(text)
    return list(dict.fromkeys(found))


async def _reconcile(ids: list[str], opened: bool, as_json: bool, config: Path | None, admin: str | None) -> int:
    async with connected(config, admin) as client:
        jobs: deque[dict[str, Any]] = deque()
        try:
            for at in range(0, max(len(ids), 1), _AT_ONCE):
                jobs.append(await _begin(client, ids[at : at + _AT_ONCE], opened=opened and at == 0))
            jobs, findings = await _followed(client, jobs, as_json=as_json)
        except asyncio.CancelledError:  # Ctrl-C
            for job in jobs:
                with suppress(GatewayError):  # it may have stopped meanwhile
                    await client.post(f"/api/reconcile/{job['job']}/cancel", {"actor": actor()})
            raise
    total = {count: sum(job[count] for job in jobs) for count in _COUNTS}
    stopped = next((job["stopped"] for job in jobs if job["stopped"] is not None), None)
    if as_json:
        print(to_json({**total, "stopped": stopped, "requests": findings}))
    else:
        said = ", ".join(f"{total[count]:,} {words}" for count, words in _WORDS.items() if total[count])
        print(f"{counted(total['done'], 'request', 'requests')} asked{': ' if said else ''}{said}")
        if stopped is not None:
            print(f"gateway: it ended before all were asked: {printable(stopped)}", file=sys.stderr)
    return 0 if stopped is None and total["done"] == total["same"] + total["older"] else 1


async def _begin(client: Client, ids: list[str], *, opened: bool) -> dict[str, Any]:
    try:
        return await client.post("/api/reconcile", {"ids": ids, "open": opened, "actor": actor()}, seconds=None)
    except RequestRefused as error:
        if error.answer.get("error") == StoreError.code:
            raise StoreError(str(error)) from None
        if error.answer.get("error") == "cannot_reconcile":
            raise UsageError(str(error)) from None
        raise


async def _followed(
    client: Client, jobs: deque[dict[str, Any]], *, as_json: bool
) -> tuple[deque[dict[str, Any]], list[dict[str, Any]]]:
    """Wait for the end of all jobs, and print what needs a look as it is found. Return the ended jobs, and all findings."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    clock, findings, done = Clock(), list[dict[str, Any]](), deque[dict[str, Any]]()
    columns = (BarColumn(), TextColumn("{task.completed}/{task.total}"), TextColumn("{task.description}"))
    shown = Progress(
        *columns,
        console=Console(stderr=True),
        disable=as_json or not sys.stderr.isatty(),
        transient=True,
        redirect_stdout=sys.stdout.isatty(),  # otherwise what is piped away would go to the terminal, too
    )
    with shown as progress:
        task = progress.add_task("", total=sum(job["total"] for job in jobs))
        for job in jobs:
            after: int | None = 0
            while after is not None:
                page = await client.get(f"/api/reconcile/{job['job']}", {"after": after, "limit": _PAGE})
                findings += page["requests"]
                _print(page["requests"], as_json)
                _show(progress, task, page["job"], len(findings))
                after = page["after"]
                if after is not None and not page["requests"]:
                    await clock.wait(asyncio.Event(), _LOOK_SECONDS)
            done.append(page["job"])
    return done, findings


def _print(findings: list[dict[str, Any]], as_json: bool) -> None:
    """Print what needs a person's look."""
    for one in findings if as_json else for_people(findings):
        if not as_json and one["result"] in ("differs", "not_found", "failed"):
            emitted = "told to the routes as an event" if one["emitted"] else ""
            parts = [one["result"].replace("_", " "), one["reference_id"] or "", one["sr_uuid"], one["detail"], emitted]
            print(printable("  ".join(part for part in parts if part)), flush=True)


def _show(progress: Progress, task: Any, job: dict[str, Any], done: int) -> None:
    waits = f"waits {job['waiting_seconds']:.0f} s: {job['waiting_for']}" if job["waiting_for"] else ""
    confirming = f"{job['confirming']} to be confirmed" if job["confirming"] else ""
    progress.update(task, completed=done, description=printable("  ".join(part for part in (waits, confirming) if part)))
