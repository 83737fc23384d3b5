"""The bytes that the ledger writes to the write-ahead log for each message: `python -m tests.benchmarks.ledger_log`.

150,000 service requests, whose next event comes in no order; commits of 32 messages with one delivery each. The same without a
ledger shows what the ledger costs, and the same with the indexes that it replaced shows what a message cost before. Each page in
the log is counted for the table or index that it belongs to.

The bound of 2,600 bytes was set on a prototype that had messages, the index of the senders' ids and the ledger, so these are what
it counts: no deliveries, no other index, and none of the pages that each commit writes.
A minute, and some hundred megabytes in a temporary folder.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import sqlite3
import sys
import tempfile
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec

from gateway.core.events import event_of
from gateway.core.judge import judge
from gateway.core.ledger import encode_request
from gateway.core.records import Message, NewMessage
from gateway.core.signature import Signed
from gateway.core.values import rfc3339
from gateway.store.hot_rows import Standing
from gateway.store.sqlite import request_rows
from gateway.store.sqlite.batch import Batch
from gateway.store.sqlite.judging import MOST_UNFLUSHED, Ledger
from tests.benchmarks.store import RETENTION, opened

_START = 1_760_000_000.0
_HEADER, _FRAME_HEADER, _PAGE = 32, 24, 4096
_FRAME = _PAGE + _FRAME_HEADER
BOUND = 2600
"""Bytes of the log that a message may cost, as far as `_BOUNDED` counts them."""
_LEDGER = (
    "entries",
    "standings",
    "standings_by_milestone",
    "standings_flagged",
    "requests",
    "requests_by_uuid",
    "requests_by_reference",
)
_BOUNDED = ("messages", "messages_by_sender_id", *_LEDGER)
_BATCH = 32
_INDEXES = (
    "CREATE INDEX messages_by_sr ON messages (seq >> 8, sr_uuid) WHERE sr_uuid IS NOT NULL",
    "CREATE INDEX messages_by_reference ON messages (seq >> 8, reference_id) WHERE reference_id IS NOT NULL",
)
_SIGNED = Signed(b"v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=", b"%d" % _START, "env LEGITMARK_SECRET")


def messages(requests: int) -> Iterator[NewMessage]:
    """Make messages without end about requests in no order, with ids that grow as those of the sender do."""
    chance = random.Random(1)
    for made in itertools.count():
        at = _START + made / 100
        which = chance.randrange(requests)
        values = {
            "event_type": "state_change",
            "sr_uuid": _uuid(which),
            "reference_id": f"REF-{which}",
            "timestamp": rfc3339(at),
            "state": {"primary": "UNDERWAY", "supplement": "ASSIGNED"},
            "note": "x" * 200,
        }
        message = Message(
            id=f"{made:012x}{chance.getrandbits(80):020x}",
            source="legitmark",
            sender_id=f"msg_{made // 100:07d}{chance.getrandbits(80):020x}",
            received_at=at,
            content_type="application/json",
            body=msgspec.json.encode(values),
            event_type="state_change",
            milestone="in_progress",
            sr_uuid=_uuid(which),
            reference_id=f"REF-{which}",
        )
        identity = f"state_change {_uuid(which)} UNDERWAY {rfc3339(at)}"
        event = partial(event_of, values)
        yield NewMessage(message, "accepted", identity, (("erp", at),), event_at=at, event=event, signed=_SIGNED)


def _uuid(which: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, str(which)))


def know(connection: sqlite3.Connection, requests: int) -> Ledger:
    """Write the rows of the requests, each after its first event."""
    ledger = Ledger()
    ledger.next_number = requests + 1
    states = [{"primary": "QC", "supplement": "PENDING"}, {"primary": "QC", "supplement": "APPROVED"}]
    connection.execute("BEGIN")
    row = None
    for number, state in enumerate(states):
        stamp = rfc3339(_START - 3600 + number)
        _, row = judge(row, event_of({"event_type": "state_change", "timestamp": stamp, "state": state}), _START - 60)
    assert row is not None
    for at in range(0, requests, 1000):
        request_rows.write(
            connection,
            [
                (("legitmark", _uuid(which)), Standing(which + 1, 0, encode_request(row), f"REF-{which}", own=False, filed=False))
                for which in range(at, min(at + 1000, requests))
            ],
        )
    connection.execute("COMMIT")
    return ledger


class Cost(NamedTuple):
    """The cost of a message."""

    by_tree: Mapping[str, float]
    """Bytes of the log, by table or index."""
    cpu: float
    """Microseconds of the processor, without fsync."""

    @property
    def bounded(self) -> float:
        return sum(self.by_tree.get(tree, 0.0) for tree in _BOUNDED)


async def measured(folder: Path, requests: int, number: int, *, ledger: bool, before: bool) -> Cost:
    """Measure from the end of one flush of the ledger to the end of the next; without a ledger, for a number of messages."""
    path = folder / f"{ledger}-{before}.db"
    with closing(await opened(path)) as connection:
        for statement in _INDEXES if before else ():
            connection.execute(statement)
        kept = know(connection, requests)
        if not ledger:
            connection.execute("CREATE TEMP TABLE entries (a, b, c, d, e, f, g)")  # stands before the real one, and in no log
            kept.live = False
        _truncate(connection, path)
        coming = messages(requests)

        def cost(enough: Callable[[int], bool]) -> tuple[int, Counter[int], float]:
            """Commit messages until there are enough. Returns their number, the pages of the log, and the seconds of CPU."""
            frames, cpu, mark, made = Counter[int](), 0.0, 0, 0
            while not enough(made):
                batch = Batch()
                batch.accepts = [(new, lambda _: None, None) for new in itertools.islice(coming, _BATCH)]
                begun = time.thread_time()
                *_, mark = batch.commit(connection, RETENTION, mark, time.monotonic, kept)
                cpu += time.thread_time() - begun
                made += _BATCH
                if made % (_BATCH * 64) == 0:
                    frames += _truncate(connection, path)
            return made, frames + _truncate(connection, path), cpu

        def flushed() -> Callable[[int], bool]:
            before = kept.flushed_to
            return lambda made: kept.flushed_to > before

        if ledger:
            cost(flushed())
        made, frames, cpu = cost(flushed() if ledger else lambda made: made >= number)
        trees = dict(connection.execute("SELECT pageno, name FROM dbstat"))
        by_tree: dict[str, float] = defaultdict(float)
        for page, times in frames.items():
            by_tree[trees.get(page, "free pages")] += times * _FRAME / made
        return Cost(by_tree, cpu / made * 1e6)


def _truncate(connection: sqlite3.Connection, path: Path) -> Counter[int]:
    """Move the log into the file. Returns how often it has each page (sqlite.org/fileformat2.html, section 4.1)."""
    log = path.with_name(f"{path.name}-wal").read_bytes()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return Counter(int.from_bytes(log[at : at + 4], "big") for at in range(_HEADER, len(log), _FRAME))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=150_000)
    parser.add_argument("--messages", type=int, default=MOST_UNFLUSHED, help="without a ledger; with it, from flush to flush")
    given = parser.parse_args()
    kinds = {"before": (False, True), "without a ledger": (False, False), "with the ledger": (True, False)}
    cost = Cost({}, 0.0)
    for said, (ledger, before) in kinds.items():
        with tempfile.TemporaryDirectory() as folder:
            cost = asyncio.run(measured(Path(folder), given.requests, given.messages, ledger=ledger, before=before))
        total = sum(cost.by_tree.values())
        print(f"{said:17} {total:7,.0f} bytes of the log, {cost.cpu:5.1f} microseconds of CPU for each message", flush=True)
    for tree, size in sorted(cost.by_tree.items(), key=lambda one: -one[1]):
        print(f"    {tree:30} {size:7,.0f}{'  *' if tree in _BOUNDED else ''}")
    kept = cost.bounded <= BOUND
    print(f"those with a star: {cost.bounded:,.0f} bytes; the bound is {BOUND:,}{'' if kept else ', MISSED'}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
