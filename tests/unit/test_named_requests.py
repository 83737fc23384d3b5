"""The service requests that a confirmation names."""

from __future__ import annotations

from gateway.core.named_requests import MOST_NAMED_REQUESTS, NamedRequest, named_requests


def test_a_request_is_named_once_with_the_first_reference_id_that_a_message_gave() -> None:
    found = named_requests([("sr-1", None), ("sr-2", "ITEM-2"), ("sr-1", "ITEM-1"), ("sr-1", "ITEM-9")], complete=True)
    assert found.requests == (NamedRequest("sr-1", "ITEM-1"), NamedRequest("sr-2", "ITEM-2"))
    assert (found.number, found.more, found.loose, found.complete) == (2, 0, 0, True)


def test_some_are_named_and_the_others_counted() -> None:
    found = named_requests([(f"sr-{number}", None) for number in range(MOST_NAMED_REQUESTS + 3)], complete=False)
    assert (len(found.requests), found.more, found.number) == (MOST_NAMED_REQUESTS, 3, MOST_NAMED_REQUESTS + 3)
    assert not found.complete


def test_messages_of_no_request_are_counted() -> None:
    assert named_requests([(None, None), ("", "ITEM-1"), ("sr-1", None)], complete=True).loose == 2
