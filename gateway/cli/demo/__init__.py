"""`gateway demo`: runs a real gateway (`gateway serve`) with four local sinks, and sends it a story of signed events.

`story` has the events, `receivers` the services that the sinks call, `child` the process of the gateway.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shlex
import shutil
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from base64 import b64encode
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from rich.text import Text

from gateway.cli.audit_line import parsed, style_of
from gateway.cli.demo.story import BAG, CONFIG, WATCH, StoryStep, story, unheard
from gateway.cli.errors import UsageError
from gateway.cli.log_files import followed
from gateway.cli.output import console, printable, seen_from_here
from gateway.config import Config, load
from gateway.core import events
from gateway.core.audit_event_kinds import AuditEvent
from gateway.core.audit_events import (
    AuditSealed,
    DeliveryDead,
    DeliveryDelivered,
    MessageAccepted,
    MessageDuplicate,
    MessageRejected,
)
from gateway.core.errors import GatewayError
from gateway.core.routing import Router
from gateway.core.secrets import Secret
from gateway.core.signature import Key, sign
from gateway.core.values import rfc3339
from gateway.host.address_file import Addresses, read
from gateway.host.clock import Clock
from gateway.host.environment import Environment
from gateway.host.signals import end_as_on_interrupt

if TYPE_CHECKING:
    import aiohttp

    from gateway.cli.demo.receivers import Receivers

_READY_SECONDS = 20.0
_STEP_SECONDS = 30.0
_STOP_SECONDS = 25.0
_ASKED_FOR = 4
"""Events of the bag that are shown at the end, the newest ones: all of them would fill three screens."""
_TOLD_BY: dict[str, type[AuditEvent]] = {"new": MessageAccepted, "repeated": MessageDuplicate, "forged": MessageRejected}
"""The audit event that tells what became of a step, by its kind."""


def demo(
    *,
    once: Annotated[bool, Parameter(negative="", help="End after the story; exit with 1 if anything is missing.")] = False,
    folder: Annotated[Path | None, Parameter(name="--dir", help="The folder for all files; default: a new one.")] = None,
) -> int:
    """Run the gateway with four local sinks, tell a story in signed events, and show each step as it happens.

    It needs no account and no file. Without --once the gateway stays up until Ctrl-C, for events of your own.

    Example: gateway demo --once
    """
    place = folder or Path(tempfile.mkdtemp(prefix="gateway-demo-"))
    place.mkdir(parents=True, exist_ok=True)
    try:  # a single step, so that only one of two demos in the same folder begins
        (place / "gateway.toml").open("x").close()
    except FileExistsError:
        raise UsageError(f"{place} has a gateway.toml already: name another folder with --dir") from None
    try:
        return asyncio.run(_demo(place.absolute(), once=once))
    except KeyboardInterrupt:
        return 0


async def _demo(folder: Path, *, once: bool) -> int:
    from gateway.cli.demo.receivers import SLACK_PATH, Receivers

    end_as_on_interrupt()
    clock = Clock()
    erp_secret, legitmark_secret = _signing_secret(), _signing_secret()
    async with Receivers(Key(erp_secret), clock) as receivers:
        _write_secret(folder / "legitmark.secret", legitmark_secret.reveal())
        _write_secret(folder / "erp.secret", erp_secret.reveal())
        _write_secret(folder / "slack.secret", f"http://127.0.0.1:{receivers.http_port}{SLACK_PATH}")
        file = folder / "gateway.toml"
        file.write_text(CONFIG.format(http_port=receivers.http_port, smtp_port=receivers.smtp_port), encoding="utf-8")
        config = load(file, Environment({}))
        async with _gateway(config, clock) as addresses:
            teller = _Teller(config, addresses, receivers, Key(legitmark_secret), clock)
            complete = await teller.tell([*story(clock), unheard(clock)])
            complete &= await teller.ask()
            teller.end(complete=complete, once=once)
            if not once:
                await teller.go_on()
    return 0 if complete else 1


class _Teller:
    """Sends each step, and shows the lines that the gateway writes about it in its audit log."""

    def __init__(self, config: Config, addresses: Addresses, receivers: Receivers, key: Key, clock: Clock) -> None:
        self._config = config
        self._receivers = receivers
        self._key = key
        self._clock = clock
        self._router = Router(config.routes)
        self._console = console()
        self._url = f"http://{addresses.webhooks[0]}{config.sources['legitmark'].path}"
        self._pages = f"http://{addresses.admin[0]}/"
        self._message_id = ""
        self._sent: dict[str, tuple[bytes, bool]] = {}
        """The bodies that have to arrive at the ERP, by delivery id, each with whether it has to be called late."""

    async def tell(self, steps: list[StoryStep]) -> bool:
        """Play all steps. Return True if everything arrived as expected."""
        import aiohttp

        self._console.print(Text(f"\nThe gateway is up: {self._url}\nIts pages:         {self._pages}", "bold"))
        as_told = True
        async with aiohttp.ClientSession() as session, aclosing(self._audit_lines(None)) as lines:
            for step in steps:
                self._console.print(Text(f"\n{step.title}", "bold"))
                try:
                    async with asyncio.timeout(_STEP_SECONDS):
                        as_told &= await self._play(step, session, lines)
                except TimeoutError:
                    self._show("missing", f"not everything arrived within {_STEP_SECONDS:g} s", "bold red")
                    return False
        self._receivers.knows_order = True  # somebody has entered it meanwhile, so that a replay mends the item
        return self._compare(steps) and as_told

    async def ask(self) -> bool:
        """Ask the gateway what the bag went through, as a person would. Return True if it answers."""
        question = ("sr", BAG, "--limit", str(_ASKED_FOR), "--config", str(self._config.file))
        self._console.print(Text("\nWhat happened to the bag, who was told, and who was not and why?", "bold"))
        self._console.print(
            Text(f"$ {_command()} sr {BAG} --limit {_ASKED_FOR} --config {shlex.quote(str(self._config.file))}\n")
        )
        sys.stdout.flush()
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", "gateway", *question, stdin=DEVNULL)
        return await process.wait() == 0

    async def go_on(self) -> None:
        """Show further events as they come, until Ctrl-C."""
        async with aclosing(self._audit_lines(0)) as lines:
            async for raw in lines:
                self._show_line(parsed(raw) or {})

    def end(self, *, complete: bool, once: bool) -> None:
        folder, command = self._config.base, _command()
        arrived = self._receivers
        verdict = "Everything arrived as expected" if complete else "Not everything arrived as expected"
        self._console.print(Text(f"\n{verdict}:", "bold green" if complete else "bold red"))
        self._console.print(
            f"  {len(arrived.callbacks)} callbacks at the ERP, {len(arrived.slack)} Slack message(s), {len(arrived.mails)} mails"
        )
        self._console.print(
            f"\nThe folder:     {folder}\nThe audit log:  {self._config.audit_log}\nThe archive:    {folder / 'events.jsonl'}"
        )
        file = shlex.quote(str(self._config.file))
        if once:
            self._console.print(
                "\nThe sinks ended with the demo; only the archive is left. To start the gateway once more, and send it an event:"
            )
            self._console.print(f"\n  {command} serve --config {file} &")
        else:
            self._console.print(
                Text(f"\nThe ERP did not hear about {WATCH}. Find out why, and mend it: search for it at {self._pages}", "bold")
            )
            self._console.print("\nThe gateway stays up; Ctrl-C ends it. An event of your own, from another terminal:\n")
        self._console.print(f"  {command} send counterfeit --config {file}\n")

    async def _play(self, step: StoryStep, session: aiohttp.ClientSession, lines: AsyncIterator[bytes]) -> bool:
        if step.kind != "repeated":
            self._message_id = f"msg_{self._clock.new_id()}"
        self._receivers.failures_left = step.failures
        self._receivers.knows_order = not step.refused
        body = json.dumps(step.event, ensure_ascii=False, separators=(",", ":")).encode()
        keys = [Key(_signing_secret())] if step.kind == "forged" else [self._key]
        headers = sign(keys, self._message_id, self._clock.now(), body, family="svix")
        decoded = events.event_of(step.event)
        milestone = decoded.milestone.value if decoded.milestone != "unrecognized" else decoded.event_type
        self._show("arrives", f"{milestone}  {decoded.reference_id}", "bold")
        started = self._clock.monotonic()
        async with session.post(self._url, data=body, headers={"content-type": "application/json", **headers}) as response:
            answer, status = await response.json(), response.status
        took = (self._clock.monotonic() - started) * 1000
        if status == 200:
            self._show("verified", f"the signature is right; on disk, answered 200 {answer['status']} in {took:.1f} ms", "green")
        else:
            self._show("refused", f"answered {status} {answer.get('error')}: {answer.get('detail')}", "red")
        if step.kind == "new" and status == 200:
            self._show_routes(decoded)
            self._sent |= {f"{answer['id']}-erp": (body, step.late)} if "erp" in step.sinks else {}
        return await self._watch(step, lines)

    async def _watch(self, step: StoryStep, lines: AsyncIterator[bytes]) -> bool:
        """Show the audit lines until the step is over. Return True if it went as expected."""
        expected = _TOLD_BY[step.kind].name
        ends = dict.fromkeys(step.sinks, DeliveryDelivered.name) | ({"erp": DeliveryDead.name} if step.refused else {})
        seen = False
        async for raw in lines:
            line = parsed(raw) or {}
            seen = seen or line.get("event") == expected
            if str(line.get("event", "")).startswith("delivery.") or line.get("event") == MessageDuplicate.name:
                self._show_line(line)
            ended = line.get("event") in (DeliveryDelivered.name, DeliveryDead.name)
            if ended and ends.pop(line["sink"], None) != line["event"]:
                return False
            if seen and not ends:
                return True
        return False

    def _compare(self, steps: list[StoryStep]) -> bool:
        """Return True if each receiver has its deliveries, once each, unchanged and correctly signed."""
        owed = {sink: sum(sink in step.sinks for step in steps) for sink in self._config.sinks}
        arrived = self._receivers
        callbacks = {callback.delivery_id: (callback.body, callback.late) for callback in arrived.callbacks}
        archived = (self._config.base / "events.jsonl").read_bytes().count(b"\n")
        return (
            callbacks == self._sent
            and len(arrived.callbacks) == owed["erp"]
            and all(callback.signed for callback in arrived.callbacks)
            and (len(arrived.slack), len(arrived.mails), archived) == (owed["fraud_desk"], owed["customer_care"], owed["archive"])
        )

    def _show_routes(self, event: events.Event) -> None:
        for route, trace in zip(self._config.routes, self._router.explain(event, "legitmark"), strict=True):
            if trace.matched:
                why = " or ".join(str(pattern) for pattern in route.match) or "every event"
                self._show("route", f"{route.name} -> {', '.join(route.sinks)}   ({why})", "cyan")

    def _show_line(self, line: dict[str, Any]) -> None:
        event = str(line.get("event", "?"))
        if event == AuditSealed.name:
            return
        what = event.partition(".")[2]
        reason = line.get("reason")
        facts = [f"{line['sink']:<14}" if "sink" in line else line.get("milestone"), None if reason == what else reason]
        facts += [f"attempt {line['attempt']}" if "attempt" in line else None, line.get("detail")]
        facts += [f"{line['duration_ms']} ms" if "duration_ms" in line else None]
        facts += [f"next {line['next_attempt_at'][11:19]}" if "next_attempt_at" in line else None]
        text = "  ".join(str(fact) for fact in facts if fact)
        self._show(what, text, style_of(line), line.get("time"))

    def _show(self, what: str, text: str, style: str, time: str | None = None) -> None:
        at = (time or rfc3339(self._clock.now()))[11:23]
        self._console.print(Text.assemble("  ", (at, "dim"), "  ", (f"{what:<10}", style), printable(text)))

    def _audit_lines(self, last: int | None) -> AsyncGenerator[bytes, None]:
        return followed(self._config.audit_log, last, self._clock, look_seconds=0.02)


@asynccontextmanager
async def _gateway(config: Config, clock: Clock) -> AsyncIterator[Addresses]:
    """Run `gateway serve` in a process of its own, wait until it is ready, and stop it at the end.

    Ctrl-C reaches it only through this process. However this process ends, the gateway ends too, because its standard input is
    a pipe from here.
    """
    log = config.base / "gateway.log"
    command = (sys.executable, "-m", "gateway.cli.demo.child", "serve", "--config", str(config.file))
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stderr=stderr, start_new_session=True)
    try:
        yield await _ready(process, config, log, clock)
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(_STOP_SECONDS):
            await process.wait()


async def _ready(process: Process, config: Config, log: Path, clock: Clock) -> Addresses:
    """Return the addresses of the gateway as soon as it is ready to take webhooks."""
    import aiohttp

    deadline = clock.monotonic() + _READY_SECONDS
    async with aiohttp.ClientSession() as session:
        while clock.monotonic() < deadline and process.returncode is None:
            try:
                if (addresses := read(config.database, Environment.of_process())) is not None:
                    async with session.get(f"http://{addresses.admin[0]}/-/ready") as response:
                        if response.status == 200:
                            return addresses
            except aiohttp.ClientError:
                pass
            await clock.wait(asyncio.Event(), 0.05)
    print(log.read_text(errors="replace"), file=sys.stderr)
    raise GatewayError(f"the gateway did not start; its log is above, and in {log}")


def _signing_secret() -> Secret:
    return Secret("whsec_" + b64encode(secrets.token_bytes(32)).decode())


def _write_secret(path: Path, secret: str) -> None:
    path.unlink(missing_ok=True)  # the file, or a link in its place, may belong to another user
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(secret + "\n")


def _command() -> str:
    """Return how to call this program again from the working directory."""
    script = Path(sys.argv[0])
    if script.name != "gateway":
        return f"{shlex.quote(sys.executable)} -m gateway"
    if shutil.which("gateway") == str(script):
        return "gateway"
    return shlex.quote(str(seen_from_here(script)))
