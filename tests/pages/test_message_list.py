"""A message that goes to many sinks names those that need somebody, and counts the others."""

from __future__ import annotations

from gateway.web.pages.views.message_list_page import MessageListPage

PAGE = MessageListPage(messages=[], before=None, sources=[])


def test_few_sinks_are_all_named_in_their_order() -> None:
    sinks = {"archive": "delivered", "desk": "queued", "erp": "dead"}
    assert PAGE.named(sinks) == (list(sinks.items()), {})


def test_of_many_sinks_those_that_were_not_told_are_named_and_the_others_counted() -> None:
    sinks = {f"sink-{number:03d}": "delivered" for number in range(300)} | {"sink-200": "queued", "sink-250": "dead"}
    named, others = PAGE.named(sinks)
    assert named[:3] == [("sink-250", "dead"), ("sink-200", "queued"), ("sink-000", "delivered")]
    assert (len(named), others) == (8, {"delivered": 292})


def test_many_dead_ones_are_counted_apart_from_the_others() -> None:
    _, others = PAGE.named({f"sink-{number}": "dead" if number < 10 else "queued" for number in range(15)})
    assert others == {"dead": 2, "queued": 5}
