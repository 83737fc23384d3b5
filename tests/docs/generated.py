"""Writes the tables of `docs/reference.md` that follow from the code: audit events, metrics and exit codes.

`make docs` runs it: `python -m tests.docs.generated`. A table stands between `<!-- NAME: generated -->` and `<!-- end -->`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from gateway.core.audit_event_kinds import MessageEvent
from gateway.core.audit_event_table import AUDIT_EVENTS
from gateway.core.audit_fields import FIELDS, MESSAGE_FIELDS
from gateway.core.errors import EXIT_CODES
from gateway.observability.metrics import Metrics
from tests.docs.reading import ROOT, text_of

FILE = ROOT / "docs/reference.md"


def audit_events() -> Iterator[str]:
    yield from _table("event", "meaning", "fields beside `v`, `time`, `event`")
    for name, event in AUDIT_EVENTS.items():
        fields = ", ".join(f"`{field}`" for field in event.__struct_fields__)
        message = "the message's fields" if issubclass(event, MessageEvent) else ""
        yield _row(f"`{name}`", event.__doc__ or "", ", ".join(filter(None, (message, fields))))


def audit_fields() -> Iterator[str]:
    yield from _table("field", "meaning")
    for name, meaning in FIELDS.items():
        yield _row(f"`{name}`", meaning)


def message_fields() -> Iterator[str]:
    *first, last = (f"`{field}`" for field in MESSAGE_FIELDS)
    yield f"The message's fields are {', '.join(first)} and {last}."


def metrics() -> Iterator[str]:
    yield from _table("metric", "type", "labels", "meaning")
    all_metrics = Metrics()
    all_metrics.certificate_ends(0.0)
    for metric in all_metrics.described():
        yield _row(f"`{metric.name}`", metric.kind, ", ".join(f"`{label}`" for label in metric.labels), metric.text)


def exit_codes() -> Iterator[str]:
    yield from _table("code", "meaning")
    for code, meaning in EXIT_CODES.items():
        yield _row(str(code), meaning)


PARTS: Mapping[str, Callable[[], Iterable[str]]] = {
    "audit events": audit_events,
    "message fields": message_fields,
    "audit fields": audit_fields,
    "metrics": metrics,
    "exit codes": exit_codes,
}
"""The generated parts by the names of their markers."""


def generated(text: str) -> str:
    """Return a document with every part written anew. Raises AssertionError if a part has no markers in it."""
    for name, part in PARTS.items():
        begin, end = f"<!-- {name}: generated -->\n", "<!-- end -->"
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        assert found and closed, f"there is no part {begin.strip()} ... {end}"
        text = f"{before}{begin}{''.join(f'{line}{chr(10)}' for line in part())}{end}{after}"
    return text


def _table(*headings: str) -> Iterator[str]:
    yield _row(*headings)
    yield f"|{'---|' * len(headings)}"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


if __name__ == "__main__":
    FILE.write_text(generated(text_of(FILE)), encoding="utf-8")
