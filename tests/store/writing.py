"""A database with every kind of row, written by the store itself, and the same as text. Later versions have to read it.

`written/NNNN.sql` is what the version with that schema wrote. A file is written anew (REWRITE_EXPECTED=1) until its version is
released, and never afterwards; to what is written here, things are only added.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import msgspec

from gateway.core.breaker import BreakerState
from gateway.core.conversation import Conversation
from gateway.core.drift import Learned
from gateway.core.lasting import Lasting
from gateway.core.outcome import Defer, Delivered, Outcome, Reason, Reject, Retry
from gateway.core.records import Accepted, KeptGates, Message, NewMessage, Step
from gateway.core.selection import MessageStatus, Target
from gateway.core.watches import Entered, Entering, StallsTold, Timer
from gateway.store.sqlite import conversation_rows, operations, sink_rows
from gateway.store.sqlite.store import SqliteStore
from tests.fakes import START
from tests.store.kit import DAY, settlement

RETENTION = 90 * DAY
SR = "0f3f7a0e-5a4c-4f0e-8b3e-1f1f1f1f1f1f"
CONVERSATION = Conversation("C0123", "1772000000.000100", START)
PAUSED = KeptGates(paused_at=START, paused_by="田中", breaker=BreakerState(3, START, START + 30, 60.0), held_until=START + 90)
BODIES = {
    "plain": b'{"event_type": "state_change"}',
    "japanese": '{"brand": "ルイ・ヴィトン", "note": "本物\u3000です"}'.encode(),
    "huge numbers": b'{"n": 123456789012345678901234567890, "f": 1e400, "n": 2}',
    "nul and lone surrogate": b'{"a": "\\u0000\\ud800"}\x00',
    "no utf-8": b"\xff\xfe\x00[",
    "empty": b"",
    "long": b'{"x": "' + b"'\n;--" * 2000 + b'"}',
}


def messages() -> dict[str, NewMessage]:
    """Return the messages to accept, by name, in this order."""
    made = {
        name: _new(name, body, at=START + number, sinks=("erp", "slack"), identity=f"identity of {name}")
        for number, (name, body) in enumerate(BODIES.items())
        if name != "no utf-8"
    }
    made["no utf-8"] = _new("no utf-8", BODIES["no utf-8"], status="quarantined")
    made["unrouted"] = _new("unrouted", b"{}", status="unrouted", sr=None)
    made["without an id"] = _new(None, b'{"of": "nobody"}', sinks=("erp",), source="internal", content_type=None)
    for turn in range(3):
        name = f"turn {turn}"
        new = _new(name, b"%d" % turn, sinks=("ordered",))
        made[name] = msgspec.structs.replace(new, in_order=frozenset({"ordered"}), event_at=START - turn)
    for name in ("delivered", "dead", "discarded", "replayed"):
        made[name] = _new(name, b"{}", at=START + 60, sinks=("ends",))
    made["held"] = _new("held", b"{}", sinks=("gone",))
    return made


async def write(path: Path) -> None:
    store = await SqliteStore.open(path, RETENTION)
    running = asyncio.create_task(store.run(), name="store")
    try:
        await _write(store)
    finally:
        store.finish()
        await running
        await store.close()


async def _write(store: SqliteStore) -> None:
    old = _new("again after retention", b"old", at=START - 100 * DAY, sinks=("erp",))
    await _settled(store, await _seq(store, old), Delivered(200))
    again = _new("again after retention", b"new", sinks=("erp",), number=900)
    await _seq(store, again)  # this makes the store forget the first one
    seqs = {name: await _seq(store, new) for name, new in messages().items()}

    await store.accept(_new("plain", b"another body", number=901))  # a duplicate in conflict
    await store.accept(_new("as japanese", BODIES["japanese"], identity="identity of japanese", number=902))

    await _settled(store, seqs["plain"], Delivered(200, "OK"))
    await _settled(store, seqs["japanese"], Retry(Reason.HTTP_STATUS, "HTTP 500", 500, "エラー: 'もう一度';\n"))
    await _settled(store, seqs["japanese"], Defer(Reason.RATE_LIMITED, 120.0, "HTTP 429", 429), number=2, retries=1)
    await _settled(store, seqs["huge numbers"], Reject(Reason.REJECTED, "HTTP 410", 410, "gone"))
    await _settled(store, seqs["long"], Retry(Reason.TIMEOUT, "no answer within 30s"), sink="slack")
    await _settled(store, seqs["delivered"], Delivered(250), sink="ends")
    for name in ("dead", "replayed"):
        await _settled(store, seqs[name], Reject(Reason.SMTP_STATUS, "550 no such mailbox", 550), sink="ends")
    change = store.change
    targets = {name: [Target(seqs[name], "ends")] for name in ("discarded", "replayed")}
    await change(lambda c, ch: operations.discard(c, targets["discarded"], START + 70, ch))
    await change(lambda c, ch: operations.reopen(c, targets["replayed"], ("dead",), START + 80, ch))
    await change(lambda c, ch: operations.add(c, [Target(seqs["plain"], "added")], START + 80, ch))
    present = ("erp", "slack", "ordered", "ends", "added")
    await change(partial(sink_rows.note_absences, present=present, now=START + 90))
    await change(partial(sink_rows.note_ordering, in_order=("ordered",), sinks=present))
    await store.keep_gates("slack", PAUSED)
    await change(partial(conversation_rows.keep, sink="slack", channel="#fraud", sr=SR, conversation=CONVERSATION, now=START))

    await store.keep_rules(b'[{"name": "verdicts"}]', START)
    await _act(store, Target(seqs["replayed"], "ends"))

    entered = Entered("legitmark", SR, "BAG-田中", "QC/PENDING", START - 60, START)
    told = Timer("told", entered)
    await store.keep(
        [
            Entering(entered, ("waits", "told")),
            StallsTold((told,), START + 90),
            Lasting("source_silent", "legitmark", 90.0),
            Lasting("sink_failing", "ends", 90.0, told=True),
            Learned("legitmark", "reason", "撮り直し", START),
        ]
    )

    await store.keep_act("pause", "slack", now=START + 90, actor="田中")
    await store.keep_act("drill", "erp", now=START + 91, actor="admin", detail="HTTP 500")
    await store.end_act(await store.keep_act("ask", SR, now=START + 92, actor="admin"), "same QC/PENDING")

    # The last seq is that of a message which is gone: it must not be given again.
    gone = await _seq(store, _new("gone", b"{}", at=START - 95 * DAY, sinks=()))
    await store.purge(gone - 1, 1, START - RETENTION)


def dump(path: Path) -> str:
    """Return the whole database as a script."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as connection:
        return "\n".join([*_statements(connection), ""])


def load(script: Path, path: Path) -> None:
    """Make a database from its script."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"BEGIN; {script.read_text(encoding='utf-8')} COMMIT;")


def _statements(connection: sqlite3.Connection) -> Iterator[str]:
    for name in ("application_id", "user_version"):
        yield f"PRAGMA {name} = {connection.execute(f'PRAGMA {name}').fetchone()[0]};"
    entries = connection.execute("SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid").fetchall()
    yield from (f"{sql};" for _, name, sql in entries if name != "sqlite_sequence")
    for kind, name, _ in entries:
        if name == "sqlite_sequence":
            yield "DELETE FROM sqlite_sequence;"
        if kind == "table":
            for row in connection.execute(f"SELECT * FROM {name} ORDER BY 1, 2"):
                yield f"INSERT INTO {name} VALUES ({', '.join(map(_literal, row))});"


def _literal(value: object) -> str:
    if isinstance(value, bytes):
        return f"X'{value.hex()}'"
    if isinstance(value, str):
        return f"CAST(X'{value.encode().hex()}' AS TEXT)" if "\0" in value else "'" + value.replace("'", "''") + "'"
    return "NULL" if value is None else str(value)


def _new(
    sender_id: str | None,
    body: bytes,
    *,
    at: float = START,
    sinks: tuple[str, ...] = (),
    identity: str | None = None,
    status: MessageStatus = "accepted",
    source: str = "legitmark",
    content_type: str | None = "application/json; charset=utf-8",
    sr: str | None = SR,
    number: int | None = None,
) -> NewMessage:
    message = Message(
        id=(sender_id or "none").encode().hex()[:28].ljust(29, "0") + f"{number or 0:03d}",
        source=source,
        sender_id=None if sender_id is None else f"msg_{sender_id}\0署名",
        received_at=at,
        content_type=content_type,
        body=body,
        event_type=None if status == "quarantined" else "state_change",
        milestone=None if status == "quarantined" else "authentic",
        sr_uuid=None if status == "quarantined" else sr,
        reference_id=None if status == "quarantined" else "鞄-1",
    )
    return NewMessage(message, status, identity, tuple((sink, at + 5) for sink in sinks))


async def _act(store: SqliteStore, target: Target) -> None:
    """Keep an act that changes nothing, so that databases of earlier schemas stay comparable."""

    def change(connection: sqlite3.Connection, *, targets: list[Target], changes: object) -> list[Target]:
        return targets

    step = partial(Step, event="delivery.replayed", at_ms=round((START + 80) * 1000), actor="ann", claimed="田中")
    work = partial(operations.by_person, targets=[target], change=change, step=step, act="replay")
    await store.change(work)


async def _seq(store: SqliteStore, new: NewMessage) -> int:
    stored = await store.accept(new)
    assert isinstance(stored, Accepted)
    return stored.seq


async def _settled(
    store: SqliteStore, seq: int, outcome: Outcome, *, sink: str = "erp", number: int = 1, retries: int = 0
) -> None:
    assert await store.settle(settlement(seq, outcome, sink=sink, number=number, retries=retries, at=START + 10 * number))
