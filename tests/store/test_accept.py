"""Accepting: one transaction for a batch, and which messages are duplicates (docs/reference.md, "Duplicates and quarantine")."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sqlite3
from collections import Counter

import asyncpg
import pytest
from msgspec.structs import replace

from gateway.core import events
from gateway.core.documents import KeptMessage
from gateway.core.records import Accepted, Duplicate, Message, NewMessage
from gateway.store.base import MOST_WAITING
from tests.fakes import START
from tests.store.kit import (
    DAY,
    RETENTION,
    AnyStore,
    Database,
    Trap,
    accepted,
    assert_counters_right,
    duplicate,
    new,
    one,
    rows,
    serving,
)
from tests.support.webhooks import PAYLOADS

IDENTITY = {"state_change": ["sr_uuid", "timestamp"], "media_rejected": ["sr_uuid", "timestamp"]}
JAPANESE = "バッグ・真贋判定 👜"


@pytest.fixture
def path(database: Database) -> Database:
    return database


async def test_an_accepted_message_is_in_the_file_with_all_its_deliveries(path: Database) -> None:
    message = new("msg_1", body=b'{"a": 1}', sinks=("erp", "fraud_desk"), due=START + 5)
    async with serving(path) as store:
        seq = await accepted(store, message)

        columns = "seq, id, source, sender_id, received_ms, content_type, body, event_type, milestone, status, duplicates"
        assert rows(path, f"SELECT {columns} FROM messages") == [
            (
                seq,
                message.message.id,
                "legitmark",
                b"msg_1",
                round(START * 1000),
                b"application/json",
                b'{"a": 1}',
                b"state_change",
                "authentic",
                "accepted",
                0,
            )
        ]
        since, due = round(START * 1000), round((START + 5) * 1000)
        assert rows(path, "SELECT message, sink, state, attempts, retries, since_ms, due_ms, ended_ms FROM deliveries") == [
            (seq, "erp", "queued", 0, 0, since, due, None),
            (seq, "fraud_desk", "queued", 0, 0, since, due, None),
        ]
        await assert_counters_right(store)


async def test_a_message_whose_deliveries_cannot_be_written_is_not_kept_either(path: Database) -> None:
    async with serving(path) as store:
        with pytest.raises((sqlite3.IntegrityError, asyncpg.IntegrityConstraintViolationError)):
            await store.accept(new("msg_1", sinks=("erp", "fraud_desk", "erp")))

        assert one(path, "SELECT count(*) FROM messages") == 0
        assert one(path, "SELECT count(*) FROM deliveries") == 0
        assert await store.counts() == {}
        await accepted(store, new("msg_1"))


async def test_no_reader_sees_a_message_without_its_deliveries(path: Database) -> None:
    seen: list[tuple[int, int]] = []

    def look() -> None:
        seen.append((one(path, "SELECT count(*) FROM messages"), one(path, "SELECT count(*) FROM deliveries")))

    async with serving(path) as store:
        await accepted(store, new("msg_0", sinks=("a", "b", "c")))
        # The writer's thread looks at the file from within the transaction that has written its neighbours.
        await asyncio.gather(
            store.accept(new("msg_1", sinks=("a", "b", "c"))),
            store.accept(new(Trap("msg_2", look), sinks=("a", "b", "c"))),
        )
        look()
    assert set(seen) == {(1, 3), (3, 9)}


async def test_the_order_of_acceptance_is_the_order_of_arrival(path: Database) -> None:
    async with serving(path) as store:
        answers = await asyncio.gather(*(store.accept(new(f"msg_{number}")) for number in range(50)))
        seqs = [answer.seq for answer in answers if isinstance(answer, Accepted)]
        assert seqs == list(range(1, 51))
        assert [row[0] for row in rows(path, "SELECT sender_id FROM messages ORDER BY seq")] == [
            b"msg_%d" % number for number in range(50)
        ]


class TestDuplicates:
    async def test_a_message_with_a_sender_id_seen_before_is_a_duplicate_of_the_first(self, path: Database) -> None:
        first = new("msg_1")
        async with serving(path) as store:
            await accepted(store, first)
            again = await duplicate(store, new("msg_1", at=START + 40 * DAY, sinks=("erp", "fraud_desk")))

            assert again == Duplicate(first.message.id, "message_id", conflict=False)
            assert rows(path, "SELECT sink FROM deliveries") == [("erp",)]
            assert one(path, "SELECT duplicates FROM messages") == 1
            await assert_counters_right(store)

    async def test_another_sender_id_with_the_same_identity_is_a_duplicate_by_identity(self, path: Database) -> None:
        first = new("msg_1", identity="the event")
        async with serving(path) as store:
            await accepted(store, first)
            again = await duplicate(store, new("msg_2", identity="the event"))
            assert again == Duplicate(first.message.id, "identity", conflict=False)

    async def test_a_sender_id_seen_before_decides_before_a_known_identity(self, path: Database) -> None:
        by_id, by_identity = new("msg_1", identity="one"), new("msg_2", identity="two")
        async with serving(path) as store:
            await accepted(store, by_id)
            await accepted(store, by_identity)
            again = await duplicate(store, new("msg_1", identity="two"))
            assert again == Duplicate(by_id.message.id, "message_id", conflict=False)

    async def test_without_sender_ids_only_the_same_body_is_a_duplicate(self, path: Database) -> None:
        first = new(None, body=b"one")
        async with serving(path) as store:
            await accepted(store, first)
            again = await duplicate(store, new(None, body=b"one"))
            assert again == Duplicate(first.message.id, "message_id", conflict=False)
            await accepted(store, new(None, body=b"two"))

    async def test_the_same_body_under_another_sender_id_is_not_a_duplicate(self, path: Database) -> None:
        async with serving(path) as store:
            await accepted(store, new("msg_1", body=b"same"))
            await accepted(store, new("msg_2", body=b"same"))
            await accepted(store, new(None, body=b"same"))

    async def test_the_same_message_from_another_source_is_not_a_duplicate(self, path: Database) -> None:
        async with serving(path) as store:
            for source in ("legitmark", "other"):
                await accepted(store, new("msg_1", identity="the event", source=source))
                await accepted(store, new(None, body=b"body", source=source))
            for source in ("legitmark", "other"):
                for again in (new("msg_1", source=source), new("msg_2", identity="the event", source=source)):
                    first = (await duplicate(store, again)).id
                    assert one(path, "SELECT source FROM messages WHERE id = ?", first) == source

    async def test_the_same_fields_under_another_event_type_are_not_a_duplicate(self, path: Database) -> None:
        identities = [
            events.identity(events.event_of({"event_type": name, "sr_uuid": "u", "timestamp": "t"}), IDENTITY)
            for name in ("state_change", "media_rejected")
        ]
        async with serving(path) as store:
            for number, identity in enumerate(identities):
                assert identity is not None
                await accepted(store, new(f"msg_{number}", identity=identity))
            await duplicate(store, new("msg_9", identity=identities[0]))

    async def test_messages_without_identity_are_distinguished_by_their_sender_ids_only(self, path: Database) -> None:
        async with serving(path) as store:
            await accepted(store, new("msg_1", identity=None))
            await accepted(store, new("msg_2", identity=None))

    async def test_a_quarantined_message_that_comes_again_is_a_duplicate(self, path: Database) -> None:
        async with serving(path) as store:
            await accepted(store, new("msg_1", body=b"not JSON", sinks=(), status="quarantined"))
            assert (await duplicate(store, new("msg_1", body=b"not JSON"))).reason == "message_id"

    async def test_a_duplicate_is_known_after_a_restart(self, path: Database) -> None:
        first = new("msg_1", identity="the event")
        async with serving(path) as store:
            await accepted(store, first)
        async with serving(path) as store:
            assert (await duplicate(store, new("msg_1"))).id == first.message.id
            assert (await duplicate(store, new("msg_2", identity="the event"))).id == first.message.id

    async def test_two_thousand_copies_at_once_are_accepted_once(self, path: Database) -> None:
        async with serving(path) as store:
            copies = [new("msg_1", identity="the event", sinks=("erp", "fraud_desk")) for _ in range(2000)]
            answers = []
            for at in range(0, 2000, MOST_WAITING):  # more at once are refused as overload
                answers += await asyncio.gather(*(store.accept(copy) for copy in copies[at : at + MOST_WAITING]))

            kinds = Counter(type(answer) for answer in answers)
            assert kinds == {Accepted: 1, Duplicate: 1999}
            assert {answer.id for answer in answers if isinstance(answer, Duplicate)} == {copies[0].message.id}
            assert one(path, "SELECT count(*) FROM deliveries") == 2
            assert one(path, "SELECT duplicates FROM messages") == 1999
            await assert_counters_right(store)


class TestConflicts:
    async def test_a_duplicate_with_another_body_is_a_conflict_and_its_body_is_kept(self, path: Database) -> None:
        async with serving(path) as store:
            seq = await accepted(store, new("msg_1", body=b"first"))
            again = await duplicate(store, new("msg_1", body=b"other\x00\xff", at=START + 5))

            assert again.conflict
            digest = hashlib.sha256(b"other\x00\xff").digest()
            assert rows(path, "SELECT message, body_sha256, sender_id, received_ms, body FROM conflicts") == [
                (seq, digest, b"msg_1", round((START + 5) * 1000), b"other\x00\xff")
            ]
            assert one(path, "SELECT body FROM messages") == b"first"

    async def test_each_different_conflicting_body_is_kept_once(self, path: Database) -> None:
        async with serving(path) as store:
            await accepted(store, new("msg_1", body=b"first", identity="the event"))
            for body in (b"second", b"second", b"third", b"first", b"second"):
                again = await duplicate(store, new("msg_1", body=body))
                assert again.conflict == (body != b"first")
            assert (await duplicate(store, new("msg_2", body=b"third", identity="the event"))).conflict

            assert rows(path, "SELECT body FROM conflicts ORDER BY body") == [(b"second",), (b"third",)]
            assert one(path, "SELECT duplicates FROM messages") == 6

    async def test_a_duplicate_by_identity_with_another_body_is_a_conflict(self, path: Database) -> None:
        async with serving(path) as store:
            first = new("msg_1", body=b"first", identity="the event")
            await accepted(store, first)
            again = await duplicate(store, new("msg_2", body=b"second", identity="the event"))
            assert again == Duplicate(first.message.id, "identity", conflict=True)
            assert one(path, "SELECT sender_id FROM conflicts") == b"msg_2"


class TestRetention:
    async def test_a_duplicate_is_known_until_retention_ends_and_is_accepted_again_after_it(self, path: Database) -> None:
        async with serving(path) as store:
            first = new("msg_1", identity="the event")
            await accepted(store, first)
            assert (await duplicate(store, new("msg_1", at=START + RETENTION))).id == first.message.id
            await accepted(store, new("msg_1", identity="the event", at=START + RETENTION + 0.001))
            await assert_counters_right(store)

    @pytest.mark.parametrize(
        ("sender_id", "identity"), [("msg_1", None), ("msg_1", "the event"), (None, None), (None, "the event")]
    )
    async def test_a_message_accepted_again_is_the_first_one_for_later_duplicates(
        self, path: Database, sender_id: str | None, identity: str | None
    ) -> None:
        late = START + RETENTION + 1
        async with serving(path) as store:
            await accepted(store, new(sender_id, identity=identity))
            second = new(sender_id, identity=identity, at=late)
            await accepted(store, second)
            for _ in range(2):
                assert (await duplicate(store, new(sender_id, identity=identity, at=late + 5))).id == second.message.id
            # and once more, another retention later
            third = new(sender_id, identity=identity, at=late + RETENTION + 1)
            await accepted(store, third)
            assert (await duplicate(store, new(sender_id, identity=identity, at=late + RETENTION + 2))).id == third.message.id
            assert rows(path, "SELECT duplicates FROM messages ORDER BY seq") == [(0,), (2,), (1,)]

    async def test_a_forgotten_sender_id_does_not_hide_a_younger_message_with_the_same_identity(self, path: Database) -> None:
        late = START + RETENTION + 1
        async with serving(path) as store:
            await accepted(store, new("msg_1"))
            younger = new("msg_2", identity="the event", at=START + DAY)
            await accepted(store, younger)
            again = await duplicate(store, new("msg_1", identity="the event", at=late))
            assert again == Duplicate(younger.message.id, "identity", conflict=False)

    async def test_a_message_that_is_old_but_not_repeated_stays_readable(self, path: Database) -> None:
        async with serving(path) as store:
            await accepted(store, new("msg_1", body=b"old"))
            await accepted(store, new("msg_1", body=b"young", at=START + RETENTION + 1))
            assert [kept.message.body for kept in await store.messages_after(0, 10)] == [b"old", b"young"]


TEXTS = [
    "\x00",
    "msg\x00\x00end",
    "\ufffd\ufffd",
    JAPANESE,
    "e\u0301 \u202e\x1b[31m\n\r\x85",
    "\U0010ffff",
    "a" * 255,
    "",
    "123",
    "0x1F",
    "NULL",
]


@pytest.mark.parametrize("text", TEXTS, ids=ascii)
async def test_texts_of_the_sender_are_stored_exactly(path: Database, text: str) -> None:
    whole = new("")
    message = replace(
        whole.message, sender_id=text, content_type=text, event_type=text, sr_uuid=text, reference_id=text, body=text.encode()
    )
    async with serving(path) as store:
        await accepted(store, NewMessage(message, "accepted", identity=text, deliveries=(("erp", START),)))
        assert await kept(store, message) == message
        assert (await store.claim("erp", START, 1, ())).owed[0].message == message
        assert (await duplicate(store, new(text))).reason == "message_id"
        assert (await duplicate(store, new("another", identity=text))).reason == "identity"
        columns = ("sender_id", "content_type", "event_type", "sr_uuid", "reference_id", "body")
        for column in columns:
            assert rows(path, f"SELECT {column} FROM messages") == [(text.encode(),)]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x00",
        bytes(range(256)),
        b"\xff\xfe\xed\xa0\x80",
        b'{"n": 123456789012345678901234567890.10}\r\n',
        os.urandom(300_000),
    ],
    ids=["empty", "NUL", "every byte", "not UTF-8", "huge number", "256 KiB and more"],
)
async def test_bodies_survive_byte_for_byte_over_a_restart(path: Database, body: bytes) -> None:
    async with serving(path) as store:
        await accepted(store, new("msg_1", body=body))
    async with serving(path) as store:
        assert (await store.claim("erp", START, 1, ())).owed[0].message.body == body
        assert one(path, "SELECT body FROM messages") == body


async def test_every_sample_body_survives(path: Database) -> None:
    bodies = [sample.read_bytes() for sample in sorted(PAYLOADS.glob("*.json"))]
    async with serving(path) as store:
        for number, body in enumerate(bodies):
            await accepted(store, new(f"msg_{number}", body=body))
        assert [owed.message.body for owed in (await store.claim("erp", START, 100, ())).owed] == bodies


async def test_a_field_that_a_message_lacks_stays_absent(path: Database) -> None:
    message = Message(id="1" * 32, source="s", sender_id=None, received_at=START, content_type=None, body=b"?")
    async with serving(path) as store:
        await accepted(store, NewMessage(message, "quarantined"))
        assert await kept(store, message) == message
        assert await store.messages_after(0, 10) == [KeptMessage(1, "quarantined", message, ())]


async def kept(store: AnyStore, message: Message) -> Message | None:
    seq = await store.seq_of(message.id)
    return (await store.messages_after(seq - 1, 1))[0].message if seq is not None else None
