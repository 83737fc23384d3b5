"""Messages that were not understood when they came are found, and what a later version knows of them is written down once."""

from __future__ import annotations

from pathlib import Path

from msgspec import structs

from gateway.core.documents import Redecoding
from gateway.core.events import IDENTITY as FIELDS
from gateway.core.events import Event, event_of, identity
from gateway.core.records import NewMessage
from gateway.core.selection import Target
from tests.fakes import START
from tests.store.kit import accepted, new, one, rows, serving

EVENT = event_of(
    {
        "event_type": "state_change",
        "sr_uuid": "sr-1",
        "reference_id": "BAG-1",
        "timestamp": "2026-02-25T00:00:00Z",
        "state": {"primary": "QC", "supplement": "PENDING"},
    }
)
ALL = "SELECT event_type, milestone, sr_uuid, reference_id, status FROM messages WHERE seq = ?"


def unknown(sender_id: str, *, quarantined: bool = False, sinks: tuple[str, ...] = (), source: str = "legitmark") -> NewMessage:
    made = new(
        sender_id, body=sender_id.encode(), sinks=sinks, source=source, status="quarantined" if quarantined else "accepted"
    )
    milestone = None if quarantined else "unrecognized"
    event_type = None if quarantined else "sr_reopened"
    message = structs.replace(made.message, milestone=milestone, event_type=event_type, sr_uuid=None, reference_id=None)
    return structs.replace(made, message=message)


def known(seq: int, event: Event = EVENT) -> Redecoding:
    return Redecoding(seq, event, identity(event, FIELDS))


async def test_only_messages_of_senders_that_were_not_understood_are_found_a_page_at_a_time(tmp_path: Path) -> None:
    async with serving(tmp_path / "gateway.db") as store:
        await accepted(store, new("msg_known"))
        first = await accepted(store, unknown("msg_1"))
        second = await accepted(store, unknown("msg_2", quarantined=True))
        await accepted(store, unknown("own", source="gateway"))
        page = await store.undecoded(START, 0, 1, 10**6)
        assert ([message.seq for message in page.messages], page.go_on_after) == ([first], first)
        page = await store.undecoded(START, first, 10, 10**6)
        assert [(message.seq, message.quarantined) for message in page.messages] == [(second, True)]
        assert page.messages[0].message.body == b"msg_2"
        assert (await store.undecoded(START + 1, 0, 10, 10**6)).messages == ()
        assert len((await store.undecoded(START, 0, 10, 3)).messages) == 1


async def test_what_a_message_means_now_is_written_once_and_deliveries_stay(tmp_path: Path) -> None:
    path = tmp_path / "gateway.db"
    async with serving(path) as store:
        seq = await accepted(store, unknown("msg_1", sinks=("erp",)))
        told: list[list[int]] = []
        assert await store.redecode([known(seq)], told.append) == [seq]
        assert rows(path, ALL, seq) == [(b"state_change", "qc_pending", b"sr-1", b"BAG-1", "accepted")]
        assert await store.redecode([known(seq)]) == [] and told == [[seq]]
        assert rows(path, "SELECT state FROM deliveries") == [("queued",)]
        assert one(path, "SELECT event_ms FROM messages") == 1_771_977_600_000


async def test_a_quarantined_message_is_unrouted_then_or_accepted_if_it_was_replayed(tmp_path: Path) -> None:
    path = tmp_path / "gateway.db"
    async with serving(path) as store:
        bare = await accepted(store, unknown("msg_1", quarantined=True))
        replayed = await accepted(store, unknown("msg_2", quarantined=True))
        await store.reopen([Target(replayed, "erp")], ("dead",), add=True, now=START, actor="admin")
        other = event_of({**EVENT.values, "sr_uuid": "sr-2"})
        assert await store.redecode([known(bare), known(replayed, other)]) == [bare, replayed]
        assert [rows(path, ALL, seq)[0][4] for seq in (bare, replayed)] == ["unrouted", "accepted"]


async def test_an_identity_that_came_with_another_message_meanwhile_stays_with_that(tmp_path: Path) -> None:
    path = tmp_path / "gateway.db"
    async with serving(path) as store:
        seq = await accepted(store, unknown("msg_1"))
        await accepted(store, new("msg_2", identity=identity(EVENT, FIELDS)))
        assert await store.redecode([known(seq)]) == [seq]
        assert rows(path, "SELECT identity IS NULL FROM messages ORDER BY seq") == [(1,), (0,)]


async def test_a_message_that_comes_again_after_it_was_redecoded_is_a_duplicate_by_its_identity(tmp_path: Path) -> None:
    async with serving(tmp_path / "gateway.db") as store:
        seq = await accepted(store, unknown("msg_1"))
        await store.redecode([known(seq)])
        again = await store.accept(new("msg_other", identity=identity(EVENT, FIELDS)))
        assert getattr(again, "reason", None) == "identity"
