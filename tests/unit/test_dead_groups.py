"""Dead deliveries that died alike are one group, whatever numbers the answers name."""

from __future__ import annotations

import pytest
from msgspec import structs

from gateway.core.dead_groups import grouped, key_of
from gateway.core.documents import DeadDelivery

DEAD = DeadDelivery(1, "erp", 100.0, "attempts_exhausted", 7, 500, "HTTP 500", '{"error": "OrderNotFound", "order": "ITEM-1001"}')


@pytest.mark.parametrize(
    "answer",
    [
        '{"error": "OrderNotFound", "order": "ITEM-2002"}',
        '{"error":  "OrderNotFound",\n "order": "ITEM-2002"}',
    ],
)
def test_answers_that_differ_in_numbers_and_space_are_alike(answer: str) -> None:
    assert key_of(structs.replace(DEAD, answer=answer)) == key_of(DEAD)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("no b16c763b-0000-4000-8000-000000000001 here", "no 00000000-1111-4111-8111-222222222222 here"),
        ("trace 9f86d081884c7d65", "trace 60303ae22b998861"),
    ],
)
def test_uuids_and_digests_do_not_tell_answers_apart(one: str, other: str) -> None:
    assert key_of(structs.replace(DEAD, answer=one)) == key_of(structs.replace(DEAD, answer=other))


@pytest.mark.parametrize(
    "other",
    [
        {"sink": "crm"},
        {"reason": "expired"},
        {"status": 404},
        {"answer": '{"error": "OrderLocked", "order": "ITEM-1001"}'},
    ],
)
def test_another_sink_reason_status_or_answer_makes_another_group(other: dict[str, object]) -> None:
    assert key_of(structs.replace(DEAD, **other)).id != key_of(DEAD).id


def test_a_sink_that_said_nothing_is_told_apart_by_the_words_of_the_gateway() -> None:
    silent = structs.replace(DEAD, status=None, answer="", detail="no answer within 30s")
    assert key_of(silent).answer == "no answer within …s"


def test_without_answers_no_part_of_one_is_in_a_group() -> None:
    assert "Order" not in repr(grouped([DEAD], answers=False)) and "Order" in repr(grouped([DEAD]))


def test_a_group_counts_deliveries_and_requests_and_says_when_they_died() -> None:
    others = [structs.replace(DEAD, seq=2, ended_at=300.0), structs.replace(DEAD, seq=3, request=8, ended_at=200.0)]
    alone = structs.replace(DEAD, seq=4, sink="crm", request=None)
    first, second = grouped([DEAD, *others, alone])
    assert (first.deliveries, first.requests, first.first_at, first.last_at) == (3, 2, 100.0, 300.0)
    assert (second.key.sink, second.deliveries, second.requests) == ("crm", 1, 1)


def test_the_newest_message_of_each_of_the_newest_requests_stands_for_a_group() -> None:
    (group,) = grouped(structs.replace(DEAD, seq=seq, request=seq // 2) for seq in (3, 20, 21, 4, 8, 6, 11, 9, 14, 17))
    assert group.newest == (21, 17, 14, 11, 9)
