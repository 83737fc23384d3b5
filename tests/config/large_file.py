"""A configuration of any size, for tests that compare the cost of small and large ones."""

from __future__ import annotations


def large_file(number: int) -> str:
    """Return a configuration with `number` HTTP sinks, JSONL sinks, routes and tests, each with names of its own."""
    text = '[sources.legitmark]\nsecrets = [{ env = "LEGITMARK" }]\n'
    for at in range(number):
        text += f'[sinks.h{at}]\ntype = "http"\nurl = "http://127.0.0.1:9/{at}"\nordering = "sr"\n'
        text += f'[sinks.j{at}]\ntype = "jsonl"\npath = "{at}.jsonl"\n'
        pattern = f'{{ event_type = "state_change", reference_id = {{ prefix = "{at}-" }} }}'
        text += f'[[routes]]\nname = "route {at}"\nmatch = {pattern}\nsinks = ["h{at}", "j{at}"]\nfinal = true\n'
        text += f'[[tests]]\nname = "test {at}"\nevent = {{ event_type = "state_change", reference_id = "{at}-1" }}\nsinks = []\n'
    return text
