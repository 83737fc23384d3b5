"""`gateway evidence`: prove what came and what became of it (`export`), check such a file (`verify`), and the log (`audit`)."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import msgspec
from cyclopts import Parameter

from gateway.cli import proofs
from gateway.cli.audit_line import parsed
from gateway.cli.client import connected
from gateway.cli.completion import request_names
from gateway.cli.errors import UsageError
from gateway.cli.log_files import say_skipped
from gateway.cli.options import AdminOption, ConfigOption, JsonOption
from gateway.cli.output import console, counted, cut, printable, to_json
from gateway.cli.signing_secret import signing_secret
from gateway.config import as_the_service, find, load_audit
from gateway.core.errors import StoreError, StoreFailed
from gateway.core.evidence_check import EvidenceCheck
from gateway.core.evidence_facts import MessageVerdict
from gateway.core.evidence_file import DOES_NOT_PROVE, LONGEST, PROVES
from gateway.core.seals import LogCheck, LogPlace, Seal, is_hash
from gateway.core.signature import Key
from gateway.host.clock import Clock
from gateway.host.environment import Environment
from gateway.observability.audit_files import log_lines, whole_log

_MOST_SHOWN = 100
"""Problems, and unproven facts, that are printed for people; --json has all."""

HeadOption = Annotated[str | None, Parameter(name="--head", help="The seal that somebody kept, 64 hex digits.")]


def export(
    id_: Annotated[str, Parameter(name="ID", completer=request_names)],
    file: Annotated[str, Parameter(name="FILE", allow_leading_hyphen=True)],
    /,
    *,
    json_: JsonOption = False,
    config: ConfigOption = None,
    admin: AdminOption = None,
) -> int:
    """Write a file that proves what came, and what became of it, to somebody who has only the file.

    The file has the raw bodies, the senders' signatures, the attempts, and the lines of the audit log with proofs and seals. Run
    it on the gateway's host, as a user who may read the audit log. The gateway seals the log first. An existing file is never
    overwritten.

    Exit codes: 0 done, 2 no message has the id or FILE exists already, 69 no gateway answers, 74 a file can't be read or written.

    Example: gateway evidence export ITEM-1042 item-1042.evidence.jsonl

    Parameters
    ----------
    id_
        The gateway's id, the sender's id, an SR uuid, a reference id, or the beginning of one of the first three.
    file
        The file to write, in JSON lines.
    """
    if not id_:
        raise UsageError("the ID is empty: is a variable not set?")
    if file in ("", "-"):
        raise UsageError("evidence goes into a file, so that it is there whole or not at all: name one")
    done = asyncio.run(_export(id_, Path(file), config, admin))
    if json_:
        print(to_json(msgspec.to_builtins(done)))
    else:
        what = f"{counted(done.messages, 'message', 'messages')}, {counted(done.lines, 'line', 'lines')} of the audit log"
        print(printable(f"{done.file}: {what}, {done.proven} of them under {counted(done.seals, 'seal', 'seals')}"))
        if done.head is not None:
            print(f"the last seal: {done.head}")
    return 0


async def _export(asked: str, file: Path, config: Path | None, admin: str | None) -> proofs.Exported:
    environment = Environment.of_process()
    configured = find(config, environment)
    log = load_audit(configured, as_the_service(configured, environment))
    async with connected(config, admin) as client:
        return await proofs.export(asked, file, log, client, Clock())


def verify(
    file: Annotated[Path, Parameter(name="FILE")],
    /,
    *,
    secret: Annotated[
        list[str] | None,
        Parameter(name="--secret", negative="", help="The sender's secret: env:NAME, file:PATH or credential:NAME. Repeatable."),
    ] = None,
    head: HeadOption = None,
    json_: JsonOption = False,
) -> int:
    """Check a file of evidence, offline, from the file alone: needs no gateway and no configuration.

    Every byte that was changed is named, and every record that was dropped, added, swapped or cut off. With --secret the senders'
    signatures are checked, too. With --head the seals have to lead to a seal that was kept elsewhere, as the event gateway.sealed
    tells it; without it, the owner of the host could have made the whole log anew.

    Exit codes: 0 everything that the file names is proven, 1 something is wrong or not proven, 2 wrong usage, 74 the file can't
    be read.

    Example: gateway evidence verify item-1042.evidence.jsonl --secret env:LEGITMARK_SECRET --head 5dc9da79...

    Parameters
    ----------
    file
        The file that `gateway evidence export` wrote.
    """
    check = EvidenceCheck(file.name, keys=[(one, Key(signing_secret(one))) for one in secret or ()], head=_head(head))
    with ExitStack() as files:
        for line in _bounded(proofs.opened(file, files)):
            check.add(line)
    check.finish()
    if json_:
        print(to_json(_verified(check)))
    else:
        _show(check)
    return 0 if check.sound else 1


def audit(
    *files: Annotated[Path, Parameter(name="FILE")],
    head: HeadOption = None,
    json_: JsonOption = False,
    config: ConfigOption = None,
) -> int:
    """Check every line of the audit log, with the files it was rotated into, against its seals.

    Lines that were changed, dropped, added or swapped are named, with the seal that covers them. With --head the log has to have
    the seal that was kept elsewhere; without it, an end that was cut off looks like one that was never written.

    Exit codes: 0 nothing is wrong, 1 something is, 2 wrong usage, 74 a file can't be read.

    Example: gateway evidence audit --head 5dc9da79...

    Parameters
    ----------
    files
        The files of the log, in any order, plain or .gz; default: the log of the configuration, with its rotated files.
    """
    kept, check, found_head = _head(head), LogCheck(), False
    with ExitStack() as stack:
        opened = _ordered([proofs.opened(file, stack) for file in files]) if files else _configured(config, stack)
        for number, file in enumerate(opened, 1):
            for at, line in enumerate(log_lines(file, grows=number == len(opened)), 1):
                seal = check.add(line, LogPlace(Path(file.name).name, at))
                found_head = found_head or (seal is not None and seal.seal == kept)
    check.finish()
    cut_off = kept is not None and not found_head
    if json_:
        print(to_json(_audited(check, kept, found_head)))
    else:
        _show_audit(check, kept, cut_off=cut_off)
    return 1 if check.problems or cut_off else 0


def _configured(config: Path | None, files: ExitStack) -> list[BinaryIO]:
    environment = Environment.of_process()
    configured = find(config, environment)
    log = load_audit(configured, as_the_service(configured, environment))
    found = whole_log(log, files, say_skipped)
    if not found:
        raise UsageError(f"{log} does not exist: the gateway writes it when it starts")
    return found


def _ordered(files: list[BinaryIO]) -> list[BinaryIO]:
    """Return the files by the time of their first line: a shell lists `audit.jsonl` before `audit.jsonl.1`."""
    times: list[tuple[str, int]] = []
    for number, file in enumerate(files):
        try:
            first = parsed(file.readline(LONGEST)) or {}
            file.seek(0)
        except (OSError, EOFError, zlib.error) as error:
            raise StoreFailed(f"{file.name}: {error}") from None
        times.append((str(first.get("time", "")), number))
    return [files[number] for _, number in sorted(times)]


def _bounded(file: BinaryIO) -> Iterator[bytes]:
    """Yield the lines of a file with their line breaks. Raises StoreError for one that is too long to be a record."""
    try:
        while raw := file.readline(LONGEST + 1):
            if len(raw) > LONGEST:
                raise StoreError(f"{file.name} is no file of evidence: a line has more than {LONGEST} bytes")
            yield raw
    except (OSError, EOFError, zlib.error) as error:
        raise StoreFailed(f"{file.name}: {error}") from None


def _head(text: str | None) -> str | None:
    if text is not None and not is_hash(text.strip().lower()):
        raise UsageError("--head is the `seal` of a line audit.sealed, or of the event gateway.sealed: 64 hex digits")
    return text.strip().lower() if text is not None else None


def _seal(seal: Seal | None) -> dict[str, Any] | None:
    return None if seal is None else {"number": seal.number, "time": seal.time, "seal": seal.seal}


def _verified(check: EvidenceCheck) -> dict[str, Any]:
    about = check.about
    return {
        "sound": check.sound,
        "asked": about.asked if about else None,
        "made_at": about.made_at if about else None,
        "records": check.records,
        "messages": [msgspec.to_builtins(one) for one in check.messages],
        "problems": msgspec.to_builtins(check.problems),
        "unproven": check.unproven,
        "first_seal": _seal(check.chain.first),
        "last_seal": _seal(check.chain.last),
        "head_found": check.head_found,
        "proves": PROVES,
        "does_not_prove": DOES_NOT_PROVE,
    }


def _audited(check: LogCheck, head: str | None, found: bool) -> dict[str, Any]:
    return {
        "sound": not check.problems and (head is None or found),
        "lines": check.lines,
        "proven": check.proven,
        "seals": check.seals,
        "problems": msgspec.to_builtins(check.problems),
        "notes": check.notes,
        "first_seal": _seal(check.chain.first),
        "last_seal": _seal(check.chain.last),
        "head_found": found,
    }


def _show(check: EvidenceCheck) -> None:
    out, about, last = console(), check.about, check.chain.last
    if about is not None:
        said = f"evidence about {cut(about.asked)}, made {cut(about.made_at)} by gateway {cut(about.version)}"
        out.print(printable(said), style="bold")
    for one in check.messages:
        out.print(printable(f"  {cut(_message_line(one))}"))
    _list(out, "WRONG", [str(one) for one in check.problems], "bold red")
    _list(out, "NOT PROVEN", check.unproven, "yellow")
    if last is not None:
        out.print(f"the last seal in the file: {last.number}, {last.time}, {last.seal}")
    if check.head_found:
        out.print("the head that you gave is among the seals: nothing under it was changed since it was sent", style="green")
    elif not check.problems:
        out.print("no --head was given: the owner of the host could have made this log anew", style="yellow")
    out.print("sound: everything that the file names is proven" if check.sound else "NOT SOUND", style="bold")
    for title, texts in (("What this proves:", PROVES), ("What it does not:", DOES_NOT_PROVE)):
        out.print(title)
        for text in texts:
            out.print(f"  - {text}", style="dim")


def _message_line(one: MessageVerdict) -> str:
    under = f"body proven by seal {one.seal}" if one.seal is not None else "body not proven"
    anchored = " (at or before the head)" if one.anchored else ""
    lines = counted(one.lines, "proven line", "proven lines")
    return f"{one.received_at}  {one.message_id}  {one.what}: {under}{anchored}, {lines}; signature: {one.signature}"


def _show_audit(check: LogCheck, head: str | None, *, cut_off: bool) -> None:
    out, first, last = console(), check.chain.first, check.chain.last
    seals = f", {first.number} to {last.number}" if first is not None and last is not None else ""
    out.print(f"{check.lines:,} lines, {check.proven:,} of them proven by {counted(check.seals, 'seal', 'seals')}{seals}")
    _list(out, "WRONG", [str(one) for one in check.problems], "bold red")
    if cut_off:
        out.print(f"WRONG: the log does not have the seal {head}: its end was cut off, or it was made anew", style="bold red")
    _list(out, "NOTE", check.notes, "yellow")
    if last is not None:
        out.print(f"the last seal: {last.number}, {last.time}, {last.seal}")
    if head is None:
        out.print("no --head was given: an end that was cut off, and a log that was made anew, are not seen", style="yellow")


def _list(out: Any, title: str, texts: list[str], style: str) -> None:
    for text in texts[:_MOST_SHOWN]:
        out.print(printable(f"{title}: {cut(text)}"), style=style)
    if len(texts) > _MOST_SHOWN:
        out.print(f"... and {len(texts) - _MOST_SHOWN} more: --json has all", style="dim")
